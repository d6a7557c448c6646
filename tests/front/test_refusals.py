"""What front takes in several spellings, and what it says of what it does not take."""

from urllib.parse import urlencode

import pytest

from devtools.services import Cluster
from tests.front import pictures
from tests.front.front_client import ask, assert_problem, embed, in_base64, post, upload

KNOWN = {
    "field": ({"text": "red", "colour": "red"}, ["text", "image", "image_url", "k", "dedup"]),
    "model": ({"text": "red", "model": "gpt"}, ["auto", "clip", "mclip"]),
    "dedup": ({"text": "red", "dedup": "all"}, ["exact", "near", "none"]),
}


@pytest.mark.parametrize(("fields", "known"), KNOWN.values(), ids=KNOWN)
def test_what_is_unknown_is_refused_with_what_is_known(
    cluster: Cluster, fields: dict[str, str], known: list[str]
) -> None:
    """Kind H: in JSON and in the address the fields and the choices are listed."""
    address = f"/v1/search?{urlencode(fields)}"
    for response in (ask(cluster, **fields), cluster.front.request("GET", address)):
        assert_problem(response, 400, "bad_request")
        assert all(one in response.json()["detail"] for one in known)


def test_an_image_in_base64_may_have_lines_or_be_a_data_url(cluster: Cluster) -> None:
    """Kind H: as `base64` and browsers write it; of other text it is told what is wanted."""
    plain = in_base64(pictures.encoded(pictures.noise(), "PNG"))
    lines = "\r\n".join(plain[at : at + 76] for at in range(0, len(plain), 76))
    expected = ask(cluster, image=plain).json()["hits"]
    for image in (f"{lines}\n", f"data:image/png;base64,{plain}", f"DATA:;BASE64,{lines}"):
        answer = ask(cluster, image=image)
        assert (200, expected) == (answer.status, answer.json()["hits"])
        assert embed(cluster, images=[plain, image])["embeddings"]
    for image in ("?", "data:image/png,abcd", f"data:image/png;base64,?{plain}", "data:;base64,"):
        response = ask(cluster, image=image)
        assert_problem(response, 400, "bad_request")
        assert "base64" in response.json()["detail"] or image == "data:;base64,"


def test_an_image_of_no_bytes_is_refused_alike(cluster: Cluster) -> None:
    """Kind H: 400 in JSON and in a form, and among others."""
    several = post(cluster, b'{"images": [""]}', "/v1/embed")
    for response in (ask(cluster, image=""), upload(cluster, b""), several):
        assert_problem(response, 400, "bad_request")
        assert "the image is empty" == response.json()["detail"]
