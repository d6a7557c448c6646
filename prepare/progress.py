"""The progress of a run: a bar on a terminal, else a plain line every few seconds."""

import sys
import time

from tqdm import tqdm

EVERY_S = 5.0


class Progress:
    """Counts images, or another `unit`; a context manager."""

    def __init__(self, what: str, total: int, unit: str = "images") -> None:
        self._what = what
        self._unit = unit
        self._total = total
        self._done = 0
        self._started = self._told = time.monotonic()
        self._bar = tqdm(
            total=total, desc=what, unit=f" {unit}", disable=not sys.stderr.isatty(), smoothing=0.1
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def add(self, count: int) -> None:
        """Count `count` more as done."""
        self._done += count
        self._bar.update(count)
        now = time.monotonic()
        if self._bar.disable and (now - self._told > EVERY_S or self._done == self._total):
            self._told = now
            rate = self._done / max(1e-9, now - self._started)
            left_s = (self._total - self._done) / max(1e-9, rate)
            left = f"{int(left_s) // 60}:{int(left_s) % 60:02} left"
            counted = f"{self._done} of {self._total} {self._unit}, {rate:.1f} {self._unit}/s"
            print(f"{self._what}: {counted}, {left}", file=sys.stderr, flush=True)
