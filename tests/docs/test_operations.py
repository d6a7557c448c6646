"""docs/operations.md says of each alert what to do; Prometheus's example has all services."""

import re

import yaml

from common.config import CHECKOUT, load
from common.services import addresses


def test_each_alert_has_a_row() -> None:
    """And there is no row of an alert that is not there."""
    rules = yaml.safe_load((CHECKOUT / "docs/observability/alerts.yml").read_text())
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    page = (CHECKOUT / "docs/operations.md").read_text()

    assert alerts == re.findall(r"^\| `(ClipSearch\w+)` \|", page, re.MULTILINE)


def test_prometheus_scrapes_each_service() -> None:
    """Those of config.json as it ships, with the job that the alerts name."""
    folder = CHECKOUT / "docs/observability"
    jobs = yaml.safe_load((folder / "prometheus.yml").read_text())["scrape_configs"]
    groups = [group for job in jobs for group in job["static_configs"]]
    shipped = addresses(load(str(CHECKOUT / "config.json")).config)

    assert [f"{host}:{port}" for _, (host, port) in shipped] == [
        target for group in groups for target in group["targets"]
    ]
    for group in groups:
        assert f'up{{job="{group["labels"]["job"]}"}}' in (folder / "alerts.yml").read_text()
