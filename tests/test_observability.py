"""What operators see: logs, metrics with their dashboard and alerts, traces."""

import http.server
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from devtools.collection import Collection
from devtools.services import (
    CHECKOUT,
    Cluster,
    Service,
    cluster,
    hanging,
    metric,
    run_command,
    wait_until,
    with_section,
)
from tests.cache_probe import ask
from tests.servers import SERVERS

FOLDER = CHECKOUT / "docs/observability"
TEXT = "aardvark"
"""A word that stands in no line of ours."""
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """40 images in one shard."""
    return Collection(tmp_path_factory.mktemp("observability"), images=40, shards=1)


@contextmanager
def running(collection: Collection, **process: Any) -> Iterator[Cluster]:
    """All services, with keys of the section Process; queries have 20 s, and none is kept."""
    config = with_section(collection.config, "Process", **process)
    config = with_section(config, "Middle", deadline_ms=20_000, cache="off")
    with cluster(config, 1, collection.folder) as services:
        yield services


def everyone(services: Cluster) -> dict[str, Service]:
    """The services by name."""
    return {
        "front": services.front,
        "middle": services.middle,
        "inference": services.inference,
        "search": services.search[0],
    }


def lines(service: Service, *words: str) -> list[str]:
    """The lines that a service has logged with all these words in them."""
    return [line for line in service.output if all(word in line for word in words)]


def told(service: Service, *words: str) -> str:
    """The one line with these words in it, which must come."""
    deadline = time.monotonic() + 20
    while not (found := lines(service, *words)):
        assert time.monotonic() < deadline, service.output
        time.sleep(0.05)
    (line,) = found
    return line


def test_a_request_can_be_followed_through_all_services(collection: Collection) -> None:
    """At the level debug each logs a line with the id that the client gave; none has the text."""
    with running(collection, log_level="debug") as services:
        headers = {"X-Request-Id": "my-own-id"}
        assert 200 == ask(services.front, "/v1/search", headers=headers, text=TEXT).status
        for name, service in everyone(services).items():
            route = {"front": "/v1/search", "inference": "/predictions/"}.get(name, "/search")
            line = told(service, "request_id=my-own-id", f"route={route}")
            assert re.search(rf"level=debug .*service={name} method=POST .*status=200", line)
            assert not lines(service, TEXT)


def test_what_is_slow_or_fails_is_told_and_nothing_else(collection: Collection) -> None:
    """At the level info a good answer is no line; an error is one, without what was asked."""
    with running(collection) as services:
        assert 200 == ask(services.front, "/v1/search", text="red").status
        assert not lines(services.front, "answered")
        services.inference.kill()
        headers = {"X-Request-Id": "the-bad-one"}
        assert 503 == ask(services.front, "/v1/search", headers=headers, text=TEXT).status
        for service in (services.front, services.middle):
            assert "level=info" in told(service, "request_id=the-bad-one", "status=503")
            assert not lines(service, TEXT)
            assert not lines(service, "Traceback")
        no_http = f"GET /v1/search?text={TEXT} is no request line HTTP/1.1\r\n\r\n"
        with socket.create_connection(("127.0.0.1", services.front.port), timeout=20) as client:
            client.sendall(no_http.encode())
            assert b" 400 " in client.recv(65536)
        told(services.front, "Invalid request from")
        assert not lines(services.front, TEXT)


def test_a_request_that_does_not_end_is_told_with_where_it_stands(collection: Collection) -> None:
    """Once, with file and line of its thread; the age of the oldest request is a metric."""
    with running(collection, stuck_s=0.5) as services:
        with hanging(services.inference):
            headers = {"X-Request-Id": "stuck"}
            how = (services.front, "/v1/search", headers)
            asking = threading.Thread(target=ask, args=how, kwargs={"text": TEXT})
            asking.start()
            for name in ("front", "middle"):
                service = everyone(services)[name]
                line = told(service, "does not end", "request_id=stuck age_s=")
                assert re.search(r'stack=".*common/\w+\.py:\d+', line)
                assert 0.5 < metric(service, f'oldest_request_seconds{{service="{name}"}}')
        asking.join()
        assert 1 == metric(services.middle, 'stuck_requests_total{service="middle"}')
        wait_until(lambda: 0 == metric(services.middle, 'in_flight{service="middle"}'))


def names_in(text: str) -> set[str]:
    """The metrics that a text speaks of."""
    return set(re.findall(r"\bclip_search_\w+", text))


def test_the_dashboard_and_the_alerts_speak_of_metrics_that_there_are(
    collection: Collection,
) -> None:
    """Each name in them is one that a running service exposes."""
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    alerts = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    expressions = [target["expr"] for one in dashboard["panels"] for target in one["targets"]]
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    expressions += [rule["expr"] for rule in rules]
    with running(collection) as services:
        assert 200 == ask(services.front, "/v1/search", text="red").status
        exposed = set[str]()
        for service in everyone(services).values():
            service.get("/ready")
            exposed |= names_in(service.request("GET", "/metrics").data.decode())

    assert 20 < len(expressions)
    assert set() == names_in(" ".join(expressions)) - exposed
    assert len(rules) == len({rule["alert"] for rule in rules})
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] for rule in rules)
    assert len(dashboard["panels"]) == len({panel["id"] for panel in dashboard["panels"]})


class Collector:
    """A stand-in for OpenTelemetry's collector, that takes spans by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: dict[tuple[str, str], Any] = {}
        """Of TRACE, by service and name."""
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(self.path, self.headers.get("Content-Encoding", ""), body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def take(self, path: str, encoding: str, body: bytes) -> None:
        """Keep the spans of a message."""
        import gzip

        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        assert path == "/v1/traces"
        message = ExportTraceServiceRequest.FromString(
            gzip.decompress(body) if encoding == "gzip" else body
        )
        for resource in message.resource_spans:
            (service,) = (
                one.value.string_value
                for one in resource.resource.attributes
                if one.key == "service.name"
            )
            for scope in resource.scope_spans:
                for span in (one for one in scope.spans if one.trace_id.hex() == TRACE):
                    self.spans[service.removeprefix("clip-search-"), span.name] = span


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that listens."""
    pytest.importorskip("opentelemetry.proto")
    one = Collector()
    thread = threading.Thread(target=one.server.serve_forever)
    thread.start()
    yield one
    one.server.shutdown()
    one.server.server_close()
    thread.join()


@pytest.mark.parametrize("server", SERVERS)
def test_a_trace_goes_through_all_services(
    collection: Collection, collector: Collector, server: str
) -> None:
    """It begins with the client's; each service's span has the parent that asked it."""
    traces = f"http://127.0.0.1:{collector.server.server_address[1]}"
    with running(collection, traces=traces, server=server) as services:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": "traced"}
        assert 200 == ask(services.front, "/v1/search", headers=headers, text=TEXT).status
    spans = collector.spans
    front = spans["front", "POST /v1/search"]
    middle = spans["middle", "POST /search"]
    inference = spans["inference", "POST /predictions/<name>"]
    search = spans["search", "POST /search"]

    assert PARENT == front.parent_span_id.hex()
    assert front.span_id == middle.parent_span_id
    assert middle.span_id == inference.parent_span_id
    assert middle.span_id == search.parent_span_id
    for stage in ("embed", "search"):
        assert middle.span_id == spans["middle", stage].parent_span_id
    assert TEXT not in str(spans)


def test_without_the_packages_traces_cannot_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """The start says how to get them."""
    fake = tmp_path / "opentelemetry.py"
    fake.write_text("")  # no package: what is below it is not found
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    done = run_command("front/front.py", {"Process": {"traces": "http://127.0.0.1:1"}})

    assert 2 == done.returncode
    assert "requirements-otel.txt" in done.stderr
