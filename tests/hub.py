"""A stand-in for the Hugging Face hub on this machine: one repository, and what clients call."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REVISION = "a857c8de2c07bbcfa6646adfcf31b798845afa1e"


@dataclass
class Hub:
    """What it serves, and what it was asked for."""

    address: str
    repository: str
    folder: Path
    break_after: dict[str, int] = field(default_factory=dict)
    """How many bytes of a file are sent before the connection is cut, once."""
    revision: str = REVISION
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


@contextmanager
def serving_hub(repository: str, folder: Path) -> Iterator[Hub]:
    """Serve the files of `folder` as `repository` until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    hub = Hub(f"http://127.0.0.1:{server.server_port}", repository, folder)
    server.hub = hub  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        path = self.path.partition("?")[0]
        hub.requests.append(path)
        if path.startswith(f"/api/models/{hub.repository}"):
            self._api(hub, path)
        elif path.startswith(f"/{hub.repository}/resolve/{hub.revision}/"):
            self._file(hub, path.split(f"{hub.revision}/", 1)[1])
        else:
            self._reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _api(self, hub: Hub, path: str) -> None:
        names = [p for p in sorted(hub.folder.rglob("*")) if p.is_file()]
        files = [str(p.relative_to(hub.folder)) for p in names]
        if "/tree/" in path:
            answer: object = [
                {
                    "type": "file",
                    "path": name,
                    "size": (hub.folder / name).stat().st_size,
                    "oid": "0",
                }
                for name in files
            ]
        else:
            siblings = [{"rfilename": name} for name in files]
            answer = {"id": hub.repository, "sha": hub.revision, "siblings": siblings}
        self._reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _file(self, hub: Hub, name: str) -> None:
        data = (hub.folder / name).read_bytes()
        headers = {"X-Repo-Commit": hub.revision, "Accept-Ranges": "bytes"}
        headers["ETag"] = f'"{hashlib.sha256(data).hexdigest()}"'
        wanted = self.headers.get("Range", "")
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        if self.command == "GET":
            hub.files.append(name)
        if wanted:
            hub.ranges.append(wanted)
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        cut = hub.break_after.pop(Path(name).name, None) if self.command == "GET" else None
        self._reply(206 if wanted else 200, data[start:], headers, cut)

    def _reply(
        self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True
