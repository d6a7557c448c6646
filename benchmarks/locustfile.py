"""A user of locust that sends the request of benchmarks/client.py over and over."""

import os
from pathlib import Path

from locust import FastHttpUser, task

from benchmarks.client import CONFIG, prepare, read

REQUEST = prepare(read(Path(os.environ[CONFIG])))


class Sender(FastHttpUser):
    """Sends it again once it has the answer."""

    @task
    def send(self) -> None:
        """Send it once."""
        # Its type says str; any body goes.
        self.client.post(REQUEST.path, data=REQUEST.body, headers=REQUEST.headers)  # type: ignore[arg-type]
