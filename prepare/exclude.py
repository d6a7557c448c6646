"""Prepare.exclude: the patterns of what is left out, in the syntax of .gitignore."""

from collections.abc import Sequence

from pathspec import GitIgnoreSpec

from common.errors import ConfigError


class Exclude:
    """Patterns, matched with paths relative to a root; the last that matches counts."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Raises ConfigError for a pattern that git would not know, or would skip."""
        for pattern in patterns:
            _check(pattern)
        self._patterns = patterns
        self._spec = GitIgnoreSpec.from_lines(patterns, backend="simple")

    def pattern_of(self, inside: str, *, is_folder: bool) -> str | None:
        """The pattern that excludes a path; None if none does. Folders above it do not count."""
        inside = inside.replace("\n", "\r")  # pathspec's regular expressions stop at a line's end
        found = self._spec.check_file(f"{inside}/" if is_folder else inside)
        return self._patterns[found.index] if found.include and found.index is not None else None

    def leaves_out(self, inside: str, *, is_folder: bool) -> str | None:
        """The pattern that keeps a walk from a path: it excludes the path or a folder above it."""
        parts = inside.split("/")
        above = ("/".join(parts[:count]) for count in range(1, len(parts)))
        patterns = (self.pattern_of(path, is_folder=True) for path in above)
        return next(filter(None, patterns), None) or self.pattern_of(inside, is_folder=is_folder)


def _check(pattern: str) -> None:
    try:
        compiled = GitIgnoreSpec.from_lines([pattern], backend="simple").patterns
    except ValueError as error:
        raise ConfigError(f"config: Prepare.exclude: {error}") from None
    if all(rule.include is None for rule in compiled):
        raise ConfigError(
            f"config: Prepare.exclude: {pattern!r} matches nothing;"
            r" a name that begins with # is written \#name, in JSON \\#name"
        )
