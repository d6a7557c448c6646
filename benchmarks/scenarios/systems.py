"""Whole systems: growth, workers, and queries at a given rate (an open loop)."""

import json
import time
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
from urllib3.filepost import encode_multipart_formdata

from benchmarks import report
from benchmarks.plan import K, Plan, queries
from benchmarks.report import RATIO, Figure
from benchmarks.scenarios.search import repeated
from benchmarks.turns import started, take_turns, with_cpu
from common.config import CHECKOUT, Search
from common.errors import ConfigError
from devtools import loads, open_loop, vectors
from devtools.collection import Collection
from devtools.cpu_thief import thieves
from devtools.loads import Measured
from devtools.memory import growth_of, resident_bytes, watching
from devtools.nginx import MANY, edge
from devtools.open_loop import measured
from devtools.services import Service, cluster, run_command, running, with_section
from devtools.silence import silence_of_load
from devtools.slow_clients import ask_beside
from devtools.vector_collection import index_folders

CLASSIFY_CLIENTS, DEADLINE_MS = 32, 20_000  # long, as rates count, also on busy cores
PHOTO = CHECKOUT / "samples/owl.jpg"
SAMPLES = 50  # answers at each rate that are compared with exact search, after the load
SETTLED_S = 60
OVERLOAD, IN_TIME_MS = 3, 2000  # a multiple of the peak rate; the default of Middle.deadline-ms
SLOW_RATE, SLOW_CLIENTS = 100, (0, 200)
STARTER: dict[str, Any] = {
    "Inference": {"clip": "starter", "mclip": None, "port": 0},
    "Prepare": {"images": [str(CHECKOUT / "samples")]},
}


def measure_growth(plan: Plan) -> list[Figure]:
    """Searches over a tenth, all and ten times of the vectors; prepare chooses the shards."""
    found: list[Figure] = []
    with running("inference/inference.py", plan.services(), cwd=plan.folder) as inference:
        for count in (plan.vectors // 10, plan.vectors, 10 * plan.vectors):
            found += _measure_size(plan, count, inference)
    return found


def _measure_size(plan: Plan, count: int, inference: Service) -> list[Figure]:
    shards = Search().shards_for(count)
    name, config = f"{count:,} vectors, {shards} shards", plan.config(shards, count)
    began = time.perf_counter()
    with running("search/search.py", config, cwd=plan.folder):
        start_s = time.perf_counter() - began
    with cluster(config, 1, plan.folder, inference=inference) as services:
        url = f"http://{services.middle.address}/search"
        send = partial(loads.wrk, url, loads.bodies(queries()), plan.folder)
        loads.warm_up(send, plan.seconds)
        alone = send(plan.seconds / 2, clients=1)
        loaded = with_cpu(partial(send, plan.seconds), services.pids)()
        memory = resident_bytes(services.pids["search"])
    print(f"{name}: {loaded}", flush=True)
    row, errors = partial(Figure, "growth", name), (alone.errors or 0) + (loaded.errors or 0)
    silence_s, silence_s_a_gb = silence_of_load(index_folders(config))
    return [
        *report.figures("growth", {name: [loaded._replace(errors=errors)]}),
        row("alone p50 ms", alone.p50_ms),
        row("alone p99 ms", alone.p99_ms),
        row("search servers, MiB", memory / 2**20),
        row("start s", start_s),
        row("silence at a swap, ms", 1000 * silence_s),
        row("silence, s a GB of a shard", silence_s_a_gb),
    ]


def measure_workers(plan: Plan) -> list[Figure]:
    """/v1/classify of the same photo with different numbers of workers in front and middle."""
    folder = plan.folder / "workers"
    folder.mkdir()
    body, content_type = encode_multipart_formdata({"image": ("owl.jpg", PHOTO.read_bytes())})
    (folder / "photo").write_bytes(body)
    done = run_command("prepare/prepare.py", STARTER, cwd=folder)
    if done.returncode:
        raise ConfigError(f"prepare/prepare.py failed: {done.stderr}")
    contenders = []
    with ExitStack() as stack:
        inference = stack.enter_context(running("inference/inference.py", STARTER, cwd=folder))
        for count in plan.workers:
            config = with_section(STARTER, "Front", workers=count)
            config = with_section(config, "Middle", workers=count, deadline_ms=DEADLINE_MS)
            services = stack.enter_context(cluster(config, 1, folder, inference=inference))
            url = f"http://{services.front.address}/v1/classify"
            load = repeated(
                plan, url, folder / "photo", content_type=content_type, clients=CLASSIFY_CLIENTS
            )
            contenders.append(started(f"{count} workers", with_cpu(load, services.pids)))
        return report.figures("workers", take_turns(contenders, plan.rounds, plan.idle_s), "req/s")


def measure_open_loop(plan: Plan) -> list[Figure]:
    """Latency, errors and recall of middle at shares of its peak rate; growth of memory."""
    row, shards, seconds = partial(Figure, "open loop"), plan.shards[-1], 10 * plan.seconds
    texts, truth, found = queries(), plan.truth(), []
    with cluster(plan.config(shards), shards, plan.folder) as services:
        address = services.middle.address
        with watching([pid for pids in services.pids.values() for pid in pids]) as samples:
            url, ask = f"http://{address}/search", loads.bodies(texts)
            peak = loads.peak_rate(url, ask, plan.folder, 2 * plan.seconds)
            open_loop.send(address, open_loop.draw(peak, plan.seconds, texts), K)
            for percent, aim in ((25, None), (50, 3), (75, None), (100, None)):
                due = open_loop.draw(percent / 100 * peak, seconds, texts, seed=percent)
                replies = open_loop.send(address, due, K, SAMPLES)
                kept = [reply for reply in replies if reply.ok and reply.body]
                hits = {reply.text: json.loads(reply.body)["hits"] for reply in kept}
                paths = {text: [hit["path"] for hit in hits[text]] for text in hits}
                recall = vectors.recall(truth, plan.model, paths, K)
                run = measured(replies, seconds)._replace(recall=recall)
                latest = float(np.percentile([reply.latency_ms for reply in replies], 99.9))
                name, spread = f"{percent} % of the peak", run.p99_ms / run.p50_ms
                print(f"{name}: {run}", flush=True)
                found += report.figures("open loop", {name: [run]})
                found.append(row(name, "p99.9 ms", latest))
                found.append(row(f"{name}: p99 / p50", RATIO, spread, at_most=aim))
    minutes = max(0, samples[-1][0] - SETTLED_S) / 60
    name = f"resident memory, all services, over the last {minutes:.0f} minutes"
    return [*found, row(name, "% more", 100 * growth_of(samples, SETTLED_S), at_most=3)]


def measure_overload(plan: Plan) -> list[Figure]:
    """Three times the peak rate of front, then half: answers in time, refusals, recovery."""
    row, texts, seconds = partial(Figure, "overload"), queries(), 8 * plan.seconds
    shards = min(2, plan.shards[-1])
    with cluster(plan.config(shards), shards, plan.folder) as services:
        send = partial(open_loop.send, services.front.address, k=K, path="/v1/search")
        url, ask = f"http://{services.front.address}/v1/search", loads.bodies(texts)
        peak = loads.peak_rate(url, ask, plan.folder, 2 * plan.seconds)
        due = open_loop.draw(OVERLOAD * peak, seconds, texts)
        half = open_loop.later(open_loop.draw(peak / 2, 3 * plan.seconds, texts), seconds)
        during, after = open_loop.split(send([*due, *half]), seconds)
        with thieves():
            robbed = send(open_loop.draw(peak / 2, seconds, texts))
    answered = [reply for reply in during if reply.ok]
    refused = [reply for reply in during if reply.status == 503]
    good = sum(reply.latency_ms <= IN_TIME_MS for reply in answered) / seconds
    others = sum(reply.status not in (200, 503) for reply in (*during, *after))
    well_s = max((reply.at_s - seconds for reply in after if not reply.ok), default=0.0)
    answers, refusals = measured(answered, seconds), measured(refused, seconds)
    kept = sum(reply.ok and reply.latency_ms <= IN_TIME_MS for reply in robbed) / len(robbed)
    name = f"{OVERLOAD} times the peak"
    return [
        row("peak, by wrk", "a second", peak),
        row(f"{name}, in time", "a second", good),
        row(f"{name}, in time / peak", RATIO, good / peak, at_least=0.8),
        row(f"{name}, answers", "a second", answers.rate),
        row(f"{name}, answers", "p50 ms", answers.p50_ms),
        row(f"{name}, answers", "p99 ms", answers.p99_ms, at_most=IN_TIME_MS),
        row(f"{name}, refusals", "a second", len(refused) / seconds),
        row(f"{name}, refusals", "p50 ms", refusals.p50_ms),
        row(f"{name}, refusals", "p99 ms", refusals.p99_ms),
        row("neither answered nor refused", "queries", others, at_most=0),
        row("until all is well again", "s", well_s, at_most=10),
        row("half the peak beside others' bursts, in time", "of sent", kept, at_least=0.9),
    ]


def measure_slow_clients(plan: Plan) -> list[Figure]:
    """Queries at a fixed rate beside slow clients, by the edge and by front alone; tiny model."""
    collection = Collection(plan.folder / "slow-clients", 100, 2)

    def ask(port: int, clients: int) -> Measured:
        seconds = 2 * plan.seconds
        return measured(ask_beside(port, SLOW_RATE, seconds, clients), seconds)

    config = with_section(collection.config, "Middle", cache="off")  # each load has the same texts
    with (
        cluster(config, 1, collection.folder) as services,
        edge(services.front.port, collection.folder, MANY) as port,
    ):
        ports = {"through the edge": port, "front alone": services.front.port}
        through, alone = (
            [
                started(f"{name}, {many} slow clients", partial(ask, at, many))
                for many in SLOW_CLIENTS
            ]
            for name, at in ports.items()
        )
        # Front alone is last and runs once: front may not recover at once.
        runs = take_turns(through, plan.rounds, plan.idle_s) | take_turns(alone, 1, plan.idle_s)
    return report.figures("slow clients", runs)
