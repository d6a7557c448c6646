"""docs/operations.md says of each alert what to do."""

import re

import yaml

from common.config import CHECKOUT


def test_each_alert_has_a_row() -> None:
    """And there is no row of an alert that is not there."""
    rules = yaml.safe_load((CHECKOUT / "docs/observability/alerts.yml").read_text())
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    page = (CHECKOUT / "docs/operations.md").read_text()

    assert alerts == re.findall(r"^\| `(ClipSearch\w+)` \|", page, re.MULTILINE)
