"""What is said of all that is not looked at (cases of kind B)."""

from prepare.left_out import ENDINGS_SHOWN, LeftOut, listing, summary


def test_one_line_counts_by_kind() -> None:
    """Kind B: endings by how many there are, then the other kinds, in the singular or plural."""
    left_out = [
        *[LeftOut(f"{number}.svg", "ending", ".svg") for number in range(12)],
        LeftOut("film", "ending", ""),
        *[LeftOut(f"{number}.mp4", "ending", ".mp4") for number in range(3)],
        LeftOut("a/@eaDir", "excluded folder", "@eaDir/"),
        LeftOut("b/@eaDir", "excluded folder", "@eaDir/"),
        LeftOut("b/.git", "excluded folder", ".git/"),
        LeftOut("._a.jpg", "excluded file", "._*"),
        LeftOut("x", "link", "/y"),
        LeftOut("y", "link", "/z"),
        LeftOut("locked", "error", "Permission denied"),
    ]

    assert summary(left_out) == (
        "not looked at: 12 .svg, 3 .mp4, 1 without ending, 3 folders excluded (.git/, @eaDir/), "
        "1 file excluded (._*), 2 links that lead out, 1 that cannot be read; "
        "--list-left-out shows them"
    )
    assert "" == summary([])


def test_many_endings_are_one_number() -> None:
    """The line stays a line."""
    left_out = [LeftOut("x", "ending", f".e{n:03}") for n in range(100)] * 2

    told = summary(left_out)

    assert ENDINGS_SHOWN == told.count(" .e")
    assert f"{200 - 2 * ENDINGS_SHOWN} with other endings" in told


def test_each_is_listed_with_its_reason() -> None:
    """In one printable line, whatever its name."""
    left_out = [
        LeftOut("b\n\udcff.svg", "ending", ".svg"),
        LeftOut("a", "ending", ""),
        LeftOut("c", "link", "/else\x1b[1m"),
        LeftOut("d", "excluded file", "._*"),
        LeftOut("e", "broken", "No such file or directory"),
    ]

    assert listing(left_out) == [
        "left out a: no image, no ending",
        r"left out b\n\udcff.svg: no image, ends in .svg",
        r"left out c: the link leads out, to /else\x1b[1m",
        "left out d: excluded by ._*",
        "left out e: No such file or directory",
    ]
