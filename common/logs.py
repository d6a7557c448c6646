"""Logs in logfmt: a line of `key=value` for each event, without the users' content."""

import json
import logging
import re
import time
import traceback
from types import FrameType, TracebackType

from common.request_context import CONTEXT

PLAIN = re.compile(r"[^\s\"=\\]+")
REQUESTS = "request"
"""The name of the logger for lines about requests."""
MAX_PER_SECOND = 20
"""Lines about requests. If all requests fail, logging must not take the remaining CPU."""
MAX_FRAMES = 12
LEVELS = {"info": logging.INFO, "debug": logging.DEBUG}

Value = str | int | float


class Lines(logging.Formatter):
    """Formats records in logfmt; a record may bring more keys in its dict `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record; with level debug a traceback follows."""
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
    """Passes a number of lines a second, and drops the others.

    The first line of a later second has the number of dropped lines in `left_out`.
    """

    def __init__(self, per_second: int) -> None:
        super().__init__()
        self._per_second = per_second
        self._second = 0
        self._passed = self._kept = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is within the limit of its second."""
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
    """A value in logfmt, quoted if needed."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if PLAIN.fullmatch(text) else json.dumps(text)


def places(stack: TracebackType | FrameType | None) -> str:
    """The file and line of each frame, innermost last, without values: users may have sent them."""
    if isinstance(stack, TracebackType):
        frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(stack)]
    else:
        walked = traceback.walk_stack(stack) if stack else ()
        frames = [(frame.f_code.co_filename, line) for frame, line in walked][::-1]
    named = ("/".join(name.split("/")[-2:]) + f":{line}" for name, line in frames[-MAX_FRAMES:])
    return " ".join(named)


def set_up() -> None:
    """Log to standard error, also for all libraries."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # waitress warns of each request that waits for a thread; ours wait for a batch on purpose
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)


def set_level(level: str) -> None:
    """Log notable events ("info"), or all events of our code ("debug")."""
    logging.getLogger().setLevel(LEVELS[level])
    if level == "info":
        logging.getLogger(REQUESTS).addFilter(Sparing(MAX_PER_SECOND))
    for name in ("urllib3", "PIL", "filelock"):  # they log a lot at debug
        logging.getLogger(name).setLevel(logging.INFO)
