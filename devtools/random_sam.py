"""Checkpoints of Segment Anything with random weights; it needs requirements-torch.txt."""

from pathlib import Path

import torch

from inference.exporting.sam_export import new_sam

SPREADS = {"attention_biases": 0.5, "rel_pos": 0.02, "pos_embed": 0.02}
"""The deviation of weights that are zero in a new model, by a part of their names."""


def write_checkpoint(architecture: str, path: Path, seed: int = 0) -> None:
    """Write random weights of an architecture: vit_b, vit_l, vit_h, or vit_t, MobileSAM's."""
    torch.manual_seed(seed)
    model = new_sam(architecture)
    for name, weights in model.named_parameters():
        for part, spread in SPREADS.items():
            if part in name:
                torch.nn.init.normal_(weights, std=spread)
    torch.save(model.state_dict(), path)
