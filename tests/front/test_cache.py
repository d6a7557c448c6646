"""The prediction cache through the public API, and the keys that may empty it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools.services import Cluster, Service, run_command, running, wait_until, with_section
from tests.cache_probe import embedded
from tests.front.front_client import Reply, ask, assert_problem, upload
from tests.front.pictures import encoded, noise

PHOTO = encoded(noise(77), "PNG")


@pytest.fixture(scope="module", autouse=True)
def knowing(cluster: Cluster) -> None:
    """Waits until middle knows the servers behind it, so that it caches."""
    wait_until(lambda: "bypass" != ask(cluster, text="the the").headers["X-Cache"])


def test_the_same_photo_never_reaches_the_model_again(cluster: Cluster) -> None:
    """As a form or in base64, with the same name or another: its content counts."""
    first = upload(cluster, PHOTO)
    count = embedded(cluster.inference, "image")
    again = [upload(cluster, PHOTO, "other.png"), ask(cluster, image=PHOTO)]
    more = ask(cluster, image=PHOTO, k=3)

    assert count == embedded(cluster.inference, "image") > 0
    assert ["miss", "hit", "hit"] == [reply.headers["X-Cache"] for reply in (first, *again)]
    assert "miss" == more.headers["X-Cache"]
    for reply in again:
        assert first.json()["hits"] == reply.json()["hits"]
        assert first.json()["request_id"] != reply.json()["request_id"]
    other = encoded(noise(78), "PNG")
    assert "miss" == upload(cluster, other).headers["X-Cache"]


def test_the_reply_tells_of_the_cache(cluster: Cluster) -> None:
    """X-Cache, and on a hit Age, also for an address; no-cache is passed on to middle."""

    def get(**headers: str) -> Reply:
        return cluster.front.request("GET", "/v1/search?text=a+photo+of+the", headers=headers)

    first, hit, fresh = get(), get(), get(**{"Cache-Control": "no-cache"})

    assert [("miss", False), ("hit", True), ("bypass", False)] == [
        (reply.headers["X-Cache"], "Age" in reply.headers) for reply in (first, hit, fresh)
    ]
    assert 0 <= int(hit.headers["Age"]) < 60
    assert first.json()["hits"] == hit.json()["hits"] == fresh.json()["hits"]


def test_an_error_is_not_kept(cluster: Cluster) -> None:
    """What is no image is read each time, and answered alike."""
    for _ in range(2):
        reply = upload(cluster, b"no image")
        assert_problem(reply, 415, "unsupported_media_type")
        assert "X-Cache" not in reply.headers


@pytest.fixture(scope="module")
def config(cluster: Cluster) -> dict[str, Any]:
    """Of a front with a file of keys."""
    return with_section(cluster.config, "Front", port=0, keys_file="keys.json")


@pytest.fixture(scope="module")
def key(config: dict[str, Any], root: Path) -> str:
    """A key for admin, as the command prints it."""
    done = run_command("front/keys.py", config, "ops", "--scope", "admin", cwd=root)
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def guarded(config: dict[str, Any], key: str, root: Path) -> Iterator[Service]:
    """The front with keys."""
    with running("front/front.py", config, cwd=root) as front:
        yield front


def purge(front: Service, authorization: str | None) -> Reply:
    headers = {} if authorization is None else {"Authorization": authorization}
    return front.request("DELETE", "/v1/cache", headers=headers)


def test_a_key_empties_the_cache(cluster: Cluster, guarded: Service, key: str) -> None:
    """With the key for admin what was a hit is a miss, within a second also by another front."""
    ask(cluster, text="the red photo")
    assert "hit" == ask(cluster, text="the red photo").headers["X-Cache"]

    assert 204 == purge(guarded, f"Bearer {key}").status

    wait_until(lambda: "miss" == ask(cluster, text="the red photo").headers["X-Cache"])


def test_who_has_no_key_is_refused(cluster: Cluster, guarded: Service, key: str) -> None:
    """None or a wrong one: 401 with the scheme; and nothing is emptied."""
    ask(cluster, text="the red square")
    wrong = ("Bearer", "Bearer ", f"Bearer {key}x", f"Bearer {key[:-1]}", f"Basic {key}", key)
    for authorization in (None, "", *wrong, "Bearer caf\u00e9"):
        reply = purge(guarded, authorization)
        assert_problem(reply, 401, "unauthorized")
        assert "Bearer" == reply.headers["WWW-Authenticate"]
    assert "hit" == ask(cluster, text="the red square").headers["X-Cache"]


def test_a_key_without_the_scope_is_forbidden(guarded: Service, key: str, root: Path) -> None:
    """The file is read again when it has changed; a broken one changes nothing."""
    path = root / "keys.json"
    before = path.read_text()
    path.write_text(json.dumps([{**json.loads(before)[0], "scopes": []}]))
    assert_problem(purge(guarded, f"Bearer {key}"), 403, "forbidden")
    path.write_text(before + "]")
    assert_problem(purge(guarded, f"Bearer {key}"), 403, "forbidden")
    path.write_text(before)
    assert 204 == purge(guarded, f"Bearer {key}").status


def test_without_keys_nobody_may(cluster: Cluster) -> None:
    """A server without a file of keys refuses, and says what to set."""
    reply = purge(cluster.front, "Bearer anything")

    assert_problem(reply, 403, "forbidden")
    assert "Front.keys-file" in reply.json()["detail"]


def test_only_the_hash_of_a_key_is_kept(config: dict[str, Any], key: str, root: Path) -> None:
    """The file does not tell the key; a name is taken once, and the others stay."""
    text = (root / "keys.json").read_text()
    (kept,) = json.loads(text)

    assert ("ops", ["admin"], 64) == (kept["name"], kept["scopes"], len(kept["sha256"]))
    assert key not in text
    again = run_command("front/keys.py", config, "ops", "--scope", "admin", cwd=root)
    assert (2, "") == (again.returncode, again.stdout)
    assert "ops" in again.stderr
    assert text == (root / "keys.json").read_text()


def test_a_broken_file_of_keys_stops_the_start(config: dict[str, Any], tmp_path: Path) -> None:
    """One line that names the key of the configuration, as for all of it."""
    (tmp_path / "keys.json").write_text('[{"name": "ops"}]')
    done = run_command("front/front.py", config, cwd=tmp_path)

    assert 2 == done.returncode
    assert "Front.keys-file" in done.stderr
    assert "Traceback" not in done.stderr
