"""Images and texts a second of each runtime and precision, beside torch eager.

The models are the model of the configuration and the measured model. All runtimes of a model take
turns, so other load on the machine affects them equally.
"""

import gc
import statistics
from collections.abc import Callable, Iterator
from functools import partial

from msgspec.structs import replace

from benchmarks import report
from benchmarks.plan import Plan
from benchmarks.report import Figure
from benchmarks.scenarios.inference import Tower, image_call, text_call
from benchmarks.turns import Load, started, take_turns
from common.config import Inference
from common.errors import ConfigError
from devtools import loads
from devtools.words import query
from inference.clip.encoders import TokenTextTower
from inference.clip.model import load_model
from inference.clip.model_files import read_layout
from inference.clip.registry import find_model

RUNTIMES = {
    "cpu": (
        *("torch:fp32", "torch:bf16", "onnxruntime:fp32", "onnxruntime:int8"),
        *("openvino:fp32", "openvino:bf16", "openvino:int8"),
    ),
    "cuda": (
        *("torch:fp32", "torch:fp16", "torch:bf16"),
        *("onnxruntime:fp32", "onnxruntime:fp16", "tensorrt:fp16"),
    ),
}
SHOWN = {"torch": "torch eager", "torch-compile": "torch compiled"}
EAGER = "torch eager fp32"
Cell = tuple[str, str]  # row and column of the table
BATCHES: dict[Tower, tuple[int, ...]] = {"image": (1, 8, 32), "text": (1, 8, 64)}
TEXTS = 256  # enough for every length of a query


def measure(plan: Plan) -> list[Figure]:
    """Each model in each runtime of the device."""
    found: list[Figure] = []
    settings, card_per_s = replace(plan.inference, device=plan.device, replicas=1), 0.0
    if plan.device != "cpu":
        from devtools.matmul import device_name, matmul_flop_per_s

        card_per_s = matmul_flop_per_s(plan.device)
        name, measure = device_name(plan.device), "float16 operations/s in matrix products"
        print(f"{name}: {card_per_s:.4g} {measure}", flush=True)
        found.append(Figure("card", name, measure, card_per_s))
    for name in dict.fromkeys((plan.configured, settings.clip)):
        found += _measure(plan, replace(settings, clip=name), card_per_s)
        gc.collect()  # frees memory for the next model
    return found


def _measure(plan: Plan, settings: Inference, card_per_s: float) -> list[Figure]:
    """A row for each runtime, a column for each tower and batch size."""
    folder, opened = find_model(settings.clip, plan.loaded.root), dict(_open(plan, settings))
    contenders = [started(", ".join(cell), load) for cell, load in opened.items()]
    runs = take_turns(contenders, 5 * plan.rounds // 2, plan.idle_s)
    image_flop, found = None, []
    if card_per_s:
        from devtools.matmul import flop_per_image

        image_flop = flop_per_image(folder)
    for runtime, column in opened:
        notes, rates = [], [run.rate for run in runs[f"{runtime}, {column}"]]
        if eager := runs.get(f"{EAGER}, {column}"):
            ratios = [rate / run.rate for rate, run in zip(rates, eager, strict=True)]
            notes.append(f"{statistics.median(ratios):.2f}x")
        if image_flop and column.startswith("image"):
            notes.append(f"{statistics.median(rates) * image_flop / card_per_s:.1%}")
        name, note = f"{folder.name}, {runtime}", ", ".join(notes)
        found.append(report.median("runtimes", name, column, rates, note=note))
    return found


def _open(plan: Plan, settings: Inference) -> Iterator[tuple[Cell, Load]]:
    """The load of each cell; prints why a runtime is left out."""
    for name in plan.runtimes:
        runtime, _, precision = name.partition(":")
        shown = f"{SHOWN.get(runtime, runtime)} {precision}"
        try:
            calls = _calls(plan, replace(settings, runtime=runtime, precision=precision), shown)
            for cell, size, call in calls:
                call()  # some runtimes compile for each new shape
                yield cell, partial(loads.loop, call, size, plan.seconds / 16)
        except ConfigError as error:
            print(f"left out: {shown}: {error}", flush=True)


def _calls(
    plan: Plan, settings: Inference, shown: str
) -> Iterator[tuple[Cell, int, Callable[[], object]]]:
    """Calls that embed images and texts; for torch eager also texts padded as in open_clip."""
    model = load_model(settings.clip, settings, plan.loaded.root)
    if image := model.image:
        for size in plan.batches or BATCHES["image"]:
            call = image_call(image, model.blank(), size)
            yield (shown, f"images/s, batch {size}"), size, call
    if not isinstance(text := model.text, TokenTextTower):
        return
    texts = [text.prepare(query(number)).value for number in range(TEXTS)]
    padded = {shown: texts}
    if image and shown == EAGER:  # M-CLIP has no image tower, and pads to the longest text
        layout = read_layout(find_model(settings.clip, plan.loaded.root))
        length = layout.config.text_cfg.context_length
        padded[f"{shown}, padded"] = [ids + [text.pad_id] * (length - len(ids)) for ids in texts]
    for runtime, values in padded.items():
        for size in plan.batches or BATCHES["text"]:
            yield (runtime, f"texts/s, batch {size}"), size, text_call(text, values, size)
