import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools import services
from devtools.services import Cluster
from tests.front.conftest import CONFIG, MAX_BODY_BYTES
from tests.front.front_client import ask, assert_problem, post, raw, upload
from tests.servers import SERVERS, under

FORM = "multipart/form-data; boundary=b"
END = b"--b--\r\n"


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    """The server of all services."""
    return str(request.param)


@pytest.fixture(scope="module")
def cluster(cluster: Cluster, server: str, root: Path) -> Iterator[Cluster]:
    """All services, under that server."""
    if server == "auto":
        yield cluster
        return
    with services.cluster(under(server, CONFIG), 1, root) as running:
        yield running


@pytest.fixture(autouse=True)
def _good_after_bad(cluster: Cluster) -> Iterator[None]:
    """After every bad request the next good one succeeds."""
    yield
    assert 200 == ask(cluster, text="a red square").status


def field(name: str, value: bytes) -> bytes:
    """A field of a form, in the middle of its body."""
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
    return head.encode() + value + b"\r\n"


TEXT = field("text", b"red")
FORMS = {
    "empty": (b"", FORM),
    "no boundary": (TEXT + END, "multipart/form-data"),
    "another boundary": (TEXT + END, "multipart/form-data; boundary=c"),
    "JSON": (b'{"text": "red"}', FORM),
    "never ends": (TEXT, FORM),
    "repeated": (TEXT + TEXT + END, FORM),
    "unknown": (TEXT + field("colour", b"red") + END, FORM),
    "two subjects": (TEXT + field("id", b"0" * 32) + END, FORM),
    "bad k": (TEXT + field("k", b"0") + END, FORM),
    "embedding": (field("embedding", b"1") + END, FORM),
    "image is no file": (field("image", b"red") + END, FORM),
    "invalid UTF-8": (field("text", b"\xff") + END, FORM),
    "surrogate": (field("text", b"\xed\xa0\x80") + END, FORM),
    "long text": (field("text", b"a" * 100_000) + END, FORM),
}


@pytest.mark.parametrize(("body", "kind"), FORMS.values(), ids=FORMS)
def test_a_bad_form_is_refused(cluster: Cluster, body: bytes, kind: str) -> None:
    """A form is checked as JSON is, and for what only a form can be."""
    assert_problem(post(cluster, body, kind=kind), 400, "bad_request")


@pytest.mark.parametrize("names", [["image", "image"], ["file"], ["image", "other"]])
def test_a_form_has_one_file(cluster: Cluster, names: list[str]) -> None:
    """Other files than one image are 400."""
    fields = [(name, ("a.png", b"abc")) for name in names]

    response = cluster.front.request("POST", "/v1/search", fields=fields)

    assert_problem(response, 400, "bad_request")


def test_a_form_of_10_000_parts_is_refused(cluster: Cluster) -> None:
    """Parts are counted, not only bytes."""
    body = b"--b\r\nContent-Disposition:form-data;name=a\r\n\r\n\r\n" * 10_000

    assert_problem(post(cluster, body[: MAX_BODY_BYTES - 7] + END, kind=FORM), 413, "too_large")
    assert_problem(post(cluster, body + END, kind=FORM), 413, "too_large")


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "x" * 5000, "\0", ""])
def test_the_name_of_an_uploaded_file_is_ignored(cluster: Cluster, name: str) -> None:
    """Whatever a file is called, only its bytes count."""
    assert_problem(upload(cluster, b"no image", name), 415, "unsupported_media_type")


def test_a_body_over_the_limit_is_refused(cluster: Cluster) -> None:
    """A body that is one byte too long is 413 in each form; the longest is read."""
    query = json.dumps({"text": "red"}).encode()

    assert 200 == post(cluster, query.ljust(MAX_BODY_BYTES)).status
    assert_problem(post(cluster, query.ljust(MAX_BODY_BYTES + 1)), 413, "too_large")
    assert_problem(upload(cluster, bytes(MAX_BODY_BYTES)), 413, "too_large")


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 10 * MAX_BODY_BYTES])
def test_a_chunked_body_over_the_limit_is_refused(cluster: Cluster, size: int) -> None:
    """A body that does not say how long it is must not be cut and taken for the whole."""
    body = b'{"text": "red"}'.ljust(size)
    pieces = (body[start : start + 50_000] for start in range(0, size, 50_000))
    headers = {"Content-Type": "application/json"}

    response = cluster.front.request("POST", "/v1/search", body=pieces, headers=headers)

    assert_problem(response, 413, "too_large")


def test_a_body_over_the_limit_is_refused_unread(cluster: Cluster) -> None:
    """The answer comes before the body does, and the connection is not used again."""
    head = "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

    status, body = raw(cluster, f"{head}Content-Length: {10**12}\r\n\r\n{{".encode())

    assert (413, "too_large") == (status, json.loads(body)["code"])


PATHS = [
    "/static/../app.py",
    "/static/../../config.json",
    "/static/..%2f..%2fconfig.json",
    "/static/%2e%2e/%2e%2e/config.json",
    "/static/..%5c..%5cconfig.json",
    "/static//etc/passwd",
    "/static/%2fetc/passwd",
    "/static/%00",
    "/static/",
    "//etc/passwd",
    "/docs/swagger/../../../../config.json",
    "/docs/redoc/..%2f..%2fx",
    "/v1/images/..%2f..%2fetc%2fpasswd",
    "/v1/images/..%2finfo",
    "/v1/images/../../config.json",
    "/v1/images/",
    "/v1/search/",
    "/search",
    "/predictions/clip",
    "/nothing",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_leads_nowhere_is_not_found(cluster: Cluster, path: str) -> None:
    """Unknown routes and ways out of a folder are 404, and never a redirect."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    status, body = raw(cluster, request.encode())

    assert (404, "not_found") == (status, json.loads(body)["code"])


@pytest.mark.parametrize("path", ["/v1/images/..", "/v1/images/%2e%2e", "/v1/images/../thumbnail"])
def test_a_way_out_of_the_images_is_refused(cluster: Cluster, path: str) -> None:
    """Where an id stands, dots are a malformed id."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    status, body = raw(cluster, request.encode())

    assert (400, "bad_request") == (status, json.loads(body)["code"])


METHODS = {
    ("PUT", "/v1/search"): "GET HEAD OPTIONS POST",
    ("DELETE", "/v1/info"): "GET HEAD OPTIONS",
    ("GET", "/v1/embed"): "OPTIONS POST",
    ("POST", "/v1/images/x/thumbnail"): "GET HEAD OPTIONS",
    ("PATCH", "/v1/images/delete"): "OPTIONS POST",
    ("POST", "/"): "GET HEAD OPTIONS",
    ("TRACE", "/v1/search"): "GET HEAD OPTIONS POST",
}


@pytest.mark.parametrize(("method", "path"), METHODS)
def test_a_wrong_method_names_the_right_ones(cluster: Cluster, method: str, path: str) -> None:
    """A known route with another method is 405, and Allow says which ones it has."""
    response = cluster.front.request(method, path)

    assert_problem(response, 405, "method_not_allowed")
    assert METHODS[method, path].split() == sorted(response.headers["Allow"].split(", "))


@pytest.mark.parametrize("path", sorted({path for _, path in METHODS}))
def test_a_route_tells_its_methods(cluster: Cluster, path: str) -> None:
    """OPTIONS has no body: Allow says what a 405 says."""
    response = cluster.front.request("OPTIONS", path)

    assert (200, b"") == (response.status, response.data)
    (methods,) = {METHODS[one] for one in METHODS if one[1] == path}
    assert methods.split() == sorted(response.headers["Allow"].split(", "))


@pytest.mark.parametrize("method", ["OPTIONS", "GET", "HEAD", "POST", "PATCH", "TRACE", "PURGE"])
@pytest.mark.parametrize("path", ["/none", "/v1/search/", "/knn-service", "/v1/images/delete/"])
def test_a_route_that_is_off_or_never_was_is_not_found(
    cluster: Cluster, method: str, path: str
) -> None:
    """Whatever the method: what is not there has none."""
    response = cluster.front.request(method, path)

    assert 404 == response.status
    assert "Allow" not in response.headers
    if method != "HEAD":
        assert_problem(response, 404, "not_found")


POST = "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HEADS = {
    "long request line": (414, f"GET /?{'a' * 9000} HTTP/1.1\r\nHost: localhost\r\n"),
    "long header": (431, f"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {'a' * 9000}\r\n"),
    "very long header": (431, f"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {'a' * 40_000}\r\n"),
    "many headers": (431, "GET / HTTP/1.1\r\n" + "".join(f"X-{i}: a\r\n" for i in range(150))),
    "no HTTP": (400, "hello\r\n"),
    "no Host": (400, "GET /healthz HTTP/1.1\r\nConnection: close\r\n"),
    "two Hosts": (400, "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n"),
    "another coding": (501, f"{POST}Transfer-Encoding: gzip, chunked\r\n"),
    "two lengths": (400, "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n"),
    "listed lengths": (400, "POST / HTTP/1.1\r\nContent-Length: 5, 6\r\n"),
    "negative length": (400, "POST / HTTP/1.1\r\nContent-Length: -1\r\n"),
    "length and chunks": (
        400,
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ),
    "space before colon": (400, "GET / HTTP/1.1\r\nHost : x\r\n"),
}


TAKEN_BY_GRANIAN = {"long request line", "long header", "length and chunks"}
"""Its limit is of the whole head, 16 KiB; and chunks count, not the length, as RFC 9112 allows."""


@pytest.mark.parametrize("case", HEADS)
def test_a_head_that_is_no_http_is_refused(cluster: Cluster, server: str, case: str) -> None:
    """Kind J: what is too long, or can be read in two ways, is refused; the connection closes."""
    if server == "granian" and case in TAKEN_BY_GRANIAN:
        pytest.skip("granian takes it")
    status, head = HEADS[case]

    assert status == raw(cluster, f"{head}\r\nhello".encode())[0]
