"""Certificates for tests: a certificate authority of their own, and what it signs."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
import urllib3
from cryptography.hazmat.primitives import serialization

HERE = ("127.0.0.1", "localhost")


class Authority:
    """A certificate authority in a folder, for the services of one test."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._ca = trustme.CA()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str, *hosts: str, expired: bool = False) -> Path:
        """Write a file with a certificate for some hosts and its key; returns the path."""
        not_after = datetime.now(UTC) + timedelta(days=-1 if expired else 1)
        not_before = not_after - timedelta(days=2)
        issued = self._ca.issue_cert(*(hosts or HERE), not_before=not_before, not_after=not_after)
        path = self._folder / f"{name}.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(str(path))
        return path

    def encrypted(self, name: str, password: str) -> dict[str, str]:
        """Write a certificate, and its key under a password; returns the keys of a section."""
        issued = self._ca.issue_cert(*HERE)
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password.encode()),
        )
        cert, private = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        cert.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        private.write_bytes(pem)
        return {"tls-cert": str(cert), "tls-key": str(private)}

    def inside(self, certificate: Path, **keys: Any) -> dict[str, Any]:
        """A config section Inside that demands certificates of this authority."""
        return {"tls-cert": str(certificate), "tls-ca": str(self.file), **keys}

    def client(self, certificate: Path | None = None) -> urllib3.PoolManager:
        """An HTTP client that trusts this authority, with a certificate or without."""
        context = ssl.create_default_context(cafile=str(self.file))
        if certificate:
            context.load_cert_chain(certificate)
        return urllib3.PoolManager(retries=False, timeout=10, ssl_context=context)
