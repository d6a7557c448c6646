"""Every section of `make bench`, measured small: what it prints and what it leaves."""

import json
import statistics
from pathlib import Path

import pytest

from devtools.collection import Collection
from devtools.services import run_command
from tests.benchmarks.commands import TARGETS, Tables, bench, not_printed
from tests.nginx import skip_without_nginx

CACHED = "the same query each time, cached"
FLASK = "limit: bare Flask under the same gunicorn"


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """The tiny model; what the benchmarks generate is kept beside it."""
    return Collection(tmp_path_factory.mktemp("benchmarks"), images=3, shards=1)


def measured(collection: Collection, *arguments: str) -> tuple[Tables, str]:
    """What some sections print."""
    return bench(collection.folder, {"Inference": {"clip": "tiny", "mclip": None}}, *arguments)


def number(cell: str) -> float:
    return float(cell.strip("*"))


def test_search_stands_beside_others_and_limits(collection: Collection) -> None:
    """All answer rightly, also the baseline; ratios are of the rates; the peers say why not."""
    tables, output = measured(collection, "--only", "search")
    rows, targets = tables["search"], tables[TARGETS]
    rates = {name: number(row["queries/s"]) for name, row in rows.items()}

    layouts = ("1 shards in 1 servers", "2 shards in 1 servers", "2 shards in 2 servers")
    ours = {f"{name}, {layout}" for name in ("middle", "front") for layout in layouts}
    ours |= {f"middle, {layout}, fast" for layout in layouts}
    cached = {f"{who}, {CACHED}" for who in ("middle", "front")}
    others = {"middle, a vector, not cached", "middle, unique texts, into the cache", "baseline"}
    limits = {f"limit: hnswlib in a loop, {count} shards" for count in (1, 2)}
    limits |= {FLASK, "limit: texts in a loop"}
    assert ours | cached | others | limits == {name for name in rows if "granian" not in name}
    assert {"1"} == {rows[name]["recall@10"] for name in (*ours, "baseline")}
    assert {"0"} == {row["errors"] for row in rows.values() if "errors" in row}
    assert all(rate > 0 for rate in rates.values())
    for name, row in rows.items():
        services = [number(row[each]) for each in row if each.startswith("CPU ms, ")]
        assert not services or sum(services[:-1]) == pytest.approx(services[-1], rel=0.01), name
    for name, to in (("middle, 2 shards in 1 servers", "baseline"), (f"middle, {CACHED}", FLASK)):
        figure = number(targets[f"search: {name} / {to}: ratio"]["value"])
        assert figure == pytest.approx(rates[name] / rates[to], rel=0.01)
    assert "search: middle, 2 shards in 1 servers / (model + hnswlib + Flask): ratio" in targets
    assert "0" == targets["search: recall lost by 2 shards: share"]["value"]
    assert set() == not_printed(tables, "search")
    assert "left out: clip-as-service: only the random ViT-B-32 is measured" in output


def test_inference_is_held_against_the_model_of_the_same_round(collection: Collection) -> None:
    """Every way to embed runs, and each text and photo is answered."""
    tables, _ = measured(collection, "--only", "inference")
    rows, targets = tables["inference"], tables[TARGETS]

    for tower in ("texts", "images"):
        ways = (f"{tower} over HTTP, 64 clients", f"{tower} over HTTP, 1 client")
        assert ["0", "0"] == [rows[way]["errors"] for way in ways]
        assert f"inference: {ways[0]} / limit: {tower} in a loop: ratio" in targets
        assert f"inference: {ways[1]}: ms that HTTP adds" in targets
        assert number(rows[f"{tower} in process, one by one"]["texts or images/s"]) > 0
    assert set() == not_printed(tables, "inference")


def test_clip_client_is_answered(collection: Collection) -> None:
    """By the gateway, texts and images; the peer says why it is left out."""
    tables, output = measured(collection, "--only", "gateway")

    rates = {name: number(row["a second"]) for name, row in tables["gateway"].items()}
    assert {"texts, gateway, fp32", "images, gateway, fp32"} == set(rates)
    assert all(rate > 0 for rate in rates.values())
    assert "left out: clip-server, fp32: only the random ViT-B-32 is measured" in output


def test_a_collection_is_embedded_and_indexed(collection: Collection) -> None:
    """Of each kind of index there is what it takes and finds; each target has its answer."""
    tables, _ = measured(collection, "--only", "prepare,index")
    targets = tables[TARGETS]

    rates = {name: number(row["images/s"]) for name, row in tables["prepare"].items()}
    # Of so few photos the start takes all the time: on busy cores it may take even more.
    del rates["save_embedding, once started"]
    assert 3 == len(rates)
    assert all(rate > 0 for rate in rates.values())
    assert "prepare: save_embedding, once started / the model alone: ratio" in targets
    unchanged = targets["prepare: save_embedding of 30 images, none of them changed: s"]
    assert "<= 5" == unchanged["target"]
    assert ["hnsw", "compact", "compact, M 12"] == list(tables["index"])
    for row in tables["index"].values():
        assert number(row["recall@10, ef 64"]) > 0.9
        assert number(row["built/s"]) > 0
        assert number(row["queries/s"]) > 0
    assert (">= 0.98", "yes") == tuple(targets["index: compact: recall@10, ef 64"].values())[1:]
    memory = targets["index: compact: bytes/vector in memory"]
    assert "<= 700" == memory["target"]
    assert memory["value"] == tables["index"]["compact"]["bytes/vector in memory"]
    assert set() == not_printed(tables, "prepare") | not_printed(tables, "index")


def test_systems_grow(collection: Collection) -> None:
    """In vectors and in workers; no query is lost, and each search server counts its memory."""
    arguments = ("--only", "growth,workers", "--workers", "1", "2")
    tables, _ = measured(collection, *arguments)

    assert [f"{count} vectors, 1 shards" for count in ("30", "300", "3,000")] == list(
        tables["growth"]
    )
    for row in tables["growth"].values():
        assert "0" == row["errors"]
        assert number(row["queries/s"]) > 0
        assert 0 < number(row["alone p50 ms"]) <= number(row["alone p99 ms"])
        assert number(row["search servers, MiB"]) > 30
        assert number(row["CPU ms, search"]) > 0
        assert number(row["start s"]) > 0
        assert number(row["silence at a swap, ms"]) > 0
        assert number(row["silence, s a GB of a shard"]) > 0
    assert set() == not_printed(tables, "growth")
    assert ["1 workers", "2 workers"] == list(tables["workers"])
    assert ["0", "0"] == [row["errors"] for row in tables["workers"].values()]
    assert all(number(row["req/s"]) > 0 for row in tables["workers"].values())


def test_queries_come_when_they_come(collection: Collection) -> None:
    """At shares of the peak; far above it, where all are answered or refused; beside the slow."""
    skip_without_nginx()
    arguments = ("--only", "open-loop,overload,slow-clients", "--seconds", "0.1")
    tables, _ = measured(collection, *arguments, "--shards", "1")
    targets = tables[TARGETS]

    rows = tables["open loop"]
    assert [f"{share} % of the peak" for share in (25, 50, 75, 100)] == list(rows)
    for row in rows.values():
        assert "1" == row["recall@10"]
        assert number(row["p50 ms"]) <= number(row["p99 ms"]) <= number(row["p99.9 ms"])
    spread = targets["open loop: 50 % of the peak: p99 / p50: ratio"]
    assert "<= 3" == spread["target"]
    assert "target" not in targets["open loop: 25 % of the peak: p99 / p50: ratio"]
    assert set() == not_printed(tables, "open loop")
    assert any("resident memory, all services" in name for name in targets)
    rows = tables["overload"]
    sent = number(rows["peak, by wrk"]["a second"]) * 3
    told = [
        number(rows[f"3 times the peak, {what}"]["a second"]) for what in ("answers", "refusals")
    ]
    assert sum(told) == pytest.approx(sent, rel=0.02)
    assert "0" == targets["overload: neither answered nor refused: queries"]["value"]
    for who in ("through the edge", "front alone"):
        assert "100" == tables["slow clients"][f"{who}, 0 slow clients"]["queries/s"]
        assert f"{who}, 200 slow clients" in tables["slow clients"]


def test_runtimes_that_cannot_be_had_are_left_out(collection: Collection) -> None:
    """The reason is printed, the others have a figure for each column, and the file has all."""
    tables, output = measured(collection, "--only", "runtimes", "--seconds", "0.01")

    assert "left out: onnxruntime int8: no model.int8.onnx" in output
    cells = tables["runtimes"]["tiny, onnxruntime fp32"]
    columns = [f"images/s, batch {size}" for size in (1, 8, 32)]
    assert [*columns, *(f"texts/s, batch {size}" for size in (1, 8, 64))] == list(cells)
    assert not [name for name in not_printed(tables, "runtimes") if "/s, batch" in name]
    path = Path(output.split()[-1])
    kept = json.loads(path.read_bytes())
    assert collection.folder / "data/benchmarks/results" == path.parent
    assert {"date", "commit", "machine", "versions", "settings", "config"} <= set(kept)
    assert "openvino" in kept["versions"]
    several = [figure for figure in kept["results"] if figure["runs"]]
    assert len(several) >= 6
    for figure in several:
        assert 2 == len(figure["runs"])
        assert figure["value"] == pytest.approx(statistics.median(figure["runs"]))


@pytest.mark.parametrize(
    "arguments",
    [("--only", "serach"), ("--rounds", "0"), ("--seconds", "0"), ("--model", "none")],
)
def test_what_cannot_be_ends_in_one_line(tmp_path: Path, arguments: tuple[str, str]) -> None:
    """A section or a model that nobody knows, or no rounds: exit status 2."""
    done = run_command("benchmarks/bench.py", {}, *arguments, cwd=tmp_path)

    assert 2 == done.returncode, done.stderr
    assert "error: " in done.stderr
