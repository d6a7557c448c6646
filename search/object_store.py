"""An object storage: files under keys, and a small object that changes by compare-and-swap."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from common.errors import ConfigError, MissingPackage
from common.files import LOCK, sha256_of, sync
from search.manifest import BadIndex
from search.segment_files import File

try:
    import obstore
    from obstore import exceptions
    from obstore.store import LocalStore, S3Store
except ImportError:
    raise MissingPackage("Prepare.index-url needs: pip install -r requirements-s3.txt") from None

PART = ".part"
"""Ends the name of a file that is not whole yet."""
BLOCK_BYTES = 8 * 2**20
"""What a fetch hands over at a time, and the part of an upload: S3 takes none under 5 MiB."""
UPLOADS = 4
"""Parts under way at a time. At 1.1 MB a second all are through within READ_S."""
CONNECT_S, READ_S, RETRY_S, REQUEST_H = 3, 30, 10, 24
"""For a connection, for the next bytes, for all tries, and for a file."""
LOCAL = "file://"


class StoreError(ConfigError):
    """The storage did not do what it was asked to; the message says where and why."""


class NoObject(StoreError):
    """There is no object with this key."""


class ObjectChanged(StoreError):
    """The object is not what it was when it was read: another writer was first."""


class Content(NamedTuple):
    """The bytes of an object, and its ETag, which changes with them."""

    data: bytes
    e_tag: str | None


class Listed(NamedTuple):
    """What a listing tells of an object; `modified` is by the clock of the storage."""

    size_bytes: int
    modified: datetime


class ObjectStore:
    """The objects under a URL. It may be used from any thread; all errors are a StoreError."""

    def __init__(self, url: str) -> None:
        """`url`: s3://bucket/prefix, or file:///folder; raises ConfigError."""
        self.url = url.rstrip("/")
        self._lock: FileLock | None = None
        self._store: LocalStore | S3Store
        try:
            if url.startswith(LOCAL):
                folder = Path(url.removeprefix(LOCAL))
                self._store = LocalStore(folder, mkdir=True)
                self._lock = FileLock(folder / LOCK, timeout=RETRY_S)
            else:
                self._store = S3Store.from_url(
                    self.url,
                    client_options={
                        "allow_http": True,  # for an endpoint that says http://
                        "connect_timeout": timedelta(seconds=CONNECT_S),
                        "read_timeout": timedelta(seconds=READ_S),
                        "timeout": timedelta(hours=REQUEST_H),
                    },
                    retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=RETRY_S)},
                )
        except (exceptions.BaseError, OSError, ValueError) as error:
            raise ConfigError(f"config: Prepare.index-url {url}: {_reason(error)}") from None

    def read(self, key: str, known: Content | None = None) -> Content:
        """An object; `known` itself, without a transfer, if that has not changed."""
        with self._errors(key):
            try:
                found = obstore.get(
                    self._store, key, options={"if_none_match": known.e_tag} if known else None
                )
                e_tag = found.meta["e_tag"]  # to be read before the bytes
                return Content(bytes(found.bytes()), e_tag)
            except exceptions.NotModifiedError:
                if known is None:
                    raise
                return known

    def write(self, key: str, content: bytes | Path) -> None:
        """Write an object, from memory or from a file; it is whole or absent."""
        with self._errors(key):
            obstore.put(
                *(self._store, key, content), chunk_size=BLOCK_BYTES, max_concurrency=UPLOADS
            )

    def replace(self, key: str, data: bytes, known: Content | None) -> Content:
        """Write an object if it is still `known`, or absent for None; raises ObjectChanged."""
        try:
            with self._errors(key):
                if self._lock:
                    return self._replace_file(key, data, known, self._lock)
                put = obstore.put(
                    *(self._store, key, data), mode={"e_tag": known.e_tag} if known else "create"
                )
                return Content(data, put["e_tag"])
        except ObjectChanged:
            found = self.read(key)
            if found.data != data:
                raise
            return found  # it was written, the reply was lost, and the client tried again

    def _replace_file(
        self, key: str, data: bytes, known: Content | None, lock: FileLock
    ) -> Content:
        """The same in a folder, where obstore cannot; `lock` holds on one machine alone."""
        with lock:
            try:
                found = self.read(key)
            except NoObject:
                found = None
            if found != known:
                raise exceptions.PreconditionError
            return Content(data, obstore.put(self._store, key, data)["e_tag"])

    def names(self, prefix: str) -> dict[str, Listed]:
        """The objects whose keys are "prefix/NAME", by name."""
        with self._errors(prefix):
            return {
                found["path"].rpartition("/")[2]: Listed(found["size"], found["last_modified"])
                for batch in obstore.list(self._store, prefix)
                for found in batch
            }

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects."""
        if keys:
            with self._errors(keys[0]):
                obstore.delete(self._store, keys)

    def fetch(
        self, key: str, file: File, folder: Path, is_stopped: Callable[[], bool] = bool
    ) -> None:
        """Fetch a file into a folder, whole; goes on from what an earlier call has left.

        Raises BadIndex if the object is absent, or twice not what `file` says.
        """
        part = folder / (file.name + PART)
        for _ in range(2):
            try:
                self._append(key, part, file.size_bytes, is_stopped)
            except NoObject as error:
                raise BadIndex(str(error)) from None
            if sha256_of(part) == file.sha256:
                sync(part)
                part.replace(folder / file.name)
                sync(folder)
                return
            part.unlink()
        raise BadIndex(f"{self.url}/{key}: {file.name} is not what was written")

    def _append(self, key: str, part: Path, size: int, is_stopped: Callable[[], bool]) -> None:
        """Fetch what `part` has not; if a connection breaks, obstore asks for the rest."""
        with part.open("ab") as out:
            if out.tell() >= size:
                return
            with self._errors(key):
                found = obstore.get(self._store, key, options={"range": {"offset": out.tell()}})
                for block in found.stream(BLOCK_BYTES):
                    if is_stopped():
                        raise StoreError(f"{self.url}/{key}: stopped")
                    out.write(block)

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Turn the errors of the storage's client into ours."""
        where = f"{self.url}/{key}"
        try:
            yield
        except (exceptions.PreconditionError, exceptions.AlreadyExistsError):
            raise ObjectChanged(f"{where}: another writer was first") from None
        except (exceptions.BaseError, OSError, ValueError) as error:
            if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
                raise NoObject(f"{where}: there is no such object") from None
            raise StoreError(f"{where}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """What obstore says on its first line, and the code of S3; the rest is for its developers."""
    first = str(error).partition("\n")[0].partition(": <?xml")[0]
    code = re.search(r"<Code>(\w+)</Code>", str(error))
    return f"{first}: {code[1]}" if code else first
