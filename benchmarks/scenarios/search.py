"""Text to ten hits under load, beside other projects and beside the limits.

All contenders are started once and take turns under the same load. During a load, some answers are
compared with exact search.
"""

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import urllib3

from benchmarks import peers, report
from benchmarks.baseline import running_baseline
from benchmarks.plan import K, Plan, queries
from benchmarks.report import RATIO, Figure
from benchmarks.scenarios.inference import LOOP, text_loop
from benchmarks.turns import Contender, Load, Runs, started, take_turns, with_cpu
from common.config import CHECKOUT, parse
from common.server.serve import threads_for
from common.wire import Matrix
from devtools import loads, vectors
from devtools.loads import Measured
from devtools.services import Service, cluster, running, with_section
from devtools.vector_collection import index_folders
from inference.clip.session import variant_path
from search import hnsw
from search.ann_index import AnnPaths
from search.index import ef_of_shard
from search.manifest import SEGMENTS, manifest_in_use

SECTION = "search"
SAMPLES = 60  # answers of each run that are compared with exact search
BATCH = 64
MIDDLE = "middle, {} shards in {} servers"
FAST = ", fast"  # with the settings of docs/guide/deploy.md
CACHED = "the same query each time, cached"
FLASK = "limit: bare Flask under the same gunicorn"
HNSWLIB = "limit: hnswlib in a loop, {} shards"
TEXT = "a lighthouse at dusk"
FRESH = "Cache-Control: no-cache"


def measure(plan: Plan) -> list[Figure]:
    """Our services with each number of shards, other projects, and the limits."""
    ours: list[Contender] = []
    truth, texts, limits = plan.truth(), queries(), []
    batches = plan.model.encode_text(list(itertools.islice(texts, 16 * BATCH)))
    with ExitStack() as stack:
        for shards in plan.shards:
            for servers in sorted({1, shards}):
                ours += _middles(plan, stack, truth, texts, shards, servers)
            limits.append(started(HNSWLIB.format(shards), hnswlib_alone(plan, shards, batches)))
        ours += http_servers(plan, stack)
        old = running_baseline(plan.model_folder, truth, shards, plan.folder / "baseline")
        middle, pids = stack.enter_context(old)
        theirs = checked_load(plan, truth, queries(), pids, middle, "/search")
        others = [started("baseline", theirs), *peers.contenders(plan, truth)]
        limits += [started(FLASK, bare_flask(plan, stack)), text_loop(plan)]
        runs = take_turns([*ours, *others, *limits], plan.rounds, plan.idle_s)
    return [*report.figures(SECTION, runs), *ratios(runs, shards)]


def _middles(
    plan: Plan, stack: ExitStack, truth: Matrix, texts: Iterator[str], shards: int, servers: int
) -> Iterator[Contender]:
    """Middle over one index by the defaults and by the fast settings; then front."""
    name, config = MIDDLE.format(shards, servers), plan.config(shards)
    for suffix, settings in {FAST: _fast(config, plan.model_folder), "": config}.items():
        services = stack.enter_context(cluster(settings, servers, plan.folder))
        checked = partial(checked_load, plan, truth, texts, services.pids)
        yield started(name + suffix, checked(services.middle, "/search"))
    yield started(f"front{name.removeprefix('middle')}", checked(services.front, "/v1/search"))


def _fast(config: dict[str, Any], model: Path) -> dict[str, Any]:
    """`config` with granian, and int8 if this CPU computes it faster than bf16."""
    if find_spec("granian"):
        config = with_section(config, "Process", server="granian")
    is_exported = variant_path(model / "textual/model.onnx", "int8").is_file()
    if is_exported and "amx_bf16" not in Path("/proc/cpuinfo").read_text(encoding="ascii"):
        config = with_section(config, "Inference", runtime="onnxruntime", precision="int8")
    return config


def checked_load(
    plan: Plan,
    truth: Matrix,
    texts: Iterator[str],
    pids: Mapping[str, Sequence[int]],
    service: Service,
    path: str,
) -> Load:
    """Queries that never repeat; some more answers are compared with exact search."""
    send = partial(loads.wrk, f"http://{service.address}{path}", loads.bodies(texts), plan.folder)
    loads.warm_up(send, plan.seconds)

    def measure() -> Measured:
        samples, answers = list(itertools.islice(texts, SAMPLES)), {}
        with ThreadPoolExecutor(1) as pool:
            wrk = pool.submit(send, plan.seconds)
            for text in samples:
                if wrk.done():
                    break
                answers[text] = _paths(service, path, text)
        found = vectors.recall(truth, plan.model, answers, K)
        return wrk.result()._replace(checked=len(answers), recall=found)

    return with_cpu(measure, pids)


def _paths(service: Service, path: str, text: str) -> list[str]:
    """The paths of the hits of a text; none after a failure."""
    with suppress(urllib3.exceptions.HTTPError):
        reply = service.request("POST", path, json={"text": text, "k": K})
        if reply.status == 200:
            return [hit["path"] for hit in reply.json()["hits"]]
    return []


def http_servers(plan: Plan, stack: ExitStack) -> Iterator[Contender]:
    """One shard with a cache, under each HTTP server and from another checkout."""
    body, vector = plan.folder / "same.json", plan.folder / "vector.json"
    body.write_text(json.dumps({"text": TEXT}))
    vector.write_text(json.dumps({"embedding": plan.model.encode_text([TEXT])[0].tolist()}))
    config = plan.config(1, cache="memory")
    systems = {"": (config, CHECKOUT)}
    if find_spec("granian"):
        systems[", granian"] = (with_section(config, "Process", server="granian"), CHECKOUT)
    else:
        print("left out: granian: pip install -r requirements-granian.txt", flush=True)
    if plan.beside:
        systems[f", {plan.beside}"] = (config, plan.beside.resolve())
    for name, (config, checkout) in systems.items():
        services = stack.enter_context(cluster(config, 1, plan.folder, checkout=checkout))
        middle = f"http://{services.middle.address}/search"
        front = f"http://{services.front.address}/v1/search?text={quote(TEXT)}"
        texts = partial(loads.wrk, middle, loads.bodies(queries()), plan.folder, plan.seconds)
        sent: dict[str, Load] = {
            f"middle, {CACHED}": repeated(plan, middle, body),
            f"front, {CACHED}": repeated(plan, front),
            "middle, a vector, not cached": repeated(plan, middle, vector, header=FRESH),
            "middle, unique texts, into the cache": texts,
        }
        for what, load in sent.items():
            yield started(f"{what}{name}", with_cpu(load, services.pids))


def repeated(plan: Plan, url: str, body: Path | None = None, **options: Any) -> Load:
    """The same request again and again by ab, after a warm-up."""
    loads.ab(url, plan.seconds / 8, body, **options)
    return lambda: loads.ab(url, plan.seconds, body, **options)


def bare_flask(plan: Plan, stack: ExitStack) -> Load:
    """A bare Flask app under the gunicorn of middle, for the same POST each time."""
    body, middle = plan.folder / "hello.json", plan.loaded.config.middle
    body.write_text(json.dumps({"text": "hello"}))
    threads = threads_for("Middle", middle.max_in_flight, None)
    config = {"role": "hello", "workers": middle.workers, "threads": threads}
    service = stack.enter_context(running("benchmarks/baseline.py", config))
    load = repeated(plan, f"http://{service.address}/search", body)
    return with_cpu(load, {"middle": [service.process.pid]})


def hnswlib_alone(plan: Plan, shards: int, vectors: Matrix) -> Load:
    """hnswlib in a loop over all shards in turn, with the settings of a search server."""
    config = plan.config(shards)
    search, folders = parse(msgspec.json.encode(config)).search, index_folders(config)
    manifest = manifest_in_use(folders)
    where = folders.index / SEGMENTS
    indexes = [
        (hnsw.load(AnnPaths(where / files.index.name), manifest.dim, files.count), files.count)
        for files in manifest.segments
    ]
    ef, threads = ef_of_shard(search.ef_search, shards), search.threads or os.cpu_count() or 1
    batches = itertools.cycle(vectors.reshape(-1, BATCH, manifest.dim))

    def call() -> None:
        batch = next(batches)
        for index, count in indexes:
            index.nearest(batch, min(K, count), ef, threads)

    return lambda: loads.loop(call, BATCH, plan.seconds)


def ratios(runs: Runs, shards: int) -> list[Figure]:
    """Our services beside other projects and the limits, round by round, of what was measured."""
    single, ours, spread = (MIDDLE.format(*of) for of in ((1, 1), (shards, 1), (shards, shards)))
    wanted = (
        (ours + FAST, "clip-as-service", 25),
        (ours, "clip-as-service", None),
        (ours, "clip-retrieval", None),
        (ours, "baseline", 8),
        (ours, single, 0.5),
        (spread, ours, None),
        (f"middle, {CACHED}", FLASK, 1.0),
        (f"front, {CACHED}", FLASK, 0.8),
    )
    median = partial(report.median, SECTION)
    found = [figure for each in wanted for figure in report.ratio(SECTION, runs, *each)]
    for name, (count, aim) in {single: (1, 0.8), ours: (shards, 0.75)}.items():
        # The limit is the sum of the times of the model, hnswlib and Flask.
        parts = (LOOP.format("text"), HNSWLIB.format(count), FLASK)
        if not {name, *parts} <= runs.keys():
            continue
        each_round = zip(*(runs[part] for part in parts), strict=True)
        costs = [sum(1 / run.rate for run in each) for each in each_round]
        shares = [run.rate * cost_s for run, cost_s in zip(runs[name], costs, strict=True)]
        found.append(median(f"{name} / (model + hnswlib + Flask)", RATIO, shares, at_least=aim))
    if single in runs:
        pairs = zip(runs[single], runs[ours], strict=True)
        lost = [(alone.recall or 0) - (many.recall or 0) for alone, many in pairs]
        found.append(median(f"recall lost by {shards} shards", "share", lost, at_most=0.01))
    for name, aim in {spread: 330.78, ours: 400}.items():  # the former is the original's rate
        rates = [run.rate for run in runs[name + FAST]]
        found.append(median(f"{name}{FAST}", "a second", rates, at_least=aim))
    return found
