"""Ids that need not be asked for again, while nothing has changed."""

from devtools.fake_clock import FakeClock
from front import known_ids
from front.known_ids import SETTLED_S, KnownIds, Mark


class Marked:
    """Ids, and the mark that they are known under."""

    def __init__(self) -> None:
        self.mark: Mark = "one"
        self.clock = FakeClock()
        self.ids = KnownIds(lambda: self.mark, self.clock)
        self.ids.add("first", "one")
        self.clock.advance(SETTLED_S)


def test_an_id_is_known_until_the_mark_changes() -> None:
    """Also if it changes back: an image may have been deleted between."""
    marked = Marked()
    marked.ids.add("a", "one")
    assert marked.ids.have("a")
    assert not marked.ids.have("b")
    marked.mark = "two"
    assert not marked.ids.have("a")
    marked.ids.add("b", "two")
    marked.mark = "one"
    assert not marked.ids.have("a")


def test_what_is_told_right_after_a_change_is_not_known_yet() -> None:
    """A search server may lag behind it."""
    marked = Marked()
    marked.mark = "two"
    marked.ids.add("a", "two")
    marked.clock.advance(SETTLED_S / 2)
    marked.ids.add("a", "two")
    assert not marked.ids.have("a")
    marked.clock.advance(SETTLED_S / 2)
    marked.ids.add("a", "two")
    assert marked.ids.have("a")


def test_an_answer_from_before_a_change_does_not_count() -> None:
    """The mark was read before middle was asked."""
    marked = Marked()
    marked.mark = "two"
    marked.ids.add("a", "one")

    assert not marked.ids.have("a")


def test_without_a_mark_nothing_is_known() -> None:
    """Nobody says whether something has changed."""
    marked = Marked()
    marked.mark = None
    marked.ids.add("a", None)

    assert not marked.ids.have("a")


def test_ids_are_bounded() -> None:
    """All are forgotten, which costs a question each."""
    marked = Marked()
    for number in range(known_ids.MAX_IDS + 1):
        marked.ids.add(str(number), "one")

    assert not marked.ids.have("0")
    assert marked.ids.have(str(known_ids.MAX_IDS))
