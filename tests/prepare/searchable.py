"""What must be searchable after a run, whatever became of the folders before it."""

from collections import Counter
from typing import NamedTuple

from common.errors import ConfigError
from common.files import content_hash
from prepare.chunks import EmbeddingFolder
from prepare.collection import read_collection
from prepare.scan import MANY
from tests.prepare.folders import Folders
from tests.prepare.stub_tower import StubTower


class Found(NamedTuple):
    """What the index would tell of a path."""

    content: str
    vector: bytes
    is_offline: bool


def read(embeddings: EmbeddingFolder) -> dict[str, Found]:
    """What is to be indexed, by path."""
    try:
        collection = read_collection(embeddings)
    except ConfigError:
        return {}
    rows = collection.rows(collection.members(0, 1))
    return {
        record.path: Found(f"{key['content']:016x}", vector.tobytes(), record.offline)
        for record, key, vector in zip(rows.records, rows.keys, rows.vectors, strict=True)
    }


def check(
    before: dict[str, Found],
    now: dict[str, Found],
    folders: Folders,
    held: set[str],
    tower: StubTower,
    *,
    accept_loss: bool,
) -> None:
    """Compare what is to be indexed after a run with what was before it and with the folders."""
    visible = {path: data for root in held for path, data in folders.visible(root).items()}
    for path, data in visible.items():
        assert now[path] == Found(content_hash(data), tower.vector_of(data), False)
    absent = now.keys() - visible.keys()
    for path in absent:
        assert now[path] == before[path]._replace(is_offline=True)
    if accept_loss or not may_keep(before, visible, folders, held):
        assert not absent
    arrived = Counter(content_hash(data) for path, data in visible.items() if path not in before)
    gone = Counter(before[path].content for path in before.keys() - visible.keys())
    for content, count in Counter(now[path].content for path in absent).items():
        assert count <= max(0, gone[content] - arrived[content]), "moved, and offline too"
    kept = {found.content for found in now.values()}
    for root in held if not accept_loss else ():
        for path, data in folders.there(root).items():
            if path in before and before[path].content == content_hash(data):
                assert content_hash(data) in kept, f"{path} is lost"


def may_keep(
    before: dict[str, Found], visible: dict[str, bytes], folders: Folders, held: set[str]
) -> bool:
    """Whether there is any reason to keep what is absent."""
    lost = [path for path in before.keys() - visible.keys() if path.split("/")[0] in held]
    is_empty = any(not folders.visible(root) for root in held)
    return is_empty or not held.isdisjoint(folders.unread) or len(lost) >= MANY
