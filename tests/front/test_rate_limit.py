"""How often a caller may ask, and what that costs whoever asks too often."""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from devtools.services import Cluster, Service, metric, run_command, running, with_section
from tests.front.front_client import Reply, assert_problem

BURST = 5
ADDRESSES = ip_network("192.0.2.0/24").hosts()
"""A client for each test that shares a front."""
SITE = "https://photos.example"
JSON = {"Content-Type": "application/json"}


def limited(cluster: Cluster, **front: Any) -> dict[str, Any]:
    """A configuration with a burst, and a rate so low that no test waits for it."""
    rates = {"rate_per_s": 0.01, "rate_burst": BURST, "port": 0}
    return with_section(cluster.config, "Front", **{**rates, **front})


def info(front: Service, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return front.request("GET", "/v1/info", headers=named)


def test_over_the_rate_is_429_and_asks_nobody_behind(cluster: Cluster, root: Path) -> None:
    """A burst goes, the rest is refused with when to come back; what is open stays so."""
    counted = 'requests_total{route="/search",service="middle",status="200"}'
    with running("front/front.py", limited(cluster), cwd=root) as front:
        before = metric(cluster.middle, counted)
        texts = [{"text": f"red {number}"} for number in range(8)]  # front keeps answers itself
        replies = [front.request("POST", "/v1/search", json=text) for text in texts]
        assert [200] * BURST + [429] * 3 == [reply.status for reply in replies]
        assert BURST == metric(cluster.middle, counted) - before
        assert_problem(replies[-1], 429, "rate_limited")
        assert 90 <= int(replies[-1].headers["Retry-After"]) <= 100
        assert 200 == front.request("GET", "/healthz").status


OPEN = [
    "/",
    "/ready",
    "/metrics",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/static/app.js",
    "/no/such/route",
]


@pytest.fixture(scope="module")
def behind_a_proxy(cluster: Cluster, root: Path) -> Iterator[Service]:
    """A front that lets each address of X-Forwarded-For have its burst, and one other origin."""
    config = limited(cluster, cors_origins=[SITE], proxies=1)
    with running("front/front.py", config, cwd=root) as front:
        yield front


@pytest.mark.parametrize("path", OPEN)
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "PREFLIGHT"])
def test_every_open_route_has_a_rate(behind_a_proxy: Service, path: str, method: str) -> None:
    """Kind J: also of what needs no key: pages, files, what is not there, preflights."""
    headers = {"X-Forwarded-For": str(next(ADDRESSES))}
    if method == "PREFLIGHT":
        headers |= {"Origin": SITE, "Access-Control-Request-Method": "POST"}
    sent = "OPTIONS" if method == "PREFLIGHT" else method
    replies = [behind_a_proxy.request(sent, path, headers=headers) for _ in range(BURST + 2)]

    assert [429] * 2 == [reply.status for reply in replies[BURST:]]
    assert 429 not in [reply.status for reply in replies[:BURST]]


def test_each_key_has_its_own_rate(cluster: Cluster, root: Path) -> None:
    """Whoever has a key is counted by it, those without a valid one by their address."""
    config = limited(cluster, keys_file="rated.json")
    found = []
    for name in ("ann", "bob"):
        done = run_command("front/keys.py", config, name, "--scope", "search", cwd=root)
        found.append(f"Bearer {done.stdout.strip()}")
    ann, bob = found
    with running("front/front.py", config, cwd=root) as front:
        guesses = [info(front, Authorization=f"Bearer {n}").status for n in range(BURST + 2)]
        assert [401] * BURST + [429] * 2 == guesses
        anns = [info(front, Authorization=ann).status for _ in range(BURST + 1)]
        assert [200] * BURST + [429] == anns
        assert 200 == info(front, Authorization=bob).status


def test_a_client_s_address_is_believed_of_our_proxies_only(cluster: Cluster, root: Path) -> None:
    """X-Forwarded-For counts where `proxies` says so, and then only its last entries."""
    with running("front/front.py", limited(cluster), cwd=root) as front:
        for n in range(BURST):
            info(front, X_Forwarded_For=f"192.0.2.{n}")
        assert 429 == info(front, X_Forwarded_For="192.0.2.99").status
    with running("front/front.py", limited(cluster, proxies=1), cwd=root) as front:
        for n in range(BURST):  # the client made the first entry up, our proxy wrote the last
            info(front, X_Forwarded_For=f"10.0.0.{n}, 192.0.2.1")
        assert 429 == info(front, X_Forwarded_For="10.0.0.99, 192.0.2.1").status
        assert 200 == info(front, X_Forwarded_For="192.0.2.2").status


def test_a_refusal_reads_no_body(cluster: Cluster, root: Path) -> None:
    """A broken body over the rate is 429 and not what is wrong with it."""
    with running("front/front.py", limited(cluster), cwd=root) as front:
        replies = [
            front.request("POST", "/v1/search", body=b"{" * 200_000, headers=JSON)
            for _ in range(BURST + 3)
        ]
        assert [400] * BURST + [429] * 3 == [reply.status for reply in replies]


@pytest.mark.parametrize("rate", [0, -1, "5"])
def test_a_rate_is_a_positive_number(rate: Any) -> None:
    """Anything else stops the start."""
    done = run_command("front/front.py", {"Front": {"rate-per-s": rate}})

    assert 2 == done.returncode
    assert "rate-per-s" in done.stderr
