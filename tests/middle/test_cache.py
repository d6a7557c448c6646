"""The prediction cache in memory: cached is fresh, and nothing is made twice."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from devtools.collection import Collection
from devtools.services import Cluster, Service, hanging, metric, wait_until
from tests.cache_probe import (
    Reply,
    ask,
    caching,
    counted,
    embedded,
    fresh,
    hits,
    image,
    outcome,
)


@pytest.fixture
def middle(services: Cluster, collection: Collection) -> Iterator[Service]:
    """A middle with an empty cache."""
    with caching(services, collection.folder) as running:
        yield running


def test_cached_is_fresh_and_the_model_is_asked_once(
    services: Cluster, collection: Collection, middle: Service
) -> None:
    """By text, image, id and embedding: the same hits again, with an id and times of their own."""
    vector = collection.vectors()[5].tolist()
    identity = ask(middle, text="red", k=1).json()["hits"][0]["id"]
    queries = (
        {"text": "a red square"},
        {"image": image(collection, 3), "k": 7},
        {"id": identity},
        {"embedding": vector, "dedup": "none"},
    )
    for query in queries:
        first = ask(middle, **query)
        before = embedded(services.inference), embedded(services.inference, "image")
        again = ask(middle, headers={"X-Request-Id": "mine"}, **query)

        assert ("miss", "hit") == (outcome(first), outcome(again))
        assert before == (embedded(services.inference), embedded(services.inference, "image"))
        assert hits(first) == hits(again) == hits(fresh(middle, **query))
        assert "mine" == again.json()["request_id"] != first.json()["request_id"]
        assert {"embed": 0, "search": 0}.items() <= again.json()["took_ms"].items()
        assert 0 <= int(again.headers["Age"]) < 60
        assert "Age" not in first.headers


def test_a_text_is_the_same_however_it_is_spelt(middle: Service) -> None:
    """Letters that are composed or not, and more or fewer spaces, are one text."""
    assert "miss" == outcome(ask(middle, text="a red caf\u00e9"))
    for text in ("a red cafe\u0301", "  a red\n\tcaf\u00e9 "):
        assert "hit" == outcome(ask(middle, text=text))
    assert "miss" == outcome(ask(middle, text="a red cafe"))


def test_whatever_changes_the_answer_is_in_the_key(services: Cluster, middle: Service) -> None:
    """Another k, dedup, min_score, model or require_full is another answer by one embedding."""
    count = embedded(services.inference)
    others = ({"k": 3}, {"dedup": "none"}, {"min_score": 0.9}, {"model": "clip"})
    for other in ({}, *others, {"require_full": True}):
        reply = ask(middle, text="a green square", **other)
        assert "miss" == outcome(reply)
        assert hits(reply) == hits(fresh(middle, text="a green square", **other))

    assert 6 == embedded(services.inference) - count - 1  # one, and one for each that was fresh


def test_embeddings_are_shared_with_the_other_routes(
    services: Cluster, collection: Collection, middle: Service
) -> None:
    """What /embed made serves a search, and the image of a search serves /classify."""
    (row,) = ask(middle, "/embed", texts=["the blue square"]).json()["embeddings"]
    ask(middle, image=image(collection, 7))
    count = embedded(services.inference), embedded(services.inference, "image")
    by_text = ask(middle, text="the blue square")
    by_vector = ask(middle, embedding=row)

    assert hits(by_text) == hits(by_vector)
    assert (row,) == tuple(ask(middle, "/embed", texts=["the blue square"]).json()["embeddings"])
    assert 200 == ask(middle, "/embed", images=[image(collection, 7)]).status
    labels = {"labels": ["red", "blue"], "images": [image(collection, 7)], "template": "{}"}
    assert 200 == ask(middle, "/classify", **labels).status
    texts = embedded(services.inference) - 2  # the labels
    assert count == (texts, embedded(services.inference, "image"))


def test_a_hundred_equal_queries_embed_once(services: Cluster, middle: Service) -> None:
    """All that come while the first is under way wait for it and get its hits."""
    count = embedded(services.inference)
    with ThreadPoolExecutor(100) as pool:
        with hanging(services.inference):
            replies = [pool.submit(ask, middle, text="blue photo", k=5) for _ in range(100)]
            wait_until(lambda: 99 == counted(middle, "result", "join"))
        answers = [reply.result() for reply in replies]

    assert 1 == embedded(services.inference) - count
    assert ["join"] * 99 + ["miss"] == sorted(map(outcome, answers))
    assert 1 == len({tuple(hits(answer)) for answer in answers})
    assert 100 == len({answer.json()["request_id"] for answer in answers})


@pytest.mark.parametrize(
    ("path", "query", "level"),
    [
        ("/search", {"text": "red red"}, "result"),
        ("/embed", {"texts": ["red red red"]}, "embedding"),
    ],
)
def test_who_joins_does_not_share_another_s_deadline(
    services: Cluster, middle: Service, path: str, query: dict[str, Any], level: str
) -> None:
    """The first of two equal queries runs out of time; the second goes on and is answered."""
    with ThreadPoolExecutor(2) as pool:
        with hanging(services.inference):
            first = pool.submit(ask, middle, path, {"X-Deadline-Ms": "6000"}, **query)
            wait_until(lambda: 0 < counted(middle, level, "miss") - 1)
            second = pool.submit(ask, middle, path, {"X-Deadline-Ms": "9000"}, **query)
            wait_until(lambda: 1 == counted(middle, level, "join"))
            late = first.result()
        assert (503, "deadline_exceeded") == (late.status, late.json()["code"])
        assert 200 == second.result().status, second.result().data


def test_no_cache_asks_the_model_and_keeps_what_it_says(services: Cluster, middle: Service) -> None:
    """`Cache-Control: no-cache` bypasses what is kept; the next query has the new answer."""
    for _ in range(2):
        count = embedded(services.inference)
        assert "bypass" == outcome(fresh(middle, text="the green photo"))
        assert 1 == embedded(services.inference) - count
    assert "hit" == outcome(ask(middle, text="the green photo"))
    plain = ask(middle, headers={"Cache-Control": "max-age=0, stale"}, text="the green photo")
    assert "hit" == outcome(plain)


def test_an_entry_lives_while_it_is_used(services: Cluster, collection: Collection) -> None:
    """Policy idle: used, it outlives the expiry; unused for that long, it is gone."""
    with caching(services, collection.folder, cache_expiry_s=3) as middle:
        ask(middle, text="red")
        while int((reply := ask(middle, text="red")).headers.get("Age", "0")) < 5:
            assert "hit" == outcome(reply)
            time.sleep(0.05)
        time.sleep(3.2)  # a look would be a use
        assert "miss" == outcome(ask(middle, text="red"))


def test_with_policy_absolute_use_prolongs_nothing(
    services: Cluster, collection: Collection
) -> None:
    """An entry in constant use is made anew when its time is over."""
    settings = {"cache_expiry_s": 2, "cache_policy": "absolute"}
    with caching(services, collection.folder, **settings) as middle:
        ask(middle, text="red")
        assert "hit" == outcome(ask(middle, text="red"))
        wait_until(lambda: "miss" == outcome(ask(middle, text="red")))


def test_what_was_used_last_stays(services: Cluster, collection: Collection) -> None:
    """Policy lru: entries are dropped by their bytes alone, the least recently used first."""
    settings = {"cache_bytes": 40_000, "cache_policy": "lru", "cache_expiry_s": 0.001}
    with caching(services, collection.folder, **settings) as middle:
        ask(middle, text="red")
        for number in range(30):
            assert "miss" == outcome(ask(middle, text=f"photo {number}"))
            assert "hit" == outcome(ask(middle, text="red"))
        assert "miss" == outcome(ask(middle, text="photo 0"))
        assert metric(middle, "cache_evictions_total") > 10
        assert 10_000 < metric(middle, 'cache_bytes{store="answers"}') <= 40_000


def test_a_purge_reaches_every_worker(services: Cluster, collection: Collection) -> None:
    """Each of two workers has a memory of its own, and each forgets everything."""
    with caching(services, collection.folder, workers=2) as middle:
        until_missed_by_both(middle)
        assert {"hit"} == {outcome(ask_anew(middle)) for _ in range(20)}
        assert 204 == middle.request("DELETE", "/cache").status
        until_missed_by_both(middle)
        middle.kill()  # two workers take their time to leave, which is not what is tested here


def ask_anew(middle: Service) -> Reply:
    """The reply to a query on a connection of its own, by either worker."""
    return ask(middle, headers={"Connection": "close"}, text="red blue")


def until_missed_by_both(middle: Service) -> None:
    """Ask until there were two misses: one for each worker."""
    misses: list[Reply] = []

    def both_missed() -> bool:
        reply = ask_anew(middle)
        misses.extend([reply] if "miss" == outcome(reply) else [])
        return 2 == len(misses)

    wait_until(both_missed)


def test_without_a_cache_every_query_is_made(services: Cluster, collection: Collection) -> None:
    """`"cache": "off"`: no query is looked up, and no embedding."""
    with caching(services, collection.folder, cache="off") as middle:
        for _ in range(2):
            count = embedded(services.inference)
            assert "bypass" == outcome(ask(middle, text="red"))
            assert 1 == embedded(services.inference) - count
        assert 204 == middle.request("DELETE", "/cache").status
