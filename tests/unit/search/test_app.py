"""The search server's application, around versions with one version."""

from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from flask.testing import FlaskClient

from common.errors import NotFound, Unavailable
from common.wire import Matrix, encode, pack_rows
from search.app import create_app
from search.browse_messages import (
    MAX_FIELDS,
    MAX_LISTED,
    BrowseRequest,
    CountRequest,
    Counts,
    Listed,
    ShardReply,
)
from search.filter import Filter
from search.index_versions import IndexVersions
from search.messages import (
    MAX_SHARD_HITS,
    Info,
    LookupReply,
    LookupRequest,
    SearchReply,
    SearchRequest,
)
from search.shard import Shard
from search.shard_loading import load_shard
from search.version import Version
from tests.unit.indexing import content_of, folders_in, write_version

VECTORS: Matrix = np.eye(4, dtype=np.float32)


class OneVersion:
    """Versions that hold the first of two shards, or nothing."""

    refusal, store_error = None, ""

    def __init__(self, root: Path) -> None:
        folders = folders_in(root)
        manifest = write_version(folders, "v000001", VECTORS, (0, 1))
        shard = Shard(list(load_shard(folders, manifest, 0, {}).values()))
        self.version: Version | None = Version(manifest, {0: shard})

    def newest(self) -> Version:
        if self.version is None:
            raise Unavailable("no index is loaded", "no_index")
        return self.version

    def get(self, version_digest: str | None) -> Version:
        if version_digest is not None:
            raise NotFound("no version with this digest", "no_such_version")
        return self.newest()


@pytest.fixture
def versions(tmp_path: Path) -> OneVersion:
    """Images 0 and 1 of four."""
    return OneVersion(tmp_path)


@pytest.fixture
def client(versions: OneVersion) -> FlaskClient:
    """Asks the application."""
    return create_app(cast(IndexVersions, versions), 64, 1).test_client()


def ask(client: FlaskClient, path: str, message: Any) -> Any:
    """The status and the body of a reply."""
    reply = client.post(path, data=encode(message))
    return reply.status_code, reply.data


def test_the_nearest_are_found_for_each_query(client: FlaskClient) -> None:
    """With the version and the shards that they are from."""
    message = SearchRequest(4, pack_rows(VECTORS[[1, 0]]), [1, 2])
    status, body = ask(client, "/search", message)
    reply = msgspec.msgpack.decode(body, type=SearchReply)

    assert status == 200
    assert (reply.version, reply.shard_count, len(reply.shards)) == ("v000001", 2, 1)
    first, second = reply.shards[0].hits
    assert [msgspec.msgpack.decode(one)[0] for one in first.records] == ["1.jpg"]
    assert [msgspec.msgpack.decode(one)[0] for one in second.records] == ["0.jpg", "1.jpg"]
    message.most = [1, 1]
    _, body = ask(client, "/search", message)
    (best,) = msgspec.msgpack.decode(body, type=SearchReply).shards
    assert [len(one.records) for one in best.hits] == [1, 1]
    assert best.hits[1].beyond == np.frombuffer(second.scores, "<f4")[1]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (SearchRequest(3, b"", []), "wrong_length"),
        (SearchRequest(4, pack_rows(VECTORS[:1]), []), "bad_request"),
        (SearchRequest(4, pack_rows(VECTORS[:1]), [0]), "bad_request"),
        (SearchRequest(4, pack_rows(VECTORS[:1]), [MAX_SHARD_HITS + 1]), "bad_request"),
        (SearchRequest(4, pack_rows(2 * VECTORS[:1]), [1]), "bad_request"),
        (SearchRequest(4, pack_rows(np.nan * VECTORS[:1]), [1]), "bad_request"),
        (SearchRequest(4, b"123", [1]), "bad_request"),
        (SearchRequest(4, b"", []), "bad_request"),
        (SearchRequest(4, b"", [], most=[]), "bad_request"),
        (SearchRequest(4, pack_rows(VECTORS[:1]), [1], most=[]), "bad_request"),
        (SearchRequest(4, pack_rows(VECTORS[:1]), [1], most=[0]), "bad_request"),
        (SearchRequest(4, pack_rows(VECTORS[:1]), [1], "digest"), "no_such_version"),
        ({"dim": "four"}, "bad_request"),
    ],
)
def test_what_cannot_be_searched_for_is_refused(
    client: FlaskClient, message: Any, code: str
) -> None:
    """Before the index sees it."""
    status, body = ask(client, "/search", message)

    assert status in (400, 404)
    assert msgspec.json.decode(body)["code"] == code


def test_images_are_listed_and_counted(client: FlaskClient, versions: OneVersion) -> None:
    """Those of each shard that is held, page by page; the fields are those of the version."""
    assert versions.version
    manifest = msgspec.structs.replace(versions.version.manifest, fields={"path": ["text"]})
    versions.version = Version(manifest, versions.version.shards)
    paths: list[str] = []
    after = None
    for _ in range(3):
        status, body = ask(client, "/browse", BrowseRequest(1, after))
        reply = msgspec.msgpack.decode(body, type=ShardReply[list[Listed]])
        paths += [one.record.path for one in reply.shards[0]]
        after = reply.shards[0][0].place if reply.shards[0] else after
    assert (200, ["0.jpg", "1.jpg"]) == (status, paths)

    status, body = ask(client, "/counts", CountRequest(["path"]))
    found = msgspec.msgpack.decode(body, type=ShardReply[Counts])
    assert (200, 2, "v000001", 2) == (
        *(status, found.shards[0].images, found.version, found.shard_count),
    )


@pytest.mark.parametrize(
    ("path", "message", "code"),
    [
        ("/browse", BrowseRequest(0), "bad_request"),
        ("/browse", BrowseRequest(MAX_LISTED + 1), "bad_request"),
        ("/browse", BrowseRequest(1, filter=Filter(field="a", eq=1)), "unknown_field"),
        ("/browse", BrowseRequest(1, version_digest="digest"), "no_such_version"),
        ("/browse", BrowseRequest(1, filter=Filter(field="a")), "bad_filter"),
        ("/counts", CountRequest([]), "bad_request"),
        ("/counts", CountRequest(["a"] * (MAX_FIELDS + 1)), "bad_request"),
        ("/counts", CountRequest(["a"]), "unknown_field"),
    ],
)
def test_what_cannot_be_listed_is_refused(
    client: FlaskClient, path: str, message: Any, code: str
) -> None:
    """As what cannot be searched for."""
    _, body = ask(client, path, message)
    assert msgspec.json.decode(body)["code"] == code


@pytest.mark.parametrize(
    ("content", "expected"),
    [(content_of(1, 4), 200), (4, "unknown_id"), (content_of(2, 4), "wrong_shard")],
)
def test_an_image_is_looked_up_in_its_shard(
    client: FlaskClient, content: int, expected: int | str
) -> None:
    """Another server may hold that."""
    status, body = ask(client, "/lookup", LookupRequest(f"{content:016x}{0:016x}"))
    if expected == 200:
        reply = msgspec.msgpack.decode(body, type=LookupReply)
        assert (status, reply.record.path) == (200, "1.jpg")
        assert reply.vector == VECTORS[1].tobytes()
    else:
        assert msgspec.json.decode(body)["code"] == expected


def test_a_server_tells_what_it_holds(client: FlaskClient, versions: OneVersion) -> None:
    """And is ready once it holds something."""
    info = msgspec.msgpack.decode(client.get("/info").data, type=Info)
    assert (info.version, info.images, info.shards, info.shard_count) == ("v000001", 4, [0], 2)
    assert info.sharding == "range"
    assert client.get("/ready").status_code == 200
    versions.version = None
    assert client.get("/ready").get_json()["detail"] == "no index is loaded"
    assert client.get("/info").get_json()["code"] == "no_index"


@pytest.mark.parametrize(("left_ms", "status"), [("1000", 200), ("0", 503), ("soon", 400)])
def test_a_caller_s_deadline_counts(client: FlaskClient, left_ms: str, status: int) -> None:
    """Nothing is searched after it."""
    message = encode(SearchRequest(4, pack_rows(VECTORS[:1]), [1]))
    reply = client.post("/search", data=message, headers={"X-Deadline-Ms": left_ms})

    assert reply.status_code == status
