"""Many clients and long inputs: nothing is lost, nothing crossed, nothing refused."""

from pathlib import Path

import pytest

from devtools.gateways import RunningGateway, gateway
from devtools.services import Cluster, metric, running, with_section
from tests.gateway.clients import ENVIRONMENT_OF, output_of, run, start
from tests.memory import small_memory

CLIENTS, TEXTS = 8, 250


@pytest.mark.parametrize("scheme", ENVIRONMENT_OF)
def test_eight_clients_with_two_thousand_texts(served: RunningGateway, scheme: str) -> None:
    """All are answered twice, each with its own embeddings, in little memory."""
    url = served.url(scheme)
    with small_memory(served.service.process.pid):
        clients = [
            start(ENVIRONMENT_OF[scheme], "crowd", url, str(i * TEXTS), str(TEXTS), "8")
            for i in range(CLIENTS)
        ]
        outputs = [dict(line.split() for line in output_of(client)) for client in clients]

    assert [output["EQUAL"] for output in outputs] == [str(TEXTS)] * CLIENTS
    assert all(int(output["DIFFERENT"]) > TEXTS / 2 for output in outputs)


@pytest.mark.parametrize("scheme", ENVIRONMENT_OF)
def test_ten_thousand_texts_end_in_no_refusal(services: Cluster, root: Path, scheme: str) -> None:
    """Though middle takes two requests at a time and refuses the rest."""
    small = with_section(services.config, "Middle", port=0, max_in_flight=2)
    with running("middle/middle.py", small, cwd=root) as middle:
        config = with_section(services.config, "Middle", port=middle.port)
        with gateway(config, root, max_documents=1024) as served:
            url = served.url(scheme)
            lines = run(ENVIRONMENT_OF[scheme], "crowd", url, "20000", "5000", "32")
        refused = metric(middle, 'dropped_total{reason="overloaded",service="middle"}')

    assert "EQUAL 5000" in lines
    assert refused > 0
