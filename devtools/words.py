"""Text queries that never repeat: each number gives another combination of words.

`python devtools/words.py COUNT` prints so many as JSON bodies, in the form that unique.lua reads:
before each body a line with its length.
"""

import itertools
import json
import math
import sys
from collections.abc import Iterator

ADJECTIVES = """red blue green golden wooden rusty shiny tiny huge old broken striped frozen quiet
bright dusty painted wet round narrow muddy silver empty crowded gentle wild steep soft hollow
pale"""
NOUNS = """bicycle dog cat horse boat train violin teapot lighthouse bridge castle tractor owl
spider kite helicopter camera clock umbrella guitar elephant penguin mushroom orange bus canoe barn
fountain statue chair lamp mailbox balloon tent piano wolf parrot turtle truck wagon"""
VERBS = """resting standing moving waiting shining hiding floating leaning turning falling sleeping
drifting burning melting spinning parked covered reflected rolling sinking"""
PLACES = """beach forest kitchen harbour desert market garden street mountain river library stadium
field cellar roof tunnel valley station island meadow courtyard workshop swamp glacier village lake
attic museum playground vineyard"""
TIMES = "dawn noon dusk midnight sunset sunrise"

COLUMNS = [words.split() for words in (ADJECTIVES, NOUNS, VERBS, PLACES, TIMES)]
COUNT = math.prod(len(column) for column in COLUMNS)
STRIDE = 2_654_435_761
"""A prime, so that numbers give different queries; large, so that neighbours share few words."""


def query(number: int) -> str:
    """The query of a number from 0 to COUNT - 1; different numbers give different queries."""
    rest = number * STRIDE % COUNT
    words = []
    for column in COLUMNS:
        rest, place = divmod(rest, len(column))
        words.append(column[place])
    return "a {} {} {} near the {} at {}".format(*words)


def all_queries() -> Iterator[str]:
    """Every query once."""
    return map(query, range(COUNT))


def main() -> None:
    """Print bodies for wrk."""
    for text in itertools.islice(all_queries(), int(sys.argv[1])):
        body = json.dumps({"text": text})
        print(len(body), body, sep="\n", end="")


if __name__ == "__main__":
    main()
