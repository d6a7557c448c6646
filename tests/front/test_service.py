import json
import re
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from devtools.services import Cluster
from tests.front.front_client import Reply, ask, in_base64
from tests.front.pictures import encoded, noise

PAGES = ["/", "/static/app.js", "/docs", "/redoc", "/openapi.json", "/v1/info", "/nothing"]


def get(cluster: Cluster, path: str, **headers: str) -> Reply:
    """The reply to a GET with some headers, `_` standing for `-` in their names."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return cluster.front.request("GET", path, headers=named)


@pytest.fixture(scope="session")
def description(cluster: Cluster) -> Any:
    """The OpenAPI document."""
    return cluster.front.get("/openapi.json")


def test_the_description_is_openapi(description: Any) -> None:
    """/openapi.json is valid, and names nothing that it does not describe."""
    validate(description)
    used = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(description)))
    assert used <= set(description["components"]["schemas"])
    assert len(_operations(description)) == len(set(_operations(description)))


def _operations(description: Any) -> list[str]:
    methods = [method for path in description["paths"].values() for method in path.values()]
    return [method["operationId"] for method in methods]


def _faults(description: Any, name: str, message: Any) -> list[str]:
    """What is wrong with a message by a schema of the description, and what is not in it."""
    components = description["components"]
    schema = {"$ref": f"#/components/schemas/{name}", "components": components}
    wrong = [error.message for error in OAS31Validator(schema).iter_errors(message)]
    return wrong + sorted(set(message) - set(components["schemas"][name]["properties"]))


def test_answers_are_as_described(cluster: Cluster, description: Any) -> None:
    """Real answers and problems are valid by the schemas that the description gives them."""
    post = cluster.front.post

    assert [] == _faults(description, "Answer", post("/v1/search", {"text": "red " * 50}))
    assert [] == _faults(description, "EmbedAnswer", post("/v1/embed", {"texts": ["red"]}))
    assert [] == _faults(description, "Info", cluster.front.get("/v1/info"))
    assert [] == _faults(description, "Problem", ask(cluster, k=0).json())
    images = [in_base64(image) for image in (encoded(noise(), "PNG"), b"no image")]
    answer = post("/v1/classify", {"images": images, "labels": ["red", "blue"]})
    assert [] == _faults(description, "ClassifyAnswer", answer)


def test_the_description_refuses_what_the_server_does(description: Any) -> None:
    """The schemas are not so wide that everything is valid."""
    for message in ({"text": "red", "k": 0}, {"text": 5}, {"colour": "red"}):
        assert _faults(description, "SearchQuery", message)


def test_every_described_address_is_served(cluster: Cluster, description: Any) -> None:
    """Each path and method of the description is one that the server has."""
    for path, methods in description["paths"].items():
        for method in methods:
            response = cluster.front.request(method.upper(), path.replace("{id}", "x"))
            assert response.status not in (404, 405), (method, path)


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc"])
def test_pages_refer_to_nothing_outside_this_server(cluster: Cluster, path: str) -> None:
    """All that a page loads is an address without a host, and it is there."""
    page = get(cluster, path).data.decode()
    references = re.findall(r'(?:src|href|spec-url)="([^"?]+)', page)

    assert references
    assert [] == [name for name in references if not re.match(r"/(?!/)", name)]
    assert [200] * len(references) == [get(cluster, name).status for name in references]


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_has_the_security_headers(cluster: Cluster, path: str) -> None:
    """Nothing is sniffed, framed, or loaded from elsewhere, errors included."""
    headers = get(cluster, path).headers
    parts = headers["Content-Security-Policy"].split(";")
    policy = dict(part.strip().split(" ", 1) for part in parts)

    assert "nosniff" == headers["X-Content-Type-Options"]
    assert "same-origin" == headers["Referrer-Policy"]
    assert "'none'" == policy["frame-ancestors"]
    assert policy["default-src"] in ("'none'", "'self'")
    assert "unsafe" not in policy.get("script-src", policy["default-src"])
    assert "http" not in headers["Content-Security-Policy"]


def test_the_search_page_may_run_only_its_own_scripts(cluster: Cluster) -> None:
    """The page's policy names each thing it needs; inline script and style are not among them."""
    policy = get(cluster, "/").headers["Content-Security-Policy"]

    assert "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'" in policy


def test_a_request_id_is_taken_over(cluster: Cluster) -> None:
    """A well-formed id comes back in header and body, through middle, from middle itself too."""
    for service, path in ((cluster.front, "/v1/search"), (cluster.middle, "/search")):
        headers = {"X-Request-Id": "My-id_1.2"}
        response = service.request("POST", path, json={"text": "red"}, headers=headers)
        assert "My-id_1.2" == response.headers["X-Request-Id"]
        assert "My-id_1.2" == response.json()["request_id"]


def test_a_problem_has_the_request_id(cluster: Cluster) -> None:
    """Also an error can be found again by the id that the client chose."""
    response = get(cluster, "/v1/search", X_Request_Id="mine")

    assert (400, "mine") == (response.status, response.json()["request_id"])


@pytest.mark.parametrize("given", ["", "a b", "<script>", "x" * 65, "\u00e9"])
def test_a_malformed_request_id_is_replaced(cluster: Cluster, given: str) -> None:
    """What could confuse a log is replaced by an id of our own."""
    response = get(cluster, "/v1/search?text=red", X_Request_Id=given)

    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-Id"])
    assert response.headers["X-Request-Id"] == response.json()["request_id"]


def test_request_ids_differ(cluster: Cluster) -> None:
    """Each request without an id gets one of its own."""
    ids = {get(cluster, "/healthz").headers["X-Request-Id"] for _ in range(10)}

    assert 10 == len(ids)


@pytest.mark.parametrize("name", ["front", "middle", "inference"])
def test_a_running_service_is_alive_and_ready(cluster: Cluster, name: str) -> None:
    """Every service says that it lives and that it can do its work."""
    service = getattr(cluster, name)

    assert {"status": "alive"} == service.get("/healthz")
    assert {"status": "ready"} == service.get("/ready")


def test_requests_are_counted_by_route_and_status(cluster: Cluster) -> None:
    """/metrics counts by the route, not by the address, so that no client can fill the memory."""
    labels = 'route="/v1/images/<id:image_id>",service="front",status="400"'
    before = _count(cluster, labels)

    for name in ("x", "y", "z"):
        get(cluster, f"/v1/images/{name}")

    assert 3 == _count(cluster, labels) - before


def _count(cluster: Cluster, labels: str) -> float:
    text = get(cluster, "/metrics").data.decode()
    found = re.search(rf"^\w+requests_total{{{re.escape(labels)}}} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0
