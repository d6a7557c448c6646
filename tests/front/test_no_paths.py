"""No answer tells where something lies on the server: paths are told from their roots."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.cache_epoch import CacheEpoch
from common.config import parse
from devtools import services
from devtools.fork_server import run_forked
from devtools.gateways import gateway
from devtools.services import CHECKOUT, Cluster, wait_until
from devtools.tiny_model import write_tiny_model
from front.app import create_app
from front.wires.clip_retrieval import DIGITS
from tests.front.front_client import Reply, ask, in_base64, post, upload
from tests.front.pictures import encoded, noise

ID = "0123456789abcdef" * 2
WIRES = ["openai", "clip-retrieval", "immich", "weaviate"]
METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS")
GATEWAY = ("/", "/status", "/dry_run", "/metrics", "/ready", "/docs", "/openapi.json", "/none")


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration's folder, and two roots of one name beside it."""
    top = tmp_path_factory.mktemp("top")
    (top / "server").mkdir()
    write_tiny_model(top / "server/tiny")
    for seed, name in enumerate(["a/photos/one.png", "b/photos/one.png", "b/photos/gone.png"]):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(seed).save(path)
    return top


@pytest.fixture(scope="module")
def cluster(top: Path) -> Iterator[Cluster]:
    """All services, over roots and a model that are named by absolute paths."""
    root = top / "server"
    config = {
        "Front": {"wires": WIRES},
        "Inference": {"clip": str(root / "tiny"), "mclip": None},
        "Prepare": {"images": [str(top / "a/photos"), str(top / "b/photos")]},
        "Search": {"shards": 1},
    }
    done = run_forked("prepare/prepare.py", config, cwd=root)
    assert done.returncode == 0, done.stderr
    with services.cluster(config, 1, root) as running:
        yield running


@pytest.fixture(scope="module")
def ids(cluster: Cluster) -> dict[str, str]:
    """The id of each path that a hit tells."""
    hits = cluster.front.get("/v1/search?text=red&k=10")["hits"]
    return {hit["path"]: hit["id"] for hit in hits}


def assert_tells_no_place(reply: Reply, top: Path) -> None:
    """Neither the body nor a header has a path of the collection, the model or our code."""
    told = reply.data + repr(list(reply.headers.items())).encode()
    for folder in (top, top.resolve(), CHECKOUT):
        assert str(folder).encode() not in told


def test_roots_of_one_name_stay_apart(ids: dict[str, str]) -> None:
    """Each is told by as many of its last names as it takes."""
    assert ids.keys() == {"a/photos/one.png", "b/photos/one.png", "b/photos/gone.png"}


def test_an_image_that_is_told_so_is_served(
    cluster: Cluster, ids: dict[str, str], top: Path
) -> None:
    """The index knows where it lies."""
    reply = cluster.front.request("GET", f"/v1/images/{ids['b/photos/one.png']}")

    assert (top / "b/photos/one.png").read_bytes() == reply.data


def test_no_answer_and_no_error_tells_a_path(
    cluster: Cluster, ids: dict[str, str], top: Path
) -> None:
    """Searches of each kind, embeddings, classes, and what is wrong in each of them."""
    image, broken = encoded(noise(9), "PNG"), b"\x89PNG\r\n\x1a\n"
    queries: list[dict[str, Any]] = [
        {"text": "red"},
        {"text": "ein rotes Bild", "model": "mclip"},
        {"id": ids["a/photos/one.png"], "dedup": "none"},
        {"id": ID},
        {"image": image},
        {"image": broken},
        {"image": "no base64"},
        {"image_url": "file:///etc/passwd"},
        {"embedding": [1.0]},
        {"colour": 1},
    ]
    replies = [ask(cluster, **query) for query in queries]
    replies += [upload(cluster, file) for file in (image, broken, b"")]
    for path in ("/v1/embed", "/v1/classify"):
        for images in ([in_base64(image)], [in_base64(broken)], ["?"]):
            body = json.dumps({"images": images})
            replies.append(post(cluster, body.encode(), path))
    numbers = [int(image_id[:DIGITS], 16) for image_id in ids.values()]
    for path, message in {
        "/knn-service": {"text": "red", "num_images": 3, "num_result_ids": 3},
        "/metadata": {"ids": numbers},
    }.items():
        replies.append(post(cluster, json.dumps(message).encode(), path))
        assert b"photos/one.png" in replies[-1].data
    assert 200 == replies[0].status
    assert {200, 400} <= {reply.status for reply in replies}
    for reply in replies:
        assert_tells_no_place(reply, top)


def test_no_list_and_no_count_tells_a_path(cluster: Cluster, top: Path) -> None:
    """Browsing and facets, with what is wrong in them, and the files of what is listed."""
    listed = cluster.front.request("GET", "/v1/images?limit=1")
    replies = [listed]
    for query in (
        *(f"/v1/images?after={listed.json()['next']}", "/v1/images?after=x", "/v1/images?limit=0"),
        *("/v1/facets?field=path", "/v1/facets?field=folder&field=format", "/v1/facets?colour=1"),
        *("/v1/images?filter=[]", f"/v1/images?filter={json.dumps({'field': 'x', 'eq': 1})}"),
    ):
        replies.append(cluster.front.request("GET", query))
    assert {200, 400} <= {reply.status for reply in replies}
    for reply in replies:
        assert_tells_no_place(reply, top)


def test_no_write_tells_a_path(cluster: Cluster, top: Path) -> None:
    """An upload, a file by its path, a link, and what is wrong in each; nor does what was put."""
    image, front = encoded(noise(8), "PNG"), cluster.front
    (top / "a/photos/no.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (top / "a/photos/out.png").symlink_to(top / "server/config.json")
    images = [
        {"image": in_base64(image), "metadata": {"new": True}},
        {"image": in_base64(b"\x89PNG\r\n\x1a\n")},
        {"image": "?"},
        *({"path": f"../{name}"} for name in ("a/photos/one.png", "a/photos/no.png")),
        *({"path": f"../{name}"} for name in ("a/photos/out.png", "a/photos", "a/none.png", "..")),
        {"path": "/etc/passwd"},
    ]
    replies = [front.request("POST", "/v1/images", json=one) for one in images]
    replies.append(front.request("POST", "/v1/images", json={"images": images[:2] + images[3:]}))
    assert [201, 422, 400, 201] == [reply.status for reply in replies[:4]]
    for image_id in [replies[0].json()["id"], ID, "x"]:
        for message in ({"metadata": {"new": 1}}, {"metadata": {"new": [1]}}, {}):
            replies.append(front.request("PATCH", f"/v1/images/{image_id}", json=message))
        replies.append(ask(cluster, id=image_id))
        for kind in ("", "/thumbnail", "/preview"):
            replies.append(front.request("GET", f"/v1/images/{image_id}{kind}"))
        replies.append(front.request("POST", "/v1/images/delete", json={"ids": [image_id]}))
    assert {200, 201, 400, 404, 422} <= {reply.status for reply in replies}
    for reply in replies:
        assert_tells_no_place(reply, top)


def test_a_version_that_is_refused_tells_no_path(cluster: Cluster, top: Path) -> None:
    """The search servers and their logs say why; whoever asks front learns that it works on."""
    current, (server,) = top / "server/data/index/CURRENT", cluster.search
    kept = current.read_bytes()
    current.write_bytes(b"junk")
    try:
        wait_until(lambda: b"CURRENT" in server.request("GET", "/info").data)
        for path in ("/v1/info", "/ready", "/metrics", "/v1/search?text=red", "/v1/images"):
            reply = cluster.front.request("GET", path)
            assert 200 == reply.status
            assert_tells_no_place(reply, top)
    finally:
        current.write_bytes(kept)


def test_no_measure_tells_a_path(cluster: Cluster, top: Path) -> None:
    """Of any service, nor whether it is alive and ready."""
    for service in (cluster.front, cluster.middle, cluster.inference, *cluster.search):
        for path in ("/metrics", "/healthz", "/ready", "/none"):
            assert_tells_no_place(service.request("GET", path), top)


def test_the_gateway_tells_no_path(cluster: Cluster, top: Path) -> None:
    """For documents that are there and those that are refused, such as a file of the server."""
    with gateway(cluster.config, top / "server") as served:
        replies = [served.service.request("GET", path) for path in GATEWAY]
        for document in ({"text": "red"}, {"uri": "/etc/passwd"}, {"blob": "?"}, {"tensor": 1}, {}):
            for endpoint in ("/encode", "/rank", "/none"):
                message = {"data": [document], "execEndpoint": endpoint}
                replies.append(served.service.request("POST", "/post", json=message))
    assert {200, 404} <= {reply.status for reply in replies}
    for reply in replies:
        assert_tells_no_place(reply, top)


def test_no_route_tells_a_path(cluster: Cluster, ids: dict[str, str], top: Path) -> None:
    """Every route with every method, for what there is, what is gone, and what never was.

    It is the last test, as DELETE takes the images away.
    """
    (top / "b/photos/gone.png").unlink()
    app = create_app(parse(json.dumps({"Front": {"wires": WIRES}})), top, CacheEpoch())
    app.extensions["closing"].close()
    values = [*ids.values(), ID, "malformed"]
    rules = {rule.rule for rule in app.url_map.iter_rules()}
    for rule in rules:
        for value in values if "<" in rule else values[:1]:
            path = re.sub("<.*?>", value, rule)
            for method in METHODS:
                assert_tells_no_place(cluster.front.request(method, path), top)
    assert len(rules) > 12
