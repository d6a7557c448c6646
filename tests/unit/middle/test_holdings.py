"""Who is asked for which shards: one holder each, also while old and new servers run together."""

import pytest

from middle.holdings import Holdings
from search.query_batch import Ask

LISTS = [["a0", "a1"], ["b0", "b1"]]


def holdings(**held: list[int]) -> Holdings:
    """What replicas of an index of four shards hold."""
    found = Holdings()
    for replica, shards in held.items():
        found.learn(replica, 4, shards)
    return found


def asked(asks: list[Ask]) -> dict[int, set[str]]:
    """The replicas that may be asked for each shard that is named; each is named once."""
    found: dict[int, set[str]] = {}
    for ask in asks:
        for shard in ask.shards or ():
            assert shard not in found
            found[shard] = set(ask.among or ())
    return found


def test_usually_each_server_is_asked_for_all_that_it_holds() -> None:
    """Nothing is named, so that one message goes to all."""
    usual = [Ask(0), Ask(1)]

    assert usual == Holdings().plan(LISTS, 4)
    assert usual == holdings(a0=[0, 1], a1=[0, 1], b0=[2, 3], b1=[2, 3]).plan(LISTS, 4)
    assert usual == holdings(a0=[0, 1], a1=[0, 1]).plan(LISTS, 4)


def test_a_replica_of_which_nothing_is_known_is_asked_as_the_others_are() -> None:
    """The others may end at any moment; what its reply lacks is asked of them."""
    known = holdings(a0=[0, 1], b0=[2, 3], b1=[2, 3])
    known.doubt_others(["a0", "b1"])

    assert [Ask(0), Ask(1)] == known.plan(LISTS, 4)


def test_a_replica_of_which_nothing_is_known_is_asked_for_what_no_other_holds() -> None:
    """It was ejected, and may have come back with other shards."""
    known = holdings(a0=[0, 1], a1=[0], b0=[2, 3])
    known.doubt_others(["a1", "b0"])
    unknown = [Ask(0, (1,), frozenset(["a0"])), Ask(1, (1,), frozenset(["b1"]))]

    assert [Ask(0, (0,), frozenset(["a1"])), *unknown] == known.plan_again(LISTS, [0, 1])
    known.learn("a0", 4, [0, 1])
    assert {0, 1} == asked(known.plan_again(LISTS, [0, 1])).keys()


def test_replicas_of_one_server_that_hold_different_shards_are_asked_by_shard() -> None:
    """As while the first replicas have a new list and the second ones still the old one."""
    known = holdings(a0=[0, 1, 2], a1=[0, 1], b0=[3], b1=[2, 3])
    found = asked(known.plan(LISTS, 4))

    assert {0, 1, 2, 3} == found.keys()
    assert found[0] | found[1] <= {"a0", "a1"}
    assert found[2] in ({"a0"}, {"b1"})
    assert found[3] in ({"b0"}, {"b1"})


def test_a_shard_of_two_servers_is_asked_of_one() -> None:
    """Of the one with fewer shards so far."""
    lists = [["a"], ["b"], ["c"]]
    found = asked(holdings(a=[0, 1], b=[2, 3], c=[1, 3]).plan(lists, 4))

    assert {0: {"a"}, 2: {"b"}} == {shard: found[shard] for shard in (0, 2)}
    assert {"c"} in (found[1], found[3])


def test_a_server_of_which_nothing_is_known_is_asked_for_all_that_it_holds() -> None:
    """Beside others that are asked by shard; so is one without a replica in use, which fails."""
    lists = [["a"], ["b"], ["c"], []]
    asks = holdings(a=[0, 1], b=[1, 2, 3]).plan(lists, 4)

    assert [Ask(2), Ask(3)] == asks[:2]
    assert {0, 1, 2, 3} == asked(asks).keys()


def test_shards_of_different_indexes_are_not_compared() -> None:
    """While some servers have changed to an index with more shards, each is asked for all."""
    known = holdings(a0=[0, 1], a1=[0, 1])
    for replica in LISTS[1]:
        known.learn(replica, 8, [1, 2, 3, 5])

    assert [Ask(0), Ask(1)] == known.plan(LISTS, 8)


@pytest.mark.parametrize(("missing", "holder"), [([2], {"a0"}), ([3], {"b0", "b1"}), ([7], None)])
def test_what_a_reply_lacks_is_asked_of_another(missing: list[int], holder: set[str]) -> None:
    """Of nobody if it is known that no replica holds it."""
    found = asked(holdings(a0=[0, 1, 2], a1=[0, 1], b0=[3], b1=[3]).plan_again(LISTS, missing))

    assert found == ({missing[0]: holder} if holder else {})


def test_a_reply_tells_what_its_replica_has_of_what_it_was_asked_for() -> None:
    """What it was not asked for stays as it was known."""
    known = holdings(a0=[0, 1], a1=[3])
    known.learn("a0", 4, [1], asked=(0, 1, 2))
    known.learn("a1", 4, [0], asked=(0,))

    assert {1} == known.of(["a0"])
    assert {0, 3} == known.of(["a1"])
    assert {"a0"} == known.holders(["a0", "a1"], 1)
    assert frozenset() == known.of(["b0"])
