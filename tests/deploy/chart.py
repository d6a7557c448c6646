"""The chart of Kubernetes, rendered by Helm."""

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml

from common.config import CHECKOUT, Config, parse
from common.errors import MissingPackage
from devtools.helm import require_helm

CHART = CHECKOUT / "deploy/helm/clip-search"
OPEN = ("--set", "config.Front.open=true")
EVERYTHING = (
    "--set=secrets.keys=keys,secrets.inside=inside,secrets.objects=objects,secrets.admin=admin",
    "--set=storage.images=images,storage.uploads=uploads,storage.models=models",
    "--set=gateway.enabled=true,ingress.enabled=true,ingress.host=a.example,ingress.tlsSecret=a",
    "--set=monitoring.dashboard=true,monitoring.serviceMonitor=true,monitoring.rules=true",
    "--set=config.Live.log=redis://log:6379/0,inference.gpus=1",
    '--set-json=networkPolicy.metricsFrom=[{"namespaceSelector": {}}]',
)
"""Whatever can be turned on."""
SIZES = {name: (*OPEN, f"--values={CHART}/values-{name}.yaml") for name in ("1m", "10m", "100m")}
VARIANTS = {"default": OPEN, "everything": EVERYTHING, **SIZES}
OPERATOR = "monitoring.coreos.com/v1"
"""Of the Prometheus operator, which Kubernetes' schemas do not have."""

Object = dict[str, Any]
SERVED = {"front", "middle", "inference", "search", "gateway"}
"""The roles that answer requests."""


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    """Run Helm on the chart, without the settings of whoever runs the test."""
    try:
        program = require_helm()
    except MissingPackage as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(error))
    return subprocess.run(
        [program, *words],
        env={"PATH": os.environ["PATH"], "HOME": str(CHECKOUT / "data")},
        capture_output=True,
        text=True,
        check=False,
    )


@cache
def render(*options: str) -> list[Object]:
    """The objects of a release called `pictures`."""
    done = helm("template", "pictures", str(CHART), *options)
    assert 0 == done.returncode, done.stderr
    return [found for found in yaml.load_all(done.stdout, yaml.CSafeLoader) if found]


def of_kind(objects: list[Object], *kinds: str) -> dict[str, Object]:
    """Those of some kinds, by their names."""
    return {one["metadata"]["name"]: one for one in objects if one["kind"] in kinds}


def config_of(objects: list[Object]) -> Config:
    """What all pods read; raises ConfigError."""
    return parse(
        of_kind(objects, "Secret")["pictures-clip-search-config"]["stringData"]["config.json"]
    )


def pods(objects: list[Object]) -> Iterator[Object]:
    """The templates of all pods."""
    for one in of_kind(objects, "Deployment", "StatefulSet").values():
        yield one["spec"]["template"]
    for one in of_kind(objects, "CronJob").values():
        yield one["spec"]["jobTemplate"]["spec"]["template"]


def labels_of(pod: Object) -> dict[str, str]:
    """The labels of a pod's template."""
    found: dict[str, str] = pod["metadata"]["labels"]
    return found


def role_of(pod: Object) -> str:
    """Which service a pod is."""
    return labels_of(pod)["app.kubernetes.io/component"]


def selects(selector: Object, pod: Object) -> bool:
    """Whether a selector's matchLabels and matchExpressions (In) choose a pod."""
    labels = labels_of(pod)
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    listed = (
        labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", [])
    )
    return wanted and all(listed)


def container(pod: Object) -> Object:
    """The only container of a pod."""
    (only,) = pod["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def by_role(objects: list[Object]) -> dict[str, Object]:
    """The pods, by their services."""
    return {role_of(pod): pod for pod in pods(objects)}
