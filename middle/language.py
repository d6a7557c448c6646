"""Whether a text is English, so that clip can read it."""

import re
from functools import lru_cache
from unicodedata import normalize

from simplemma import is_known

WORD = re.compile(r"[^\W\d_]+")
ENGLISH_SHARE = 0.8
"""More than this share of the words is English: of six words one may be a name. With all of them
1 to 2 % more of English captions went to mclip, and no other language gained."""


@lru_cache(maxsize=4096)
def is_english(text: str) -> bool:
    """Whether (nearly) all words of a text stand in an English dictionary; so without words, too.

    A query of one to eight words says too little for the usual counting of letters. The dictionary
    is simplemma's, of 180,000 word forms (A. Barbaresi, https://github.com/adbar/simplemma).
    The first call in a process loads it, which takes 0.2 s.
    """
    words = WORD.findall(normalize("NFKC", text).lower())
    return not words or sum(is_known(word, "en") for word in words) > ENGLISH_SHARE * len(words)
