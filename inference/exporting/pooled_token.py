"""CLIP's towers without what nobody reads: the last block computes the pooled token alone.

An embedding is made of one token of the last block: the class token of an image, the end of a text.
All others only give that block keys and values. The embeddings stay what they are, but for
rounding.
"""

from copy import deepcopy

import torch
from open_clip.transformer import ResidualAttentionBlock, TextTransformer, VisionTransformer
from torch import Tensor, nn


def pool_early(tower: nn.Module) -> nn.Module:
    """A tower with the same weights and another last block; `tower` itself if it is not CLIP's."""
    if not isinstance(tower, VisionTransformer | TextTransformer) or tower.output_tokens:
        return tower
    last = tower.transformer.resblocks[-1]
    if type(last) is not ResidualAttentionBlock:
        return tower
    if isinstance(tower, TextTransformer):
        is_clip = tower.pool_type == "argmax" and tower.cls_emb is None
        if not is_clip or tower.attn_mask is None:
            return tower
    elif tower.pool_type != "tok" or tower.attn_pool is not None:
        return tower
    # Their weights are not copied, as deepcopy is told that it has done so.
    tower = deepcopy(tower, {id(weights): weights for weights in tower.parameters()})
    last = tower.transformer.resblocks[-1]
    last.ln_1_kv = nn.Identity()  # has the block take keys and values, which are normal already
    if isinstance(tower, TextTransformer):
        return PooledText(tower)
    last.register_forward_pre_hook(lambda block, given: _asking(block, given[0][:, :1], given[0]))
    return tower


def _asking(block: nn.Module, some: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a block is called with to compute `some` of its tokens, [n, length, width]."""
    seen = block.ln_1(tokens)
    return some, seen, seen


class PooledText(nn.Module):
    """A causal text tower, whose pooled token is the end of the text: the greatest id."""

    def __init__(self, tower: TextTransformer) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, text: Tensor) -> Tensor:
        """Token ids, int64 [n, length], to [n, dim]."""
        tower, (count, length) = self.tower, text.shape
        *blocks, last = tower.transformer.resblocks
        mask = tower.attn_mask[:length, :length]
        tokens = tower.token_embedding(text) + tower.positional_embedding[:length]
        for block in blocks:
            tokens = block(tokens, attn_mask=mask)
        rows, ends = torch.arange(count, device=text.device), text.argmax(dim=-1)
        mask = mask[ends].repeat_interleave(last.attn.num_heads, dim=0).unsqueeze(1)
        pooled = last(*_asking(last, tokens[rows, ends].unsqueeze(1), tokens), attn_mask=mask)
        pooled = tower.ln_final(pooled.squeeze(1))
        if tower.text_projection is None:
            return pooled
        if isinstance(tower.text_projection, nn.Linear):
            return tower.text_projection(pooled)
        return pooled @ tower.text_projection
