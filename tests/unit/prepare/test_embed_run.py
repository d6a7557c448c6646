"""What the operator is told of a run, and its exit status."""

import pytest

from prepare.chunks import Skipped
from prepare.embed_run import EmbedRun, check, report

RUN = EmbedRun(5, 3, 2, [], {}, [], [], [])


def test_a_run_is_told_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """The first twenty that were skipped, what came and went, and the counts."""
    skipped = [Skipped(f"{n}\n.png", 1, 0, "broken") for n in range(22)]
    outcome = RUN._replace(skipped=skipped, added=["a"], removed=["\x1b"], offline={"why": 4})
    report(outcome, list_left_out=False)

    told = capsys.readouterr().out.splitlines()
    assert told[0] == "skipped 0\\n.png: broken"
    assert told[20:] == [
        "skipped 2 more: --list-left-out shows them",
        "added to the collection: a",
        "removed from the collection: \\x1b",
        "5 images, 3 looked at in this run, 22 skipped, 2 embedded, 4 offline",
    ]


@pytest.mark.parametrize(
    ("skipped", "offline", "max_bad", "status"),
    [(2, {}, None, 0), (2, {}, 2, 0), (2, {}, 1, 1), (2, {"why": 4, "and": 1}, 1, 3)],
)
def test_the_exit_status(
    skipped: int,
    offline: dict[str, int],
    max_bad: int | None,
    status: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """H: with offline images 3, and one line that says how many, why and what to do."""
    outcome = RUN._replace(skipped=[Skipped("x", 1, 0, "broken")] * skipped, offline=offline)
    try:
        check(outcome, max_bad)
        ended = 0
    except SystemExit as end:
        ended = int(str(end.code))

    assert ended == status
    if offline:
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("5 images are offline: why (4), and (1). ")
        assert line.endswith("prepare.py --accept-loss")
