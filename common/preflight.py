"""Checks of the machine before make installs, embeds or starts anything: see `--help`.

An old Python must run this file to tell that it is too old. The file therefore has only the syntax
and the standard library of Python 3.8.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

LINUX_PACKAGES = {
    "debian": "apt-get install build-essential python{0}-dev python{0}-venv",
    "fedora": "dnf install gcc-c++ python{0}-devel",
}
"""By a word of ID or ID_LIKE in /etc/os-release: Ubuntu has debian, Red Hat has fedora."""
OS_RELEASE = Path("/etc/os-release")
LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp."""
COMMAND_SHOWN = 120
"""Characters of a command that are shown."""
WHOSE_PORT = "lsof -i :{}" if sys.platform == "darwin" else "ss -ltnp 'sport = :{}'"


def python_failures(pythons: "list[str]", folder: Path, goal: str) -> "list[str]":
    """The failure if this Python is not one of `pythons`; `folder` is the environment's."""
    mine = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if mine in pythons:
        return []
    there = [version for version in reversed(pythons) if shutil.which(f"python{version}")]
    is_environment = folder.resolve() == Path(sys.prefix).resolve()
    removal = f"rm -r {folder} && " if is_environment else ""
    return [
        f"{sys.executable} is Python {mine}; clip-search needs one of {', '.join(pythons)}. "
        f"{'Run' if there else 'Install one, then run'}: "
        f"{removal}make PYTHON=python{(there or pythons[-1:])[0]} {goal}"
    ]


def package_failures(release: Path = OS_RELEASE) -> "list[str]":
    """The failure if hnswlib cannot be compiled, or no environment can be made."""
    compiler = (os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "c++").split()[0]
    headers = Path(sysconfig.get_paths()["include"], "Python.h")
    missing = []
    if not _has_compiler(compiler):
        missing.append(f"a C++ compiler ({compiler})")
    if not headers.exists():
        missing.append(f"Python's headers ({headers})")
    if not find_spec("ensurepip"):
        missing.append("Python's ensurepip")
    if not missing:
        return []
    return [
        f"hnswlib is compiled here, and this is missing: {', '.join(missing)}. {_cure(release)}"
    ]


def rust_failures(machine: str) -> "list[str]":
    """The failure if cykooz-resizer has no wheel for `machine` and cannot be compiled either."""
    if sys.platform == "darwin" or machine == "x86_64" or shutil.which("cargo"):
        return []
    return [
        f"cykooz-resizer is compiled here, as it has no wheel for {machine}, and Rust (cargo) is"
        " missing. Install Rust 1.87 or newer: https://rustup.rs"
    ]


def disk_failures(
    folder: Path, disk_mb: int, download_mb: int, variable: str = "VENV"
) -> "list[str]":
    """A failure for each disk without room for the environment in `folder`, or for pip's downloads.

    `variable` is the name of the Makefile's variable for the folder.
    """
    temporary = Path(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 # nosec B108
    needs = [(variable, _existing(folder), disk_mb), ("TMPDIR", _existing(temporary), download_mb)]
    if needs[0][1].stat().st_dev == needs[1][1].stat().st_dev:
        needs = [(variable, needs[0][1], disk_mb + download_mb)]
    failures = []
    for name, place, needed_mb in needs:
        free_mb = shutil.disk_usage(str(place)).free // 10**6
        if free_mb < needed_mb:
            failures.append(
                f"{place} has {free_mb} MB free, and installing takes {needed_mb} MB. "
                f"Make room there, or add {name}=FOLDER to the command, on another disk."
            )
    return failures


def port_failures(addresses: "list[tuple[str, tuple[str, int]]]") -> "list[str]":
    """A failure for each address that is in use or configured twice; names the address's key."""
    seen: dict[tuple[str, int], str] = {}
    failures = []
    for key, (host, port) in addresses:
        if (host, port) in seen:
            failures.append(f"config: {key} and {seen[host, port]} are the same address")
            continue
        seen[host, port] = key
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            socket.create_server((host, port), family=family).close()
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            who = who_listens(port) or f"Stop what listens there ({WHOSE_PORT.format(port)})"
            failures.append(
                f"{host}:{port} cannot be used ({reason}). {who}, or change {key} in config.json."
            )
    return failures


def who_listens(port: int) -> str:
    """Which process listens on a TCP port, and how to stop it; "" where the system does not tell.

    Only Linux does, and only of one's own processes unless one is root.
    """
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        lines = table.read_text().splitlines()[1:] if table.exists() else []
        for fields in map(str.split, lines):
            if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return ""
    for process in sorted(int(path.name) for path in Path("/proc").glob("[0-9]*")):
        with suppress(OSError):  # it has ended
            if inodes & set(_open_files(process)):
                words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
                command = b" ".join(words).decode(errors="replace").strip()[:COMMAND_SHOWN]
                return f"Process {process} listens there ({command}): kill {process} stops it"
    return ""


def _open_files(process: int) -> "Iterator[str]":
    """What the descriptors of a process stand for; nothing for another user's."""
    with suppress(OSError):  # another user's, or it has ended
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed since: the others still count
                yield os.readlink(str(descriptor))  # noqa: PTH115 - Path has it since 3.9


def written_addresses(config: object) -> "list[tuple[str, tuple[str, int]]]":
    """The addresses that are written in the JSON of a configuration, each with its key.

    common/config.py adds the defaults and checks the rest.
    """
    found = []
    for name in ("Front", "Middle", "Inference", "Search", "Gateway"):
        section = config.get(name) if isinstance(config, dict) else None
        if not isinstance(section, dict) or section.get("key-file"):
            continue
        keys = ("port", "http-port") if name == "Gateway" else ("port",)
        host = section.get("address", "")
        entries = [(f"{name}.{key}", f"{host}:{section.get(key, '')}") for key in keys]
        if section.get("listen"):
            entries = [(f"{name}.listen", str(section["listen"]))]
        elif section.get("server-list"):
            listed = _flat(section["server-list"])
            entries = [(f"{name}.server-list {address}", address) for address in listed]
        for key, address in entries:
            host, _, port = address.rpartition(":")
            if host and port.isdigit() and not host.startswith("dns:"):
                found.append((key, (host.strip("[]"), int(port))))
    return found


def _flat(entries: "list[object]") -> "list[str]":
    """The addresses in a list of addresses and of lists of addresses."""
    flat: list[object] = []
    for entry in entries:
        flat += entry if isinstance(entry, list) else [entry]
    return [str(address) for address in flat]


def _config_failures(name: str) -> "list[str]":
    try:
        return port_failures(written_addresses(json.loads(Path(name).read_bytes())))
    except OSError as error:
        return [f"config: cannot read {name}: {error.strerror}"]
    except ValueError as error:
        return [f"config: {name} is not JSON: {error}"]


def _has_compiler(name: str) -> bool:
    if sys.platform == "darwin":  # c++ always exists there, but may only ask for Xcode
        asked = ["/usr/bin/xcode-select", "--print-path"]
        return not subprocess.call(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return bool(shutil.which(name))


def _cure(release: Path) -> str:
    """How to install what compiling needs, on the system that `release` names."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if sys.platform == "darwin":
        return "Run: xcode-select --install"
    lines = release.read_text().splitlines() if release.exists() else []
    words = " ".join(line.partition("=")[2] for line in lines if line.startswith("ID"))
    for word in words.replace('"', " ").split():
        if word in LINUX_PACKAGES:
            sudo = "sudo " if os.geteuid() else ""
            return f"Run: {sudo}{LINUX_PACKAGES[word].format(version)}"
    return f"Install g++ or clang++ and the development package of Python {version}."


def _existing(path: Path) -> Path:
    """The path, or its nearest parent folder that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def main() -> None:
    """Print what is missing and end with status 2, or print nothing."""
    parser = argparse.ArgumentParser(description="Check what make is about to need.")
    parser.add_argument("--pythons", nargs="+", required=True, help="the versions that will do")
    parser.add_argument("--folder", type=Path, required=True, help="of the environment")
    parser.add_argument("--disk-mb", type=int, default=0, help="the size of the environment")
    parser.add_argument("--download-mb", type=int, default=0, help="what is downloaded for it")
    parser.add_argument("--variable", default="VENV", help="names the folder in the Makefile")
    parser.add_argument("--config", default="", help="check the ports that this file names, too")
    parser.add_argument("--goal", default="demo", help="what make was asked for")
    options = parser.parse_args()
    failures = python_failures(options.pythons, options.folder, options.goal)
    if not failures:
        failures += package_failures() + rust_failures(platform.machine())
        failures += disk_failures(
            options.folder, options.disk_mb, options.download_mb, options.variable
        )
        failures += _config_failures(options.config) if options.config else []
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    sys.exit(2 if failures else 0)


if __name__ == "__main__":
    main()
