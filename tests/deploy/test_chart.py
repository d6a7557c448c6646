"""The chart is read by Helm, and what it makes by Kubernetes' schemas; its values are checked."""

import re
from pathlib import Path

import pytest
import yaml
from kubernetes_validate import validate

from common.config import CHECKOUT
from tests.deploy.chart import (
    CHART,
    EVERYTHING,
    OPEN,
    OPERATOR,
    SIZES,
    VARIANTS,
    config_of,
    helm,
    of_kind,
    pods,
    render,
    role_of,
)

VERSIONS = ("1.31", "1.35")
"""The oldest that Chart.yaml takes, and that of Helm itself."""
GB = {"Mi": 2**20 / 1e9, "Gi": 2**30 / 1e9, "Ti": 2**40 / 1e9}
IMAGES = {"1m": 1e6, "10m": 10e6, "100m": 100e6}
BYTES = {"hnsw": 2350, "compact": 690}
"""Of an image in memory: docs/benchmarks.md."""


@pytest.mark.parametrize("name", VARIANTS)
def test_helm_lints_the_chart(name: str) -> None:
    """With each file of values, and with all that can be turned on."""
    done = helm("lint", "--strict", "--quiet", str(CHART), *VARIANTS[name])

    assert (0, "") == (done.returncode, done.stdout), done.stderr


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", VARIANTS)
def test_kubernetes_knows_each_field(name: str, version: str) -> None:
    """No key is unknown, missing or of another type."""
    for one in render(*VARIANTS[name]):
        if one["apiVersion"] != OPERATOR:
            validate(one, version, strict=True)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ((), "front would answer nobody"),
        ((*OPEN, "--set", "gateway.enabled=true"), "set secrets.keys, or config.Gateway.open"),
        ((*OPEN, "--set", "serach.servers=3"), "additional properties 'serach'"),
        ((*OPEN, "--set", "search.server=3"), "additional properties 'server'"),
        ((*OPEN, "--set", "search.memory=4G"), "does not match pattern"),
        ((*OPEN, "--set", "config.Live.log=redis://log"), "needs storage.uploads"),
        ((*OPEN, "--kube-version", "1.30.0"), "incompatible with Kubernetes"),
    ],
)
def test_a_mistake_stops_the_installation(options: tuple[str, ...], complaint: str) -> None:
    """And the message names it."""
    done = helm("template", "pictures", str(CHART), *options)

    assert 0 != done.returncode
    assert complaint in done.stderr


def test_the_values_of_the_guide_are_values(tmp_path: Path) -> None:
    """Those that docs/guide/growing.md shows, over those for 10 million images."""
    page = (CHECKOUT / "docs/guide/growing.md").read_text()
    (shown,) = re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "values.yaml").write_text(shown)
    config = config_of(render(*SIZES["10m"][2:], f"--values={tmp_path}/values.yaml"))

    assert "s3://photos-index/clip-search" == config.prepare.index_url
    assert ("compact", 1) == (config.prepare.index, config.front.proxies)


def test_values_are_laid_over_what_the_chart_writes() -> None:
    """A key of `config` holds, and those beside it in its section stay."""
    config = config_of(render(*OPEN, "--set", "config.Search.shards=24,config.Process.stuck-s=9"))

    assert (24, "0.0.0.0:9000") == (config.search.shards, config.search.listen)
    assert (9, 5) == (config.process.stuck_s, config.process.drain_wait_s)


@pytest.mark.parametrize("name", SIZES)
def test_the_memory_holds_two_versions(name: str) -> None:
    """Of each part of the index: a new version is loaded beside the old one."""
    values = yaml.safe_load((CHART / f"values-{name}.yaml").read_text())
    config = config_of(render(*SIZES[name]))
    limits = {
        role_of(pod): pod["spec"]["containers"][0]["resources"]["limits"]["memory"]
        for pod in pods(render(*SIZES[name]))
    }
    part = IMAGES[name] * BYTES[config.prepare.index] / values["search"]["servers"] / 1e9

    assert gigabytes(limits["search"]) > 2 * part
    assert config.search.shards
    built = values["prepare"]["cpus"] * IMAGES[name] / config.search.shards  # at a time
    assert gigabytes(limits["prepare"]) > (300 * IMAGES[name] + 11_000 * built) / 1e9
    assert config.search.shards % values["search"]["servers"] == 0
    assert IMAGES[name] / config.search.shards <= 200_000


def gigabytes(size: str) -> float:
    """Of what a value says, as 6Gi."""
    return int(size[:-2]) * GB[size[-2:]]


def test_what_is_watched_is_that_of_the_documentation() -> None:
    """The dashboard, the alerts, and the job that the alerts name."""
    objects = render(*EVERYTHING)
    folder = CHECKOUT / "docs/observability"
    (dashboard,) = of_kind(objects, "ConfigMap").values()
    (rules,) = of_kind(objects, "PrometheusRule").values()
    alerts = (folder / "alerts.yml").read_text()

    assert (folder / "dashboard.json").read_text().strip() == dashboard["data"]["clip-search.json"]
    assert yaml.safe_load(alerts) == rules["spec"]
    services = of_kind(objects, "Service")
    for name, monitor in of_kind(objects, "ServiceMonitor").items():
        labels = services[name]["metadata"]["labels"]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert f'up{{job="{labels[monitor["spec"]["jobLabel"]]}"}}' in alerts
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] in {port["name"] for port in services[name]["spec"]["ports"]}
        assert endpoint["authorization"]["credentials"]["name"] in ("admin", "inside")
    assert services.keys() == of_kind(objects, "ServiceMonitor").keys()
