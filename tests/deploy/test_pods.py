"""The objects of the chart fit together, and the services can do what they are told."""

import re
import subprocess
import sys

import pytest

from common.addresses import split_address
from common.config import CHECKOUT
from common.server.service import create_service
from tests.deploy.chart import (
    EVERYTHING,
    SERVED,
    VARIANTS,
    by_role,
    config_of,
    container,
    of_kind,
    pods,
    render,
    role_of,
    selects,
)

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


@pytest.mark.parametrize("name", VARIANTS)
def test_each_search_server_is_a_pod(name: str) -> None:
    """The addresses of Search.server-list are names of pods, which serve that part and copy."""
    objects = render(*VARIANTS[name])
    config = config_of(objects)
    sets = of_kind(objects, "StatefulSet")
    named = set()
    for server in range(len(config.search.server_list)):
        for replica, address in enumerate(config.search.replicas(server)):
            pod, service = split_address(address)[0].split(".")
            group, _, ordinal = pod.rpartition("-")
            named.add(pod)
            assert service == sets[group]["spec"]["serviceName"]
            assert server == int(ordinal) < sets[group]["spec"]["replicas"]
            arguments = container(sets[group]["spec"]["template"])["args"]
            assert ["--server-index", "$(SERVER_INDEX)", "--replica", str(replica)] == arguments[2:]
    assert len(named) == sum(one["spec"]["replicas"] for one in sets.values())


@pytest.mark.parametrize("name", ["default", "everything"])
def test_a_name_leads_to_the_ready_pods_of_a_service(name: str) -> None:
    """At the port that they bind; search pods have their names before they are ready."""
    objects = render(*VARIANTS[name])
    config, services = config_of(objects), of_kind(objects, "Service")
    for role, section in (("middle", config.middle), ("inference", config.inference)):
        (entry,) = section.server_list
        kind, host, port = entry.split(":")
        service = services[host]["spec"]
        assert ("dns", "None") == (kind, service["clusterIP"])
        assert "publishNotReadyAddresses" not in service
        assert section.listen == f"0.0.0.0:{port}"
        assert int(port) == container(by_role(objects)[role])["ports"][0]["containerPort"]
    assert services["pictures-clip-search-search"]["spec"]["publishNotReadyAddresses"]
    for service in services.values():
        chosen = [
            pod
            for pod in pods(objects)
            if selects({"matchLabels": service["spec"]["selector"]}, pod)
        ]
        assert chosen
        for pod in chosen:
            ports = {port["name"] for port in container(pod)["ports"]}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


@pytest.mark.parametrize("name", ["default", "everything"])
def test_a_pod_has_one_budget_at_most(name: str) -> None:
    """With two it could never be moved; and all search pods share theirs."""
    objects = render(*VARIANTS[name])
    budgets = of_kind(objects, "PodDisruptionBudget")
    for pod in pods(objects):
        own = [one for one, budget in budgets.items() if selects(budget["spec"]["selector"], pod)]
        expected = [f"pictures-clip-search-{role_of(pod)}"] if role_of(pod) in SERVED else []
        assert expected == own


def test_probes_are_routes_of_the_services() -> None:
    """Loading is no death: /ready is asked for long before /healthz is."""
    routes = {rule.rule for rule in create_service("probed", lambda: None).url_map.iter_rules()}
    gateway = (CHECKOUT / "gateway/http_server.py").read_text()
    for pod in (one for one in pods(render(*EVERYTHING)) if role_of(one) in SERVED):
        ports = {port["name"] for port in container(pod)["ports"]}
        for probe in PROBES:
            asked = container(pod)[probe]["httpGet"]
            assert asked["port"] in ports
            assert asked["path"] in routes
            assert f'"{asked["path"]}"' in gateway
        start, alive = container(pod)["startupProbe"], container(pod)["livenessProbe"]
        loads = role_of(pod) in ("search", "inference")
        assert ("/ready" if loads else "/healthz") == start["httpGet"]["path"]
        assert ("/healthz", 5) == (alive["httpGet"]["path"], alive["timeoutSeconds"])
        assert start["failureThreshold"] * start["periodSeconds"] >= (600 if loads else 60)


@pytest.mark.parametrize("name", VARIANTS)
def test_each_container_is_bounded_and_hardened(name: str) -> None:
    """Memory and cores, no root, nothing writable but its volumes."""
    for pod in pods(render(*VARIANTS[name])):
        only, spec = container(pod), pod["spec"]
        assert {"cpu", "memory"} <= only["resources"]["requests"].keys()
        assert only["resources"]["requests"].items() <= only["resources"]["limits"].items()
        assert only["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert spec["securityContext"]["runAsNonRoot"]
        assert not spec["automountServiceAccountToken"]
        single = {"name": "OMP_NUM_THREADS", "value": "1"} in only.get("env", [])
        assert single == (role_of(pod) not in ("inference", "prepare"))


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_mounted_is_there(name: str) -> None:
    """Each mount has its volume, /tmp is one, and the files of config.json are among them."""
    objects = render(*VARIANTS[name])
    config = config_of(objects)
    claims = [
        claim["metadata"]["name"]
        for one in of_kind(objects, "StatefulSet").values()
        for claim in one["spec"].get("volumeClaimTemplates", [])
    ]
    for pod in pods(objects):
        mounts = {mount["mountPath"]: mount["name"] for mount in container(pod)["volumeMounts"]}
        volumes = [volume["name"] for volume in pod["spec"]["volumes"]]
        if role_of(pod) == "search":
            volumes += claims[:1]
        assert sorted(volumes) == sorted(mounts.values())
        assert {"/tmp", "/srv/config.json"} <= mounts.keys()  # noqa: S108
        if config.inside.token_file:
            assert f"/srv/{config.inside.token_file}".rpartition("/")[0] in mounts
        if config.front.keys_file and role_of(pod) in ("front", "gateway"):
            assert f"/srv/{config.front.keys_file}".rpartition("/")[0] in mounts


def test_programs_and_their_options_exist() -> None:
    """What a pod is told to run is in the image, and knows what it is told."""
    for pod in pods(render(*EVERYTHING)):
        match container(pod)["args"]:
            case ["prepare"]:
                assert "\nprepare)\n" in (CHECKOUT / "edge/entrypoint").read_text()
            case ["python", program, *options]:
                script = CHECKOUT / program.removeprefix("/app/")
                assert script.is_file()
                if options:
                    command = [sys.executable, str(script), "--help"]
                    known = subprocess.run(command, capture_output=True, text=True, check=True)
                    assert set(re.findall(r"--[a-z-]+", known.stdout)) >= set(options[::2])
