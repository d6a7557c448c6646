"""Texts and images a second of clip-client: against CLIP-as-service's server and our gateway."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from benchmarks import peers, report
from benchmarks.plan import Plan
from benchmarks.report import Figure
from benchmarks.turns import started, take_turns
from common.errors import ConfigError
from devtools import loads
from devtools.gateways import gateway
from devtools.photos import write_photos
from devtools.services import cluster, with_section

THEIRS, OURS = "clip-server, fp32", "gateway, {}"
PHOTOS = 1024  # more than are under way at a time, so that no embedding is shared
BATCHES = {"texts": 32, "images": 8}  # in a request; 8 is clip-client's default
AIMS = {"texts": 15, "images": 2}
LONGER = 2.5  # than other loads, as the last requests run alone


def measure(plan: Plan) -> list[Figure]:
    """The same load over gRPC on both; on the gateway in fp32 and with the plan's precision."""
    precisions = dict.fromkeys(("fp32", plan.inference.precision))
    ours = {OURS.format(each): partial(_gateway, plan, each) for each in precisions}
    photos = [str(path) for path in write_photos(plan.folder / "photos", PHOTOS)]
    contenders = []
    with ExitStack() as stack:
        for name, start in {THEIRS: partial(peers.clip_as_service, plan), **ours}.items():
            try:
                _, url = stack.enter_context(start())
            except ConfigError as error:
                print(f"left out: {name}: {error}", flush=True)
                continue
            for kind, batch in BATCHES.items():
                sent = photos if kind == "images" else ()
                load = partial(loads.clip_client, url, batch, LONGER * plan.seconds, sent)
                contenders.append(started(f"{kind}, {name}", load))
        runs = take_turns(contenders, plan.rounds, plan.idle_s)
    found = report.figures("gateway", runs, "a second")
    for kind, aim in AIMS.items():
        for name in ours:
            found += report.ratio("gateway", runs, f"{kind}, {name}", f"{kind}, {THEIRS}", aim)
    return found


@contextmanager
def _gateway(plan: Plan, precision: str) -> Iterator[tuple[str, str]]:
    """The gateway before services without an index and without a cache; its addresses."""
    config = with_section(plan.services(), "Inference", precision=precision)
    config = with_section({**config, "Gateway": {}}, "Middle", cache="off")
    with (
        cluster(config, 0, plan.folder) as services,
        gateway(services.config, plan.folder) as served,
    ):
        url = f"{served.url('http')}/post"
        peers.check_embeddings(plan, url)
        yield url, served.url("grpc")
