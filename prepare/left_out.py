"""What prepare does not look at: why, in one line for all of it, or each by itself."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

ENDINGS_SHOWN = 12
"""The most frequent endings, which the line names; the others are one number."""
LIST_OPTION = "--list-left-out"

Kind = Literal["ending", "excluded folder", "excluded file", "link", "broken", "special", "error"]

_WORDS: dict[Kind, tuple[str, str]] = {
    "excluded folder": ("folder excluded", "folders excluded"),
    "excluded file": ("file excluded", "files excluded"),
    "link": ("link that leads out", "links that lead out"),
    "broken": ("broken link", "broken links"),
    "special": ("special file", "special files"),
    "error": ("that cannot be read", "that cannot be read"),
}
"""The name of a kind, for one and for several."""


class LeftOut(NamedTuple):
    """A file, folder or link that is not looked at."""

    path: str
    kind: Kind
    detail: str
    """The ending ("" for none), the pattern, the target of the link, or the error."""

    @property
    def reason(self) -> str:
        """Why, in a few words."""
        match self.kind:
            case "ending":
                return f"no image, ends in {self.detail}" if self.detail else "no image, no ending"
            case "excluded folder" | "excluded file":
                return f"excluded by {self.detail}"
            case "link":
                return f"the link leads out, to {self.detail}"
        return self.detail


def summary(left_out: Sequence[LeftOut]) -> str:
    """One line that counts by kind; "" if nothing was left out."""
    if not left_out:
        return ""
    endings = Counter(left.detail or "without ending" for left in left_out if left.kind == "ending")
    shown = endings.most_common(ENDINGS_SHOWN)
    counts = [f"{count} {ending}" for ending, count in shown]
    if rest := endings.total() - sum(count for _, count in shown):
        counts.append(f"{rest} with other endings")
    for kind, words in _WORDS.items():
        details = Counter(left.detail for left in left_out if left.kind == kind)
        if count := details.total():
            patterns = f" ({', '.join(sorted(details))})" if kind.startswith("excluded") else ""
            counts.append(f"{count} {words[count > 1]}{patterns}")
    return printable(f"not looked at: {', '.join(counts)}; {LIST_OPTION} shows them")


def listing(left_out: Iterable[LeftOut]) -> list[str]:
    """A line for each, by path."""
    return [printable(f"left out {left.path}: {left.reason}") for left in sorted(left_out)]


def printable(text: str) -> str:
    """A text in one line that any terminal shows: names of files may hold any character."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
