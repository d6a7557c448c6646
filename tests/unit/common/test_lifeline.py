"""What happens when nobody holds the other end of a pipe any more."""

import os
import threading

import pytest

from common import supervisord
from common.lifeline import at_end_of
from common.process import SUPERVISED, argument_parser


def test_the_end_of_a_pipe_is_noticed() -> None:
    """Once, when its last holder has let go; what is written is no end."""
    mine, theirs = os.pipe()
    also_theirs, ended = os.dup(theirs), threading.Event()
    at_end_of(mine, ended.set)
    os.write(theirs, b"x" * 5000)
    os.close(theirs)
    assert not ended.is_set()
    os.close(also_theirs)
    assert ended.wait(10)
    os.close(mine)


def test_a_service_follows_only_if_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts one by hand may close its input."""
    told: list[int] = []
    monkeypatch.setattr("common.process.end_with_parent", lambda: told.append(1))
    argument_parser("x").parse_args(["--config", "-"])
    assert [] == told
    argument_parser("x").parse_args(["--config", "-", SUPERVISED])
    assert [1] == told


def test_supervisord_follows_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor alone starts it so; its arguments are supervisord's own."""
    done: list[object] = []
    monkeypatch.setattr(supervisord, "end_with_parent", lambda: done.append("follows"))
    monkeypatch.setattr("supervisor.supervisord.main", done.append)
    monkeypatch.setattr("sys.argv", ["supervisord", "-c", "a.conf"])
    supervisord.main()
    assert ["follows", ["-c", "a.conf"]] == done
