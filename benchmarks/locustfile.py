"""A user of locust that sends the request of benchmarks/client.py again and again."""

import os
from pathlib import Path

from locust import FastHttpUser, task

from benchmarks.client import CONFIG, prepare, read

PATH, BODY, HEADERS = prepare(read(Path(os.environ[CONFIG])))


class Sender(FastHttpUser):
    """Sends the request again after each answer."""

    @task
    def send(self) -> None:
        """Send the request once."""
        # The annotation allows str only, but the client takes bytes too.
        self.client.post(PATH, data=BODY, headers=HEADERS)  # type: ignore[arg-type]
