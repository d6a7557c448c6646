"""Long texts in other languages beside short ones, with the starter's multilingual tower."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.settings.middle import Middle
from devtools.fork_server import run_forked
from devtools.services import CHECKOUT, Cluster, cluster
from tests.front.front_client import Reply, ask

LONG = "一只棕色的小狗在公园的草地上奔跑" * 125
"""2,000 characters, twelve times as many tokens as the tower takes."""
CONFIG = {"Middle": {"deadline-ms": 20_000}}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """All services over two photographs."""
    root = tmp_path_factory.mktemp("long")
    photos = [str(CHECKOUT / f"samples/{name}.jpg") for name in ("cat-chelsea", "owl")]
    done = run_forked("prepare/prepare.py", CONFIG, *photos, cwd=root)
    assert done.returncode == 0, done.stderr
    with cluster(CONFIG, 1, root) as running:
        yield running


def names(reply: Reply) -> list[str]:
    """The files that were found, the best first."""
    return [Path(hit["path"]).name for hit in reply.json()["hits"]]


def test_short_texts_do_not_wait_for_long_ones(services: Cluster) -> None:
    """Kind F: of six long texts and six short ones none is 503, and a long one is the last."""
    ended: list[tuple[str, Reply]] = []

    def search(text: str) -> None:
        ended.append((text, ask(services, text=text)))

    texts = [f"{number}{LONG[1:]}" for number in range(6)]
    texts += ["eine Katze", "un chat", "кот", "猫", "gatto", "kedi"]
    threads = [threading.Thread(target=search, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {200} == {reply.status for _, reply in ended}
    assert len(LONG) == len(ended[-1][0])
    for text, reply in ended:
        cut = "the text was cut to the model's 128 tokens"
        assert ([cut] if len(text) == len(LONG) else []) == reply.json()["warnings"]
        assert "starter-multilingual" == reply.json()["model"]


def test_a_long_text_is_answered_within_the_usual_deadline(services: Cluster) -> None:
    """Kind F: the case as it was found, by the multilingual tower, and a short text after it."""
    usual = {"X-Deadline-Ms": str(Middle().deadline_ms)}
    for text, warnings in ((LONG, ["the text was cut to the model's 128 tokens"]), ("кот", [])):
        message = {"text": text, "model": "mclip"}
        reply = services.front.request("POST", "/v1/search", json=message, headers=usual)
        assert 200 == reply.status, reply.data
        assert warnings == reply.json()["warnings"]
        assert reply.json()["took_ms"]["total"] < Middle().deadline_ms


def test_a_text_in_other_letters_is_the_same_text(services: Cluster) -> None:
    """Kind F: full-width letters find what plain ones find, by the same tower."""
    plain, wide = (ask(services, text=text) for text in ("CAT", "\uff23\uff21\uff34"))

    assert "cat-chelsea.jpg" == names(wide)[0]
    assert "starter" == wide.json()["model"]
    assert plain.json()["hits"] == wide.json()["hits"]


def test_emoji_find_what_they_show(services: Cluster) -> None:
    """Kind F: by the multilingual tower, which has learned them."""
    for emoji, name in (("🐱", "cat-chelsea.jpg"), ("🦉", "owl.jpg")):
        reply = ask(services, text=emoji)
        assert ("starter-multilingual", name) == (reply.json()["model"], names(reply)[0])
