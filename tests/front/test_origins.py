"""What browsers are told: which other sites may read an answer, and what a page may do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.services import Cluster, Service, run_command, running, with_section
from tests.front.front_client import Reply, assert_problem
from tests.front.test_service import PAGES

OUR_SITE = "https://photos.example"
STRANGERS = (
    "https://evil.example",
    "http://photos.example",
    "https://photos.example.evil.example",
    "https://photos.example:8443",
    "https://sub.photos.example",
    "https://photos.exampl",
    "null",
    "*",
    "",
)


@pytest.fixture(scope="module")
def shared(cluster: Cluster, root: Path) -> Iterator[Service]:
    """A front that the pages of one other site may ask."""
    config = with_section(cluster.config, "Front", port=0, cors_origins=[OUR_SITE])
    with running("front/front.py", config, cwd=root) as front:
        yield front


def get(front: Service, origin: str, path: str = "/v1/info") -> Reply:
    return front.request("GET", path, headers={"Origin": origin})


def preflight(front: Service, origin: str, path: str = "/v1/search") -> Reply:
    asked = {"Access-Control-Request-Method": "POST", "Origin": origin}
    return front.request("OPTIONS", path, headers=asked)


def of_cors(reply: Reply) -> list[str]:
    return [name for name in reply.headers if name.lower().startswith("access-control-")]


def test_a_name_that_was_rebound_to_this_machine_is_refused(cluster: Cluster, root: Path) -> None:
    """Kind J: 421 on every route but /healthz, unless the name is listed."""
    rebound, listed = {"Host": "evil.example:8000"}, {"Host": "photos.example"}
    config = with_section(cluster.config, "Front", port=0, hosts=["photos.example"])
    with running("front/front.py", config, cwd=root) as front:
        for path in ("/", "/v1/info", "/v1/search?text=red", "/metrics", "/docs", "/none"):
            assert_problem(front.request("GET", path, headers=rebound), 421, "misdirected")
        assert 200 == front.request("GET", "/healthz", headers=rebound).status
        assert 200 == front.request("GET", "/v1/info", headers=listed).status
    assert 421 == cluster.front.request("GET", "/v1/info", headers=listed).status


def test_without_a_list_no_other_site_may_read(cluster: Cluster) -> None:
    """No reply to a foreign page has a header of CORS, nor has that to its preflight."""
    for origin in (OUR_SITE, *STRANGERS):
        assert [] == of_cors(get(cluster.front, origin))
        assert [] == of_cors(preflight(cluster.front, origin))


def test_a_listed_site_may_read_and_no_other(shared: Service) -> None:
    """The origin is compared whole; a stranger's is never sent back."""
    for path, status in (("/v1/info", 200), ("/v1/search?k=0", 400), ("/nothing", 404)):
        reply = get(shared, OUR_SITE, path)
        assert status == reply.status
        assert OUR_SITE == reply.headers["Access-Control-Allow-Origin"]
        assert "Access-Control-Allow-Credentials" not in reply.headers
        assert "Origin" in reply.headers["Vary"]
    for stranger in STRANGERS:
        reply = get(shared, stranger)
        assert 200 == reply.status
        assert [] == of_cors(reply)
        assert "Origin" in reply.headers["Vary"]


def test_a_preflight_is_answered_for_a_listed_site(shared: Service, root: Path) -> None:
    """With what a page may send, also where keys are wanted, which a preflight cannot have."""
    reply = preflight(shared, OUR_SITE)
    assert 204 == reply.status
    assert OUR_SITE == reply.headers["Access-Control-Allow-Origin"]
    assert "POST" in reply.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in reply.headers["Access-Control-Allow-Headers"]
    for stranger in STRANGERS:
        assert [] == of_cors(preflight(shared, stranger))
    keyed = {"port": 0, "cors_origins": [OUR_SITE], "keys_file": "no.json"}
    with running("front/front.py", with_section({}, "Front", **keyed), cwd=root) as front:
        assert 204 == preflight(front, OUR_SITE).status
        refused = get(front, OUR_SITE)
        assert 401 == refused.status
        assert OUR_SITE == refused.headers["Access-Control-Allow-Origin"]


METHODS = {
    "/v1/search": "GET HEAD OPTIONS POST",
    "/v1/images/delete": "OPTIONS POST",
    f"/v1/images/{'0' * 32}": "DELETE GET HEAD OPTIONS PATCH",
    "/v1/images/x/preview": "GET HEAD OPTIONS",
    "/v1/cache": "DELETE OPTIONS",
}


@pytest.mark.parametrize("path", METHODS)
def test_a_preflight_names_the_methods_of_its_route(shared: Service, path: str) -> None:
    """And no others, whichever it asks for."""
    reply = preflight(shared, OUR_SITE, path)

    assert (204, b"") == (reply.status, reply.data)
    told = reply.headers["Access-Control-Allow-Methods"]
    assert METHODS[path].split() == sorted(told.split(", "))


@pytest.mark.parametrize("path", ["/none", "/v1/none", "/v1/search/", "/static/", "/knn-service"])
def test_a_preflight_of_what_is_not_there_is_not_found(shared: Service, path: str) -> None:
    """Also of another project's route that is off; the page may read the error."""
    reply = preflight(shared, OUR_SITE, path)

    assert_problem(reply, 404, "not_found")
    assert OUR_SITE == reply.headers["Access-Control-Allow-Origin"]
    assert "Access-Control-Allow-Methods" not in reply.headers


@pytest.mark.parametrize("origin", ["*", "https://*.example", "https://a.example/", "a.example"])
def test_only_exact_origins_can_be_listed(origin: str) -> None:
    """A wildcard or a path stops the start and names the key."""
    done = run_command("front/front.py", {"Front": {"cors-origins": [origin]}})

    assert 2 == done.returncode
    assert "cors-origins" in done.stderr


@pytest.mark.parametrize("path", [*PAGES, "/healthz", "/metrics", "/v1/images/x"])
def test_every_answer_is_for_this_site_alone(cluster: Cluster, path: str) -> None:
    """No page elsewhere can embed what is here; and without TLS none is promised."""
    headers = cluster.front.request("GET", path).headers

    assert "same-origin" == headers["Cross-Origin-Resource-Policy"]
    assert "nosniff" == headers["X-Content-Type-Options"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "Strict-Transport-Security" not in headers


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_a_foreign_page_may_not_read_answers(cluster: Cluster, method: str) -> None:
    """No CORS header is sent to another origin, nor to its preflight."""
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}

    response = cluster.front.request(method, "/v1/search?text=red", headers=headers)

    assert 200 == response.status
    assert [] == [name for name in response.headers if name.lower().startswith("access-control")]
