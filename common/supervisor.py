"""Start every service of config.json and keep them running: python -m common.supervisor.

supervisord does the work: it restarts a service that ends, and stops all services on Ctrl-C.
"""

import math
import os
import re
import shlex
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote_plus

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import msgspec
import urllib3

from common.addresses import join_address
from common.config import CHECKOUT, Config, Gateway, Loaded, load
from common.errors import ConfigError
from common.internal_auth import InternalAuth
from common.process import ERROR, argument_parser, run
from common.ready import LOCAL, unverified, url_of, wait_until_ready
from common.server.drain import LONGEST_END_S
from common.services import check_ports, commands
from common.stopping import Stopping

EXAMPLE = "a cat"
STOP = "  Ctrl-C stops everything.\n"
STARTER = (
    "starter, which is not CLIP. It finds objects, animals and places, but no colours, actions or "
    "counts. For real CLIP set Inference.clip in config.json: docs/guide/models.md"
)

SUPERVISORD = """[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
loglevel=error
pidfile=%(here)s/supervisord.pid
{user}"""
PRIORITY = {"front": 3, "gateway": 3, "middle": 2}
"""supervisord stops the highest first, so that no service loses a server that it asks."""

CLOSING_S = 10
"""The time to stop threads (waitress waits 5 s for them) and to close what a service has opened."""

PROGRAM = """
[program:{name}]
command={command}
priority={priority}
environment=OMP_NUM_THREADS="1"
autorestart=true
startretries=1000
stopsignal=TERM
stopwaitsecs={stop_s}
redirect_stderr=true
stdout_logfile=/dev/fd/1
stdout_logfile_maxbytes=0
"""


def supervisord_config(programs: dict[str, list[str]], drain_wait_s: float) -> str:
    """The supervisord.conf for some commands; its folder is for the pid file, too."""
    user = "user=root\n" if os.geteuid() == 0 else ""  # else supervisord warns that it runs as root
    parts = [SUPERVISORD.format(user=user)]
    for name, command in programs.items():
        parts.append(
            PROGRAM.format(
                name=name,
                priority=PRIORITY.get(name.partition("-")[0], 1),
                command=_quoted(command),
                stop_s=math.ceil(drain_wait_s + LONGEST_END_S) + CLOSING_S,
            )
        )
    return "".join(parts)


def _quoted(command: list[str]) -> str:
    """A command line for supervisord, which takes # and ; after a space for comments.

    An empty pair of quotes before each adds nothing to the word, and parts it from the space.
    """
    return re.sub("[#;]", r"''\g<0>", shlex.join(command)).replace("%", "%%")


@contextmanager
def config_file(name: str, loaded: Loaded) -> Iterator[Path]:
    """A file with the configuration for the services, also if ours came from standard input."""
    if name != "-":
        yield Path(name).resolve()
        return
    with tempfile.NamedTemporaryFile(dir=loaded.root, prefix=".config-", suffix=".json") as file:
        file.write(msgspec.json.encode(loaded.config))
        file.flush()
        yield Path(file.name)


def supervise(config: Config, file: Path, inside: ssl.SSLContext | None = None) -> int:
    """Run all services until a signal; returns supervisord's exit status.

    `inside` is the TLS context to ask inference whether it is ready; None without TLS.
    """
    check_ports(config)
    with tempfile.TemporaryDirectory(prefix="clip-search-") as folder:
        conf = Path(folder, "supervisord.conf")
        wait_s = config.process.drain_wait_s
        conf.write_text(supervisord_config(commands(config, file), wait_s))
        command = [sys.executable, str(CHECKOUT / "common/supervisord.py"), "-c", str(conf)]
        # supervisord opens its output again, which would truncate a file; a pipe is safe.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        errors: list[str] = []
        threading.Thread(target=_pass_on, args=(process.stdout, errors), daemon=True).start()
        stop = Stopping(process)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop())
        try:
            inference = url_of(
                config.inference.at(config.inference.own[0]), encrypted=bool(config.inside.tls_cert)
            )
            if not config.inference.key_file:
                # No limit: inference may download gigabytes first.
                wait_until_ready("inference", inference, process, errors, math.inf, inside)
            if config.search.server_list:
                front = url_of(config.front, encrypted=bool(config.front.tls_cert))
                wait_until_ready("front", front, process, errors, tls=unverified())
                _welcome(front, config)
            elif gateway := config.gateway:
                url = http_url(gateway)
                wait_until_ready("gateway", url, process, errors, tls=unverified())
                print(f"\n  ready: Client('{client_url(gateway)}')\n{STOP}", flush=True)
            return process.wait()
        finally:
            process.terminate()
            process.wait()


def _pass_on(output: IO[bytes], errors: list[str]) -> None:
    """Print the output of the services, and collect the ConfigErrors in it (`process.run`)."""
    for line in output:
        text = line.decode(errors="replace")
        sys.stdout.write(text)
        sys.stdout.flush()
        if text.startswith(ERROR):
            errors.append(text.removeprefix(ERROR).strip())


def _welcome(front: str, config: Config) -> None:
    """Print the address of the page, an example of a query, and the model."""
    example = f"{front}/v1/search?text={quote_plus(EXAMPLE)}&k=3"
    with urllib3.PoolManager(retries=False, ssl_context=unverified()) as http:
        answer = http.request("GET", example, headers=LOCAL)
    if config.front.keys_file:
        example += '" -H "Authorization: Bearer KEY'
    elif answer.status not in (200, 429):  # waiting for front may have used up its rate
        print(f"\n  searching does not work yet: {answer.json().get('detail')}", flush=True)
    model = STARTER if config.inference.clip == "starter" else config.inference.clip
    clients = f"  clip:  Client('{client_url(config.gateway)}')\n" if config.gateway else ""
    print(
        f"\n  ready: {front}/  (API: {front}/docs)\n"
        f'  try:   curl "{example}"\n'
        f"{clients}  model: {model}\n{STOP}",
        flush=True,
    )


def http_url(gateway: Gateway) -> str:
    """The URL of the gateway's HTTP, which has `/ready`."""
    address = join_address(gateway.address, gateway.http_port)
    return f"http{'s' if gateway.tls_cert else ''}://{address}"


def client_url(gateway: Gateway) -> str:
    """What CLIP-as-service's client is given to reach the gateway: by gRPC, if it is on."""
    schemes = {"grpc": "grpc", "http": "http", "websocket": "ws"}
    protocol = "grpc" if "grpc" in gateway.protocols else gateway.protocols[0]
    port = gateway.port if protocol == "grpc" else gateway.http_port
    address = join_address(gateway.address, port)
    return f"{schemes[protocol]}{'s' if gateway.tls_cert else ''}://{address}"


def main() -> None:
    """Supervise the services of a configuration."""
    parser = argument_parser(__doc__)
    parser.add_argument("--check-ports", action="store_true", help="only say which are not free")
    arguments = parser.parse_args()
    name, loaded = arguments.config, load(arguments.config)
    if arguments.check_ports:
        check_ports(loaded.config)
        return
    inside = InternalAuth(loaded.config.inside, loaded.root)
    current = loaded.path(loaded.config.prepare.index_dir) / "CURRENT"
    if loaded.config.search.server_list and not current.exists():
        raise ConfigError("there is no index yet: run python prepare/prepare.py FOLDER first")
    with config_file(name, loaded) as file:
        sys.exit(supervise(loaded.config, file, inside.context()))


if __name__ == "__main__":
    run(main)
