"""What the steps of an unmodified clip-client have in common; runs in the client's environment."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from clip_client import Client
from jina.excepts import BadServer

TEXTS = ["a cat", "a red flower", "castle"]
STEPS: list[Callable[["Given"], None]] = []


class Given:
    """The client, and what it should get."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.client = Client(url)
        given = json.loads((folder / "given.json").read_text())
        self.cat: str = given["cat"]
        self.other: str = given["other"]
        self.uri: str = given["uri"]
        self.texts: list[str] = given["texts"]
        self.vectors = {name: np.array(row, "f4") for name, row in given["vectors"].items()}

    def same(self, rows: Any, *names: str) -> None:
        """Assert that rows are the embeddings of texts or images."""
        assert len(rows) == len(names), len(rows)
        for row, name in zip(rows, names, strict=True):
            assert np.allclose(row, self.vectors[name], atol=1e-5), name

    def same_as_encoded(self, rows: Any, paths: list[str]) -> None:
        """Assert that rows are the embeddings that the server makes of image files."""
        assert np.allclose(rows, self.client.encode(paths), atol=1e-5)


def step(function: Callable[[Given], None]) -> Callable[[Given], None]:
    STEPS.append(function)
    return function


def blob(path: str) -> bytes:
    return Path(path).read_bytes()


def fails(call: Callable[[], Any], *words: str, kind: type[Exception] = BadServer) -> None:
    """Assert that a call ends in an error with some words."""
    message = None
    try:
        call()
    except kind as error:
        message = str(error)
    assert message is not None, "no error"
    assert all(word in message for word in words), message
