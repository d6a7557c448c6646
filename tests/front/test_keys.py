"""Keys and their scopes: who may ask for what, and a start that exposes nothing by accident."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.cache_epoch import CacheEpoch
from common.config import Config
from devtools.services import Cluster, Service, run_command, running, with_section
from front.app import create_app
from front.auth import scope_of
from tests.front.front_client import Reply, assert_problem

SCOPES = ("search", "images", "write", "admin")
ROUTES = {
    ("POST", "/v1/search"): "search",
    ("GET", "/v1/search?text=red"): "search",
    ("HEAD", "/v1/search?text=red"): "search",
    ("POST", "/v1/embed"): "search",
    ("POST", "/v1/classify"): "search",
    ("POST", "/v1/segment"): "search",
    ("GET", "/v1/info"): "search",
    ("GET", "/v1/images"): "search",
    ("GET", "/v1/facets?field=format"): "search",
    ("GET", "/v1/images/ID"): "images",
    ("GET", "/v1/images/ID/thumbnail"): "images",
    ("GET", "/v1/images/ID/preview"): "images",
    ("POST", "/v1/images"): "write",
    ("PATCH", "/v1/images/NONE"): "write",
    ("DELETE", "/v1/images/NONE"): "write",
    ("POST", "/v1/images/delete"): "write",
    ("DELETE", "/v1/cache"): "admin",
    ("GET", "/metrics"): "admin",
}
REFUSED = {
    ("POST", "/v1/classify"): 400,
    ("POST", "/v1/segment"): 400,
    ("POST", "/v1/images"): 400,
    ("POST", "/v1/images/delete"): 400,
    ("PATCH", "/v1/images/NONE"): 415,
    ("DELETE", "/v1/images/NONE"): 404,
}
"""Which let a key in, and refuse a query for red as what it is to them."""
OPEN = ("/", "/healthz", "/ready", "/docs", "/redoc", "/openapi.json", "/static/app.js")


@pytest.fixture(scope="module")
def config(cluster: Cluster) -> dict[str, Any]:
    """Of a front with a file of keys."""
    return with_section(cluster.config, "Front", port=0, keys_file="scoped.json")


@pytest.fixture(scope="module")
def keys(config: dict[str, Any], root: Path) -> dict[str, str]:
    """A key for each scope, as the command prints it."""
    return {scope: make_key(config, root, scope) for scope in SCOPES}


@pytest.fixture(scope="module")
def both(config: dict[str, Any], root: Path) -> str:
    """A key that is good for searches and for images."""
    return make_key(config, root, "search", "images")


@pytest.fixture(scope="module")
def guarded(config: dict[str, Any], keys: dict[str, str], root: Path) -> Iterator[Service]:
    """The front with keys."""
    assert keys
    with running("front/front.py", config, cwd=root) as front:
        yield front


@pytest.fixture(scope="module")
def image_id(cluster: Cluster) -> str:
    """The id of some image."""
    return str(cluster.front.get("/v1/search?text=red&k=1")["hits"][0]["id"])


def make_key(config: dict[str, Any], root: Path, *scopes: str) -> str:
    options = [word for scope in scopes for word in ("--scope", scope)]
    done = run_command("front/keys.py", config, f"for {' and '.join(scopes)}", *options, cwd=root)
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()


def ask(front: Service, method: str, path: str, key: str | None) -> Reply:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body = {"texts": ["red"]} if path == "/v1/embed" else {"text": "red"}
    return front.request(method, path, json=body if method == "POST" else None, headers=headers)


def test_a_part_of_an_image_needs_a_key_for_images(
    guarded: Service, keys: dict[str, str], both: str, image_id: str
) -> None:
    """The file is read for it: a key for searches alone gets 403, also when an answer is kept."""
    path = f"/v1/search?id={image_id}&region=0,0,0.5,1"

    assert_problem(ask(guarded, "GET", path, keys["search"]), 403, "forbidden")
    assert 200 == ask(guarded, "GET", path, both).status
    assert "hit" == ask(guarded, "GET", path, both).headers["X-Cache"]
    assert_problem(ask(guarded, "GET", path, keys["search"]), 403, "forbidden")
    assert 200 == ask(guarded, "GET", f"/v1/search?id={image_id}", keys["search"]).status
    clicked = {"id": image_id, "points": [[0.5, 0.5, 1]]}
    for key, status in ((keys["search"], 403), (both, 200)):
        headers = {"Authorization": f"Bearer {key}"}
        reply = guarded.request("POST", "/v1/segment", json=clicked, headers=headers)
        assert status == reply.status, reply.data


def test_hits_of_other_projects_show_pictures_to_keys_for_images(
    keys: dict[str, str], both: str, config: dict[str, Any], root: Path
) -> None:
    """A key for searches alone finds the same images, without their pictures."""
    wired = with_section(config, "Front", wires=["clip-retrieval"])
    with running("front/front.py", wired, cwd=root) as front:
        hits, bare = (
            ask(front, "POST", "/knn-service", key).json() for key in (both, keys["search"])
        )
    assert all(hit.pop("image") for hit in hits)
    assert hits == bare


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_key_opens_what_its_scope_names(
    guarded: Service, keys: dict[str, str], image_id: str, method: str, path: str
) -> None:
    """The key for the scope gets an answer, the others 403, none or a wrong one 401."""
    needed, let_in = ROUTES[method, path], REFUSED.get((method, path))
    path = path.replace("ID", image_id).replace("NONE", 32 * "0")
    for scope, key in keys.items():
        reply = ask(guarded, method, path, key)
        if scope == needed:
            assert reply.status in ((let_in,) if let_in else (200, 204)), reply.data
        elif method == "HEAD":
            assert 403 == reply.status
        else:
            assert_problem(reply, 403, "forbidden")
    for wrong in (None, "x", keys[needed] + "x"):
        reply = ask(guarded, method, path, wrong)
        assert "Bearer" == reply.headers["WWW-Authenticate"]
        if method == "HEAD":
            assert 401 == reply.status
        else:
            assert_problem(reply, 401, "unauthorized")


@pytest.mark.parametrize("path", OPEN)
def test_what_tells_nothing_of_the_collection_is_open(guarded: Service, path: str) -> None:
    """The page, which asks for a key itself, the documentation, and whether the server lives."""
    assert 200 == guarded.request("GET", path).status


def test_every_route_needs_a_scope_unless_it_is_listed_here(root: Path) -> None:
    """A route that somebody adds is not open by forgetting it."""
    app = create_app(Config(), root, CacheEpoch())
    app.extensions["closing"].close()
    rules = [(rule.rule, rule.methods or set()) for rule in app.url_map.iter_rules()]
    unguarded = {
        route for route, methods in rules for method in methods if scope_of(route, method) is None
    }

    assert unguarded == {
        *(path for path in OPEN if not path.startswith("/static")),
        "/static/<path:name>",
        "/docs/swagger/<path:name>",
        "/docs/redoc/<path:name>",
    }


def test_what_a_key_got_is_not_for_shared_caches(
    cluster: Cluster, guarded: Service, keys: dict[str, str], image_id: str
) -> None:
    """With keys a picture is private and differs by key; without, any cache may keep it."""
    for path in (f"/v1/images/{image_id}", f"/v1/images/{image_id}/thumbnail"):
        headers = ask(guarded, "GET", path, keys["images"]).headers
        assert headers["Cache-Control"].startswith("private, ")
        assert "Authorization" in headers["Vary"]
        assert cluster.front.request("GET", path).headers["Cache-Control"].startswith("public, ")


def test_a_large_body_of_nobody_s_is_not_read(guarded: Service) -> None:
    """Whoever has no key is answered at once, and the server goes on."""
    body = {"image": "A" * 200_000}
    assert_problem(guarded.request("POST", "/v1/search", json=body), 401, "unauthorized")
    assert 200 == guarded.request("GET", "/healthz").status


def test_the_description_names_the_scopes(cluster: Cluster, guarded: Service) -> None:
    """OpenAPI says which key each operation wants; without keys, only that for the cache."""
    paths = guarded.get("/openapi.json")["paths"]
    for (method, path), scope in ROUTES.items():
        described = path.split("?")[0].replace("ID", "{id}")
        if method == "HEAD" or described not in paths:
            continue
        operation = paths[described][method.lower()]
        assert [{"key": [scope]}] == operation["security"]
        assert {"401", "403", "429"} <= set(operation["responses"])
    unguarded = cluster.front.get("/openapi.json")["paths"]
    named = [path for path, one in unguarded.items() for how in one.values() if "security" in how]
    assert ["/v1/cache"] == named


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1"])
def test_a_public_address_without_a_key_refuses_to_start(
    cluster: Cluster, tmp_path: Path, address: str
) -> None:
    """One line says what to do; a file without keys does not count as some."""
    for front in ({}, {"keys_file": "none.json"}):
        config = with_section(cluster.config, "Front", address=address, port=0, **front)
        done = run_command("front/front.py", config, cwd=tmp_path)
        assert 2 == done.returncode
        assert done.stderr.startswith(f"error: Front listens on {address}, which others can reach")
        assert "Front.keys-file" in done.stderr
        assert "Front.open" in done.stderr
        assert 1 == done.stderr.count("\n")


def test_a_public_address_with_a_key_or_left_open_starts(
    cluster: Cluster, keys: dict[str, str], config: dict[str, Any], root: Path
) -> None:
    """With a key it refuses those without; `open` is for those who want everybody to ask."""
    with running("front/front.py", with_section(config, "Front", address="0.0.0.0"), cwd=root) as a:
        assert 401 == a.request("GET", "/v1/info").status
        assert 200 == ask(a, "GET", "/v1/info", keys["search"]).status
    public = with_section(cluster.config, "Front", address="0.0.0.0", port=0, open=True)
    with running("front/front.py", public, cwd=root) as front:
        assert 200 == front.request("GET", "/v1/info").status


def test_a_file_that_loses_its_keys_lets_nobody_in(
    config: dict[str, Any], keys: dict[str, str], root: Path, tmp_path: Path
) -> None:
    """Emptied while the server runs: all are refused, not all let in."""
    text = (root / "scoped.json").read_text()
    other = with_section(config, "Front", keys_file=str(tmp_path / "keys.json"))
    (tmp_path / "keys.json").write_text(text)
    with running("front/front.py", other, cwd=root) as front:
        assert 200 == ask(front, "GET", "/v1/info", keys["search"]).status
        (tmp_path / "keys.json").write_text(json.dumps([]))
        assert 401 == ask(front, "GET", "/v1/info", keys["search"]).status
        assert 401 == ask(front, "GET", "/v1/info", None).status
        (tmp_path / "keys.json").unlink()
        assert 401 == ask(front, "GET", "/v1/info", None).status
