"""How much of what a device can multiply an image tower uses; needs requirements-torch.txt."""

import json
import statistics
import time
from pathlib import Path

from common.errors import MissingPackage

try:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from inference.exporting.torch_models import load_tower
except ImportError as error:
    raise MissingPackage(
        f"there is no {error.name}: pip install -r requirements-torch.txt"
    ) from None

SIZE = 8192
"""Of the square matrices: large enough that a data-centre card is busy all the time."""
ROUNDS = 5
CALLS = 20


def device_name(device: str) -> str:
    """What an NVIDIA device is called."""
    return str(torch.cuda.get_device_name(device))


def matmul_flop_per_s(device: str, size: int = SIZE) -> float:
    """The measured rate of float16 matrix products, two operations for each product and sum."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.float16) for _ in range(2))
    rates = []
    for _ in range(ROUNDS + 1):
        began = _now(device)
        for _ in range(CALLS):
            torch.mm(a, b)
        rates.append(CALLS * 2 * size**3 / (_now(device) - began))
    return statistics.median(rates[1:])  # the first warms up


def _now(device: str) -> float:
    """The time at which all that was asked of the device is done."""
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def flop_per_image(folder: Path) -> int | None:
    """What one image costs the tower of an exported model; None without torch's weights."""
    weights = folder / "visual/model.safetensors"
    if not weights.is_file():
        return None
    tower = load_tower(weights, json.loads((folder / "config.json").read_bytes()))
    size = json.loads((folder / "visual/preprocess_cfg.json").read_bytes())["size"]
    height, width = (size, size) if isinstance(size, int) else size
    # Attention must be two matrix products: the counter does not know every kernel that is all of
    # it. Torch takes one on its own where there are no gradients, and new ones where there are.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        tower(torch.zeros(1, 3, height, width))
    return int(counter.get_total_flops())
