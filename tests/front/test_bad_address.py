"""What an address cannot hold is refused."""

import pytest

from devtools.services import Cluster
from tests.front.front_client import assert_problem, post

ADDRESSES = {
    "unknown": "text=red&colour=1",
    "repeated": "text=red&text=blue",
    "repeated k": "text=red&k=1&k=1",
    "nothing": "",
    "no number": "text=red&k=ten",
    "an exponent": "text=red&k=1e1",
    "a point": "text=red&k=1.0",
    "signed": "text=red&k=%2B5",
    "blank k": "text=red&k=",
    "k over": "text=red&k=1001",
    "no bool": "text=red&require_full=yes",
    "NaN": "text=red&min_score=nan",
    "infinity": "text=red&min_score=inf",
    "image": "image=YWJj",
    "embedding": "embedding=1",
    "invalid UTF-8": "text=%ff",
    "surrogate": "text=%ed%a0%80",
    "too many": "text=red" + "&x=" * 200,
}


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
def test_a_bad_parameter_in_the_address_is_refused(cluster: Cluster, address: str) -> None:
    """Kind H: parameters of a GET are known, each at most once, and checked as in JSON."""
    response = cluster.front.request("GET", f"/v1/search?{address}")

    assert_problem(response, 400, "bad_request")


@pytest.mark.parametrize("path", ["/v1/search?text=red", "/v1/embed?x=1"])
def test_a_post_has_no_parameters_in_its_address(cluster: Cluster, path: str) -> None:
    """What would be ignored is refused."""
    assert_problem(post(cluster, b'{"text": "red"}', path), 400, "bad_request")
