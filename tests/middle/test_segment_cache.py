"""Encodings of images in the prediction cache: made once, kept apart, in memory or in Redis."""

import asyncio
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from common.config import Middle
from devtools.collection import Collection
from devtools.services import Cluster, Service, cluster, hanging, metric, wait_until, with_section
from devtools.tiny_sam import SHAPE, picture, write_meta_sam
from middle.redis_store import RedisStore
from tests.cache_probe import Reply, ask, caching, outcome
from tests.front.front_client import in_base64
from tests.front.pictures import png
from tests.redis_server import RedisServer, redis_server

INSIDE = [0.3, 0.6, 1]
VALUE = bytes(2**21)
ENCODINGS = 'cache_bytes{store="encodings"}'
HUGE = png((20_000, 20_000), 1, 0, b"")
"""A file of a few bytes that says it has 400 megapixels."""


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """A few images, and a model that segments."""
    folder = tmp_path_factory.mktemp("segments")
    found = Collection(folder, images=12, shards=1)
    write_meta_sam(folder / "tiny-sam")
    found.config = with_section(found.config, "Inference", sam="tiny-sam")
    return found


@pytest.fixture(scope="module")
def services(collection: Collection) -> Iterator[Cluster]:
    """All servers, which no test stops."""
    with cluster(collection.config, 1, collection.folder) as running:
        wait_until(lambda: outcome(segment(running.middle)) in ("miss", "hit"))
        yield running


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """An empty redis-server."""
    with redis_server(tmp_path) as server:
        yield server


def segment(middle: Service, file: bytes | None = None) -> Reply:
    """The reply to a click on the picture, or on another file."""
    image = in_base64(picture() if file is None else file)
    return ask(middle, "/segment", image=image, points=[INSIDE])


def segment_at_front(services: Cluster, file: bytes, **headers: str) -> Reply:
    """The same over front; headers are given with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(services.front, "/v1/segment", named, image=in_base64(file), points=[INSIDE])


def is_hit(middle: Service) -> bool:
    return outcome(segment(middle)) == "hit"


def encodes(services: Cluster) -> int:
    """How many images the model has encoded."""
    name = 'batch_items_total{batcher="sam_encode",outcome="ok"}'
    return int(metric(services.inference, name))


def slow_picture(seed: int) -> bytes:
    """A file of a few kB that takes a part of a second to decode; each seed gives another."""
    file = io.BytesIO()
    Image.new("RGB", (5000, 5000 + seed), "red").save(file, "PNG")
    return file.getvalue()


def test_three_clients_and_one_encode(services: Cluster) -> None:
    """Over front: X-Cache tells; the box is that of the shape."""
    file, before = slow_picture(1), encodes(services)
    with ThreadPoolExecutor(3) as pool:
        replies = list(pool.map(lambda _: segment_at_front(services, file), range(3)))

    assert sorted(map(outcome, replies)) == ["join", "join", "miss"]
    assert "hit" == outcome(segment_at_front(services, file))
    assert encodes(services) - before == 1
    found = segment_at_front(services, picture()).json()
    assert ("sam", SHAPE) == (found["method"], tuple(found["box"]))
    assert {"encode", "decode", "total"} == set(found["took_ms"])
    again = segment_at_front(services, file, Cache_Control="no-cache")
    assert "bypass" == outcome(again)


def test_an_encoding_outlasts_a_deadline_and_is_kept(services: Cluster) -> None:
    """503 says when to ask again; then it is there, for a deadline as short."""
    file, before = slow_picture(2), encodes(services)
    late = segment_at_front(services, file, X_Deadline_Ms="60")

    assert (503, "deadline_exceeded") == (late.status, late.json()["code"])
    assert late.headers["Retry-After"] == "1"
    wait_until(lambda: encodes(services) == before + 1)
    time.sleep(0.1)  # of the reply to middle
    assert "hit" == outcome(segment_at_front(services, file))
    assert encodes(services) == before + 1


def test_nothing_of_a_bad_request_is_kept(services: Cluster) -> None:
    """Neither of a wrong prompt on a good picture, which then is new, nor of a bad picture."""
    kept, before = partial(metric, services.middle, ENCODINGS), encodes(services)
    held, file = kept(), picture("PNG", 6)
    prompts: list[dict[str, Any]] = [
        {"points": [[1.1, 0.5, 1]]},
        {"points": [INSIDE] * 1001},
        {"box": [0.6, 0, 0.5, 1]},
        {"box": [0.5, 0, 0.5, 1]},
        {"points": [INSIDE], "mask_format": "svg"},
    ]
    for prompt in prompts:
        reply = ask(services.middle, "/segment", image=in_base64(file), **prompt)
        assert (400, "bad_request") == (reply.status, reply.json()["code"])
    for bad, status in ((HUGE, 413), (file[:2000], 422), (b"text", 415)):
        assert status == segment(services.middle, bad).status

    assert (held, before) == (kept(), encodes(services))
    assert "miss" == outcome(segment(services.middle, file))
    wait_until(lambda: kept() > held)


def test_pictures_push_out_no_texts(services: Cluster, collection: Collection) -> None:
    """In memory each kind has its limit; a purge forgets both."""
    with caching(services, collection.folder, segment_cache_bytes=5 * 2**20) as middle:
        wait_until(lambda: outcome(segment(middle)) in ("miss", "hit"))
        ask(middle, text="red")
        for number in range(5):
            small = io.BytesIO()
            Image.new("RGB", (20, 20 + number)).save(small, "PNG")
            assert "miss" == outcome(segment(middle, small.getvalue()))
        assert "hit" == outcome(ask(middle, text="red"))
        assert "hit" == outcome(segment(middle, small.getvalue()))
        assert "miss" == outcome(segment(middle))
        assert 4 * 2**20 < metric(middle, ENCODINGS) < 5 * 2**20
        assert 204 == middle.request("DELETE", "/cache").status
        assert ("miss", "miss") == (outcome(ask(middle, text="red")), outcome(segment(middle)))


def test_two_middle_servers_share_encodings_in_redis(
    services: Cluster, collection: Collection, redis: RedisServer
) -> None:
    """What one made the other has; junk is a miss; a purge forgets it."""
    serve = partial(caching, services, collection.folder, cache=redis.url)
    with serve() as one, serve() as other:
        for middle in (one, other):
            wait_until(partial(is_hit, middle))
        assert tuple(segment(other).json()["box"]) == SHAPE
        with redis.client as client:
            (name,) = (name for name in redis.names() if b"encoding" in name)
            assert 2**21 < client.strlen(name) < 2**21 + 1000
            client.set(name, client.get(name)[:-1] + b"x")
        assert "miss" == outcome(segment(one))
        wait_until(partial(is_hit, one))
        with hanging(redis):
            assert "miss" == outcome(segment(one))
        assert 204 == other.request("DELETE", "/cache").status
        assert not [name for name in redis.names() if b"encoding" in name]


async def load(url: str) -> tuple[int, int, float]:
    """Keep and find 64 encodings at once, and answers meanwhile: how many, and the longest wait."""
    encodings = RedisStore(url, Middle(), name="encodings")
    answers = RedisStore(url, Middle())
    try:
        answers.save("answer", b"short")
        for number in range(64):
            encodings.save(f"{number}", VALUE)
            await asyncio.sleep(0.005)
        finding = asyncio.gather(*(encodings.find(f"{number}") for number in range(64)))
        found, longest = 0, 0.0
        for _ in range(50):
            began = time.monotonic()
            found += await answers.find("answer") is not None
            longest = max(longest, time.monotonic() - began)
        return sum(entry is not None for entry in await finding), found, longest
    finally:
        await encodings.close()
        await answers.close()


def test_many_encodings_at_once_delay_no_answers(redis: RedisServer) -> None:
    """They have connections and batches of their own, and do not pause the store of answers."""
    large, small, longest_s = asyncio.run(load(redis.url))

    print(f"{large} of 64 encodings, {small} of 50 answers, at most {1000 * longest_s:.0f} ms")
    assert small == 50
    assert large > 8
