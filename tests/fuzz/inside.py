"""Fuzz targets for what comes from our own side, and may be broken: replies and index files."""

import asyncio
import socket
import tempfile
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from flask import Flask
from msgspec.structs import replace

from common.errors import ServiceError
from common.http_client import HttpClient, Request, checked
from common.server.problems import problem_response
from common.wire import decode_reply
from inference.messages import EmbedReply
from search.index import load_segment
from search.manifest import (
    SEGMENTS,
    BadIndex,
    Folders,
    Manifest,
    Recall,
    read_manifest,
)
from search.segment_files import File, SegmentFiles, ShardFiles, describe
from tests.search.shards import VERSION, folders_in, write_vectors

DIM = 4
APP = Flask("fuzz")


class Replying:
    """A server that answers every request with the bytes it was last given, and hangs up."""

    def __init__(self) -> None:
        self.data = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection, suppress(OSError):  # whoever asked may have read enough, and gone
                connection.recv(4096)
                connection.sendall(self.data)


@cache
def _replying() -> Replying:
    return Replying()


def reply(data: bytes) -> None:
    """Ask a server of ours that answers with anything."""
    server = _replying()
    server.data = data
    status = 500
    try:
        decode_reply(asyncio.run(_ask(f"127.0.0.1:{server.port}")), EmbedReply)
    except ServiceError as error:
        with APP.app_context():
            status = problem_response(error).status_code
    assert 400 <= status < 600


async def _ask(address: str) -> bytes:
    http = HttpClient()
    try:
        async with asyncio.timeout(5):
            return (await checked(await http.send(address, Request("POST", "/x")))).body
    finally:
        await http.close()


def replies() -> list[bytes]:
    """What to begin with."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/msgpack\r\n"
    problem = b'{"status":503,"code":"x","detail":"y","title":"z","request_id":"1"}'
    failed = b"HTTP/1.1 503 x\r\nContent-Length: %d\r\n\r\n"
    packed = b"\x84\xa5model\xa1a\xa5space\xa1b\xa3dim\x01\xa4rows\xc4\x04\0\0\0\0"
    return [
        head + b"Content-Length: %d\r\n\r\n" % len(packed) + packed,
        head + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n",
        failed % len(problem) + problem,
        failed % 2 + b"\xff}",
        b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.0 204 No Content\r\n\r\n",
    ]


FILES = ("index", "hashes", "offsets", "records")


def _path(folders: Folders, files: SegmentFiles, name: str) -> Path:
    place = {"index": folders.index, "hashes": folders.hashes}.get(name, folders.paths)
    file: File = getattr(files, name)
    return place / SEGMENTS / file.name


@cache
def _version() -> tuple[Folders, SegmentFiles]:
    """A segment, in memory where there is a place for that."""
    memory = Path("/dev/shm")  # noqa: S108
    folders = folders_in(Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None)))
    return folders, write_vectors(folders, np.eye(DIM, dtype=np.float32), "hnsw")


def index(data: bytes) -> None:
    """Read a manifest, or load a segment of which one file is another than was written.

    The index itself is only refused for its digest: hnswlib trusts what it reads.
    """
    folders, files = _version()
    number = data[0] % (len(FILES) + 1) if data else 0
    try:
        if number == len(FILES):
            (folders.index / VERSION / "MANIFEST").write_bytes(data[1:])
            read_manifest(folders, VERSION)
            return
        name = FILES[number]
        path = _path(folders, files, name)
        kept = path.read_bytes()
        path.write_bytes(data[1:])
        try:
            told = files if name == "index" else replace(files, **{name: describe(path)})
            load_segment(folders, DIM, told, 1_000_000)
        finally:
            path.write_bytes(kept)
    except BadIndex:
        return


def indexes() -> list[bytes]:
    """What to begin with."""
    folders, files = _version()
    recall = Recall(10, 1, 64, 1.0)
    manifest = Manifest(
        *(VERSION, "2026-01-01", "m", "s", 1, DIM, "ip", 16, 200, DIM, "i", recall),
        [ShardFiles([files])],
    )
    written = [_path(folders, files, name).read_bytes() for name in FILES]
    written.append(msgspec.json.encode(manifest))
    return [bytes([number]) + data for number, data in enumerate(written)]
