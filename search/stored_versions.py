"""Index versions in an object storage: the keys of their files, and their manifests.

A file has the digest of its bytes as its name. So it is written once, never changes, and is shared
by all versions that have it. CURRENT and the manifests are the same bytes as on a disk.
"""

from search.manifest import BadIndex, Manifest, VersionRef, decoded
from search.object_store import NoObject, ObjectStore

MANIFESTS, FILES = "manifests", "files"
"""What the keys of manifests and of all other files begin with."""


def manifest_name(named: VersionRef) -> str:
    """The name of a manifest under MANIFESTS."""
    return f"{named.version}-{named.sha256}"


def read_stored(store: ObjectStore, named: VersionRef) -> tuple[Manifest, bytes]:
    """The manifest of a version, and its bytes; raises StoreError, BadIndex."""
    key = f"{MANIFESTS}/{manifest_name(named)}"
    try:
        data = store.read(key).data
    except NoObject as error:
        raise BadIndex(str(error)) from None
    manifest = decoded(data, Manifest, f"{key} in the object storage")
    if manifest.named != named:
        raise BadIndex(f"{key} is of another version")
    return manifest, data
