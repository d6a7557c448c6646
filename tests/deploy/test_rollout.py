"""What an upgrade renews, how many pods there are and where, and who reaches them."""

from tests.deploy.chart import OPEN, SERVED, of_kind, pods, render, role_of, selects


def test_an_upgrade_renews_one_copy_of_each_part() -> None:
    """A partition holds the later replica groups, until they are named."""

    def held(*options: str) -> list[int]:
        sets = of_kind(render(*OPEN, "--set", "search.servers=3", *options), "StatefulSet")
        return [
            one["spec"]["updateStrategy"]["rollingUpdate"]["partition"] for one in sets.values()
        ]

    assert [0, 3] == held()
    assert [0, 0] == held("--set", "search.rollUpTo=1")


def test_copies_are_on_different_machines() -> None:
    """Pods of one number are not together; a Deployment starts a new pod before it ends one."""
    objects = render(*OPEN)
    for one in of_kind(objects, "StatefulSet").values():
        affinity = one["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
        (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
        assert ["apps.kubernetes.io/pod-index"] == term["matchLabelKeys"]
        assert all(
            selects(term["labelSelector"], pod) == (role_of(pod) == "search")
            for pod in pods(objects)
        )
    for one in of_kind(objects, "Deployment").values():
        assert 0 == one["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"]


def test_the_autoscaler_alone_says_how_many_pods_there_are() -> None:
    """Where there is one: `replicas` in a Deployment would take them back at each upgrade."""
    objects = render(*OPEN)
    scaled = {
        one["spec"]["scaleTargetRef"]["name"]
        for one in of_kind(objects, "HorizontalPodAutoscaler").values()
    }

    assert {"pictures-clip-search-middle", "pictures-clip-search-inference"} == scaled
    for name, one in of_kind(objects, "Deployment").items():
        assert ("replicas" in one["spec"]) == (name not in scaled)


def test_a_change_renews_the_pods_that_read_it() -> None:
    """Search servers, which load for minutes, are not renewed for a key of front."""

    def digests(change: str) -> dict[str, str]:
        objects = render(*OPEN, "--set", change)
        served = (pod for pod in pods(objects) if role_of(pod) in SERVED)
        return {role_of(pod): pod["metadata"]["annotations"]["checksum/config"] for pod in served}

    before = digests("config.Front.proxies=1")
    front, search = digests("config.Front.proxies=2"), digests("config.Search.ef-search=99")
    assert {"search"} == {role for role in before if before[role] == front[role]}
    assert set() == {role for role in before if before[role] == search[role]}


def test_the_network_lets_callers_through_and_nobody_else() -> None:
    """Front is open to all; the others to the services that ask them."""
    objects = render(*OPEN, "--set", "gateway.enabled=true,config.Gateway.open=true")
    found = {}
    for policy in of_kind(objects, "NetworkPolicy").values():
        (role,) = {
            role_of(pod) for pod in pods(objects) if selects(policy["spec"]["podSelector"], pod)
        }
        sources = [
            source for rule in policy["spec"]["ingress"] or [] for source in rule["from"] or [{}]
        ]
        found[role] = {
            "all" if not source else role_of(pod)
            for source in sources
            for pod in pods(objects)
            if not source or selects(source["podSelector"], pod)
        }
    assert found == {
        "front": {"all"},
        "gateway": {"all"},
        "middle": {"front", "gateway"},
        "inference": {"middle"},
        "search": {"middle", "search", "prepare"},
        "prepare": set(),
    }
