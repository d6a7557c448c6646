import pytest

from inference import client
from tests.unit.inference.embedding_server import Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """What the client reaches instead of a socket."""
    one = Server()
    monkeypatch.setattr(client, "HttpClient", lambda _inside: one.http.client)
    return one
