"""Logs: one line for each thing that happened, `key=value`, without what users sent."""

import json
import logging
import re
import time
import traceback
from types import FrameType, TracebackType

from common.request_context import CONTEXT

PLAIN = re.compile(r"[^\s\"=\\]+")
REQUESTS = "request"
"""The logger of the lines about requests."""
MAX_PER_SECOND = 20
"""Lines about requests: when everything fails, telling so must not cost what is left."""
MAX_FRAMES = 12
LEVELS = {"info": logging.INFO, "debug": logging.DEBUG}

Value = str | int | float


class Lines(logging.Formatter):
    """Formats records in logfmt; a `fields` of theirs is a dict of more keys."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever is in the record."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, Value] = {
            "time": f"{moment}.{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if "request_id" not in fields and (ids := CONTEXT.get().request_ids):
            fields["request_id"] = ids
        if record.exc_info and record.exc_info[0]:
            fields["error"] = record.exc_info[0].__name__
            fields["stack"] = places(record.exc_info[2])
        line = " ".join(f"{name}={quoted(value)}" for name, value in fields.items())
        if record.exc_info and logging.getLogger().isEnabledFor(logging.DEBUG):
            line += "\n" + self.formatException(record.exc_info)
        return line


class Sparing(logging.Filter):
    """Lets so many lines a second through; the first of the next second says how many it kept."""

    def __init__(self, per_second: int) -> None:
        super().__init__()
        self._per_second = per_second
        self._second = 0
        self._passed = self._kept = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is among the first of its second."""
        second = int(time.monotonic())
        if second != self._second:
            if self._kept:
                record.__dict__.setdefault("fields", {})["left_out"] = self._kept
            self._second, self._passed, self._kept = second, 0, 0
        self._passed += 1
        is_let_through = self._passed <= self._per_second
        self._kept += not is_let_through
        return is_let_through


def quoted(value: Value) -> str:
    """A value as logfmt has it."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if PLAIN.fullmatch(text) else json.dumps(text)


def places(stack: TracebackType | FrameType | None) -> str:
    """The file and line of each frame, the innermost last; no values, which users may have sent."""
    if isinstance(stack, TracebackType):
        frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(stack)]
    else:
        walked = traceback.walk_stack(stack) if stack else ()
        frames = [(frame.f_code.co_filename, line) for frame, line in walked][::-1]
    named = ("/".join(name.split("/")[-2:]) + f":{line}" for name, line in frames[-MAX_FRAMES:])
    return " ".join(named)


def set_up() -> None:
    """Log to standard error, from all libraries too."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # waitress counts every request that waits for a thread; ours are meant to wait for a batch
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)


def set_level(level: str) -> None:
    """Say what happens of note ("info"), or everything of ours ("debug")."""
    logging.getLogger().setLevel(LEVELS[level])
    if level == "info":
        logging.getLogger(REQUESTS).addFilter(Sparing(MAX_PER_SECOND))
    for name in ("urllib3", "PIL", "filelock"):  # which say a lot about their own work
        logging.getLogger(name).setLevel(logging.INFO)
