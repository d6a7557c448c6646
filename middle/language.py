"""The language of a normal text: English or not, since clip reads only English."""

import re
from functools import lru_cache

from simplemma import is_known

WORD = re.compile(r"[^\W\d_]+")
ENGLISH_SHARE = 0.8
"""A text is English if more than this share of its words is: of six words, one may be a name.

With a share of 1, another 1 to 2 % of English captions went to mclip, and no language gained."""


@lru_cache(maxsize=4096)
def is_english(text: str) -> bool:
    """Whether nearly all words of a text are in an English dictionary; False without words.

    A query of one to eight words is too short for statistics of letters. The dictionary is
    simplemma's, of 180,000 word forms (A. Barbaresi, https://github.com/adbar/simplemma). The
    first call in a process loads the dictionary, which takes 0.2 s.
    """
    words = WORD.findall(text.lower())
    return sum(is_known(word, "en") for word in words) > ENGLISH_SHARE * len(words)


def has_words(text: str) -> bool:
    """Whether a text has a word of any language, which emoji, digits and signs are not."""
    return bool(WORD.search(text))
