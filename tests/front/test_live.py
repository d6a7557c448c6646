"""Images that are put, changed and deleted while the system runs: found at once, gone at once."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from devtools.fork_server import run_forked
from devtools.services import CHECKOUT, Cluster, Service, cluster
from tests.front import pictures
from tests.front.front_client import Reply, assert_problem
from tests.front.live import delete, files, hits, in_base64, patch, png, put, upload, written
from tests.front.pictures import encoded, noise

CAT = (CHECKOUT / "samples/cat-chelsea.jpg").read_bytes()
MANY = "/v1/images"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of config.json."""
    return tmp_path_factory.mktemp("live")


@pytest.fixture(scope="module")
def live(folder: Path) -> Iterator[Cluster]:
    """All services with the starter model, over photos without a cat."""
    pictures.write_samples(folder / "photos")
    config: dict[str, Any] = {"Prepare": {"images": ["photos"]}, "Search": {"shards": 2}}
    done = run_forked("prepare/prepare.py", config, cwd=folder)
    assert done.returncode == 0, done.stderr
    with cluster(config, 2, folder) as running:
        yield running


@pytest.fixture
def front(live: Cluster) -> Service:
    """What the public asks."""
    return live.front


def many(front: Service, *images: dict[str, Any]) -> list[Any]:
    """The results of images that are put together."""
    reply = front.request("POST", MANY, json={"images": images})
    assert 200 == reply.status, reply.data
    results: list[Any] = reply.json()["results"]
    return results


def kept(folder: Path) -> list[Path]:
    """The files of uploads."""
    return sorted((folder / "data/uploads").glob("*"))


def test_a_photo_comes_and_goes(front: Service, folder: Path) -> None:
    """Found by a text and by itself, changed, found by what it is now, and found no more."""
    image_id, position = written(upload(front, CAT, stock=3, name="cat"), 201)
    seen = {"min_position": position}
    found = front.post("/v1/search", {"text": "a cat", "k": 1, **seen})["hits"][0]
    assert (found["id"], found["metadata"]) == (image_id, {"stock": 3, "name": "cat"})
    assert (folder / found["path"]).read_bytes() == CAT
    by_image = {"image": in_base64(CAT), "k": 1, **seen}
    assert front.post("/v1/search", by_image)["hits"][0]["id"] == image_id
    in_stock = {"field": "stock", "gt": 0}
    assert {image_id} == set(hits(front, text="a cat", filter=in_stock, **seen))

    changed_id, changed = written(patch(front, image_id, stock=0, name=None))
    assert changed_id == image_id
    seen = {"min_position": changed}
    assert {} == hits(front, text="a cat", filter=in_stock, **seen)
    assert {"stock": 0} == hits(front, text="a cat", **seen)[image_id]["metadata"]

    _, gone = written(delete(front, image_id))
    assert gone == position + 2
    assert image_id not in hits(front, text="a cat", min_position=gone)
    assert_problem(delete(front, image_id), 404, "unknown_id")
    assert_problem(patch(front, image_id, stock=1), 404, "unknown_id")
    like = front.request("GET", f"/v1/search?id={image_id}&min_position={gone}")
    assert_problem(like, 404, "unknown_id")


def test_files_are_there_at_once_and_gone_at_once(front: Service) -> None:
    """Also from memory: each is asked for before the deletion, and right after it."""
    for seed in range(100, 110):
        image_id, _ = written(put(front, png(seed)), 201)
        full, thumbnail, preview = files(front, image_id)
        assert [200] * 3 == [full.status, thumbnail.status, preview.status]
        assert full.data == png(seed)
        assert Image.open(io.BytesIO(thumbnail.data)).size == noise(seed).size
        assert [200] * 3 == [reply.status for reply in files(front, image_id)]
        written(delete(front, image_id))
        for reply in files(front, image_id):
            assert_problem(reply, 404, "unknown_id")


def test_an_uploaded_file_goes_with_its_image(front: Service, folder: Path) -> None:
    """One or many; that of an equal image below a root stays, whichever is deleted."""
    before = kept(folder)
    own = folder / "photos/equal.png"
    own.write_bytes(png(120))
    by_path, _ = written(front.request("POST", MANY, json={"path": "photos/equal.png"}), 201)
    ids = [written(put(front, png(seed)), 201)[0] for seed in (120, 121, 122)]
    assert len(before) + 3 == len(kept(folder))
    written(delete(front, ids[0]))
    assert len(before) + 2 == len(kept(folder))
    assert files(front, by_path)[0].data == png(120)
    front.post(f"{MANY}/delete", {"ids": [*ids, by_path]})

    assert before == kept(folder)
    assert own.read_bytes() == png(120)
    back, _ = written(put(front, png(120)), 201)
    assert files(front, back)[0].data == png(120)


def test_the_same_image_again_is_the_same_image(front: Service, folder: Path) -> None:
    """With the metadata of the last put; there is one file, and one hit."""
    image_id, _ = written(put(front, png(1), a=1), 201)
    again, position = written(put(front, png(1), b=2), 201)
    found = hits(front, image=in_base64(png(1)), dedup="none", min_position=position)

    assert image_id == again
    assert {"b": 2} == found[image_id]["metadata"]
    path = folder / found[image_id]["path"]
    assert [path] == [file for file in path.parent.iterdir() if file.read_bytes() == png(1)]
    written(delete(front, image_id))
    back, position = written(put(front, png(1)), 201)
    assert back == image_id
    assert back in hits(front, text="red", min_position=position)


def test_a_file_of_the_collection_is_put_where_it_lies(front: Service, folder: Path) -> None:
    """It has the id that prepare would give it, and one that prepare knows is changed."""
    (folder / "photos/new.png").write_bytes(png(2))
    reply = front.request("POST", MANY, json={"path": "photos/new.png", "metadata": {"a": 1}})
    image_id, position = written(reply, 201)
    found = hits(front, text="red", min_position=position)
    assert found[image_id]["path"] == "photos/new.png"
    assert [200] * 3 == [file.status for file in files(front, image_id)]

    owl = next(hit for hit in found.values() if hit["path"] == f"photos/{pictures.OWL}")
    again = front.request("POST", MANY, json={"path": owl["path"], "metadata": {"bird": True}})
    owl_id, position = written(again, 201)
    assert owl["id"] == owl_id
    now = hits(front, text="an owl", filter={"field": "bird", "eq": True}, min_position=position)
    assert [owl_id] == list(now)


def test_each_of_many_has_a_result(front: Service, folder: Path) -> None:
    """Those that are wrong take none of the others along, and keep no file."""
    before = kept(folder)
    broken = png(3)[:-40]
    found = many(
        front,
        {"image": in_base64(png(3)), "metadata": {"n": 3}},
        {"image": in_base64(b"no image")},
        {"image": in_base64(broken)},
        {"path": "../secret.png"},
        {"path": f"photos/{pictures.CASTLE}", "metadata": {"n": 4}},
    )

    codes = [one["problem"]["code"] if "problem" in one else None for one in found]
    assert [None, "unsupported_media_type", "unprocessable", "bad_request", None] == codes
    position = max(one.get("position", 0) for one in found)
    new = hits(front, text="red", filter={"field": "n", "gte": 3}, min_position=position)
    assert {found[0]["id"], found[4]["id"]} == set(new)
    assert len(before) + 1 == len(kept(folder))


def test_many_go_together(front: Service) -> None:
    """A hundred are put in one request and deleted in another; one that is not there is told."""
    images = [{"image": in_base64(png(seed))} for seed in range(200, 300)]
    ids = [one["id"] for one in many(front, *images)]
    assert 100 == len(set(ids))
    reply = front.request("POST", f"{MANY}/delete", json={"ids": [*ids, "0" * 32, "x"]})
    results = reply.json()["results"]

    assert ids == [one["id"] for one in results[:100]]
    codes = [one["problem"]["code"] for one in results[100:]]
    assert ["unknown_id", "bad_request"] == codes
    position = max(one["position"] for one in results[:100])
    assert not set(ids) & set(hits(front, text="red", min_position=position))


def test_a_search_sees_what_it_waits_for(front: Service) -> None:
    """In JSON, in a form and in an address; a position that nobody was told is refused."""
    for seed in range(400, 405):
        image_id, position = written(put(front, png(seed)), 201)
        fields = {"image": ("q.png", png(seed)), "k": "1", "min_position": str(position)}
        form = front.request("POST", "/v1/search", fields=fields).json()
        address = front.get(f"/v1/search?id={image_id}&k=1&min_position={position}")

        assert form["hits"][0]["id"] == image_id
        assert min(form["position"], address["position"]) >= position
    assert front.get("/v1/info")["position"] <= position
    ahead = front.request("GET", f"/v1/search?text=red&min_position={position + 1}")
    assert_problem(ahead, 400, "bad_request")
    for wrong in ("-1", "x", "1e3", "9" * 30):
        refused = front.request("GET", f"/v1/search?text=red&min_position={wrong}")
        assert_problem(refused, 400, "bad_request")


def test_no_kept_answer_is_older_than_a_write(front: Service) -> None:
    """A query that is answered from front's memory is made anew after a write through it."""
    query = {"text": "the photo of the square", "k": 100}
    for seed in range(500, 505):
        front.post("/v1/search", query)
        image_id, position = written(put(front, png(seed)), 201)
        reply = front.request("POST", "/v1/search", json=query)
        assert "hit" != reply.headers["X-Cache"]
        assert image_id in hits(front, **query, min_position=position)


def test_info_counts_what_is_there_now(front: Service) -> None:
    """And names new fields."""
    before = front.get("/v1/info")
    image_id, position = written(put(front, png(600), never_seen=1.5), 201)
    hits(front, text="red", min_position=position)
    after = front.get("/v1/info")

    assert before["images"] + 1 == after["images"]
    assert after["position"] == position
    assert ["number"] == after["fields"]["never_seen"]
    _, position = written(delete(front, image_id))
    hits(front, text="red", min_position=position)
    assert before["images"] == front.get("/v1/info")["images"]


@pytest.mark.parametrize(
    ("image", "status", "code"),
    [
        (b"", 415, "unsupported_media_type"),
        (b"<svg></svg>", 415, "unsupported_media_type"),
        (encoded(noise(9), "PNG")[:200], 422, "unprocessable"),
        (pictures.png((30_000, 30_000), 8, 2, b""), 413, "too_large"),
        (encoded(Image.new("RGB", (2100, 100)), "PNG"), 400, "bad_request"),
    ],
    ids=["empty", "svg", "broken", "huge", "long"],
)
def test_what_no_search_takes_is_not_put(
    front: Service, folder: Path, image: bytes, status: int, code: str
) -> None:
    """And leaves nothing behind."""
    before = kept(folder)
    replies: list[Reply] = [put(front, image), upload(front, image)]
    for reply in replies:
        assert_problem(reply, status, code)
    assert before == kept(folder)
