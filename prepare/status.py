"""What the collection was told to hold, and how much of it can be searched."""

from collections import Counter

from common.config import Loaded
from common.roots import read_roots
from prepare.chunks import EmbeddingFolder
from prepare.fold import UPLOADS
from prepare.left_out import printable
from prepare.members import read_folded, read_members
from prepare.versions import current_of
from search.manifest import BadIndex, folders_of, manifest_of


def list_roots(loaded: Loaded) -> None:
    """Print the roots of the collection, a line for each."""
    roots = read_roots(loaded.path(loaded.config.prepare.embedding_dir))
    for name in roots.names if roots else []:
        print(printable(name))


def print_status(loaded: Loaded) -> None:
    """Print the counts of each root after the last run, and the version in use."""
    prepare = loaded.config.prepare
    folder = EmbeddingFolder(loaded.path(prepare.embedding_dir))
    roots = read_roots(folder.path)
    names = roots.names if roots else []
    counts: Counter[tuple[str, str]] = Counter()
    for member in read_members(folder):
        state = "skipped" if not member.is_searchable else "searchable"
        counts.update((root, "offline" if member.offline else state) for root in member.roots)
    if any(root == UPLOADS for root, _ in counts):
        names = [*names, UPLOADS]
    width = max([len("root"), *(len(printable(name)) for name in names)])
    print(f"{'root':{width}}  searchable  offline  skipped")
    for name in names:
        shown = [counts[name, state] for state in ("searchable", "offline", "skipped")]
        print(f"{printable(name):{width}}  {shown[0]:10}  {shown[1]:7}  {shown[2]:7}")
    if removed := read_folded(folder).removed:
        print(f"deleted live: {len(removed)}")
    print(f"version in use: {_version(loaded)}")


def _version(loaded: Loaded) -> str:
    """The name of the version in use, and how many images it holds."""
    prepare = loaded.config.prepare
    folders = folders_of(loaded.root, prepare.index_dir, prepare.path_dir, prepare.hash_dir)
    current = current_of(folders)
    if current is None:
        return "none"
    try:
        return f"{current.now.version}, {manifest_of(folders, current.now).count} images"
    except BadIndex as error:
        return f"{current.now.version}, which cannot be read: {error}"
