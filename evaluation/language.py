"""How often model=auto takes the right text tower; prints a Markdown table.

Asked are queries.txt, written by hand as people type them, mostly without capitals and accents, and
the captions of Debian's tuxpaint-stamps-default (apt-get install tuxpaint-stamps-default).
"""

import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

if __name__ == "__main__" and __spec__ is None:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # was evaluation/

from evaluation.starter_recall import STAMPS, read_stamps
from middle.embed import choose_role

QUERIES = Path(__file__).with_name("queries.txt")
Texts = Mapping[str, Sequence[str]]


def read_queries(path: Path) -> Texts:
    """The queries of each language: parts that begin `[de]`, with ` / ` between queries."""
    parts = re.findall(r"\[(\w+)\]\n([^[]+)", path.read_text(encoding="utf-8"))
    return {language: " ".join(part.split()).split(" / ") for language, part in parts}


def read_stamp_captions(root: Path, languages: Sequence[str]) -> Texts:
    """The different captions of the stamps; what is not translated counts as English only."""
    captions = [stamp.captions for stamp in read_stamps(root)]
    english = {each["en"] for each in captions}
    others = {one: {each.get(one, "") for each in captions} - english for one in languages}
    return {name: sorted(texts - {""}) for name, texts in {**others, "en": english}.items()}


def row(name: str, language: str, texts: Sequence[str]) -> str:
    """A line of the table: the share that goes to the right tower, and the time for each."""
    start = time.perf_counter()
    roles = [choose_role(text, "auto") for text in texts]
    each_us = (time.perf_counter() - start) / len(texts) * 1e6
    right = "clip" if language == "en" else "mclip"
    share = sum(role == right for role in roles) / len(roles)
    return f"| {name} | {language} | {len(texts)} | {right} | {share:.3f} | {each_us:.0f} |"


def main() -> None:
    """Ask all and print."""
    queries = read_queries(QUERIES)
    stamps = read_stamp_captions(STAMPS, list(queries))
    choose_role("a", "auto")  # loads what it needs
    print("| set | language | texts | right tower | share | µs each |")
    print("|---|---|---:|---|---:|---:|")
    for name, texts in (("queries", queries), ("stamps", stamps)):
        others = {text for language in texts if language != "en" for text in texts[language]}
        for language, some in {**texts, "others": sorted(others)}.items():
            if some:
                print(row(name, language, some))


if __name__ == "__main__":
    main()
