"""The gateway over TLS, with clip-client on the other side."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.certificates import Authority
from devtools.gateways import RunningGateway, gateway
from devtools.services import Cluster, run_command
from tests.gateway.clients import ENVIRONMENT_OF, run
from tests.gateway.test_service import ENCODE, SHAPE

SCHEMES = {"grpc": "grpcs", "ws": "wss", "http": "https"}


@pytest.fixture(scope="module")
def encrypted(
    services: Cluster, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningGateway, dict[str, str]]]:
    """A gateway with TLS, and the variables by which clients trust its authority."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    certificate = authority.issue("gateway")
    with gateway(services.config, root, tls_cert=str(certificate)) as served:
        names = ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "SSL_CERT_FILE")
        yield served, dict.fromkeys(names, str(authority.file))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tls(encrypted: tuple[RunningGateway, dict[str, str]], scheme: str) -> None:
    """One certificate serves all three; a client that does not trust it gets nothing."""
    served, variables = encrypted
    url = served.url(SCHEMES[scheme])

    (line,) = run(ENVIRONMENT_OF[scheme], ENCODE, url, variables=variables)[-1:]
    assert line.startswith(SHAPE), line
    (line,) = run(ENVIRONMENT_OF[scheme], ENCODE, url)[-1:]
    assert line.startswith("FAILED"), line


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_key_under_a_password(services: Cluster, root: Path, tmp_path: Path, scheme: str) -> None:
    """The password is in a file; the certificate and the key are in one."""
    authority = Authority(tmp_path)
    files = authority.encrypted("locked", "s\u00e9 cret")
    both = tmp_path / "both.pem"
    both.write_text(Path(files["tls-cert"]).read_text() + Path(files["tls-key"]).read_text())
    (tmp_path / "password").write_text("s\u00e9 cret\n", "utf-8")
    keys = {"tls_cert": str(both), "tls_key_password_file": str(tmp_path / "password")}
    with gateway(services.config, root, protocols=[scheme], **keys) as served:
        names = ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "SSL_CERT_FILE")
        trust = dict.fromkeys(names, str(authority.file))
        url = served.url(SCHEMES[scheme])
        assert run(ENVIRONMENT_OF[scheme], ENCODE, url, variables=trust)[-1].startswith(SHAPE)


def test_a_key_that_grpc_cannot_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package that decrypts it, the start says so."""
    files = Authority(tmp_path).encrypted("locked", "secret")
    (tmp_path / "password").write_text("secret")
    (tmp_path / "cryptography.py").write_text("raise ModuleNotFoundError('hidden by this test')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    section = {"port": 0, "http-port": 0, "tls-key-password-file": "password", **files}
    done = run_command("gateway/gateway.py", {"Gateway": section}, cwd=tmp_path)

    assert 2 == done.returncode
    assert "which has a password: pip install cryptography" in done.stderr
