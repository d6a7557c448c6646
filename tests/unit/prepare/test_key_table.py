"""Tables of keys: what a dict would tell."""

import numpy as np

from prepare.key_table import KeySet, KeyTable, PathSet


def test_a_table_tells_what_a_dict_would() -> None:
    """Also between additions, and of the largest key; the last row of a key counts."""
    chance = np.random.default_rng(0)
    table, known = KeyTable(np.int64), dict[int, int]()
    assert table.find(0) is None
    for _ in range(20):
        keys = chance.integers(0, 2**64, 30, np.uint64) // 2**58 + np.uint64(2**64 - 64)
        rows = chance.integers(0, 1000, 30)
        table.add(keys, rows)
        known |= dict(zip(keys.tolist(), rows.tolist(), strict=True))
        for key in (0, *range(2**64 - 64, 2**64)):
            assert table.find(key) == known.get(key)
    assert table.keys.tolist() == sorted(known)


def test_sets() -> None:
    """Of keys, and of paths."""
    keys = KeySet([2**64 - 1, 5, 5])
    assert [key in keys for key in (0, 5, 6, 2**64 - 1)] == [False, True, False, True]
    assert 0 not in KeySet([])
    paths = PathSet(["a.jpg", "b.jpg"])
    assert ["b.jpg" in paths, "c.jpg" in paths] == [True, False]
