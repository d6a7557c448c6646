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
    if not isinstance(tower, VisionTransformer | TextTransformer) or not _is_clip(tower):
        return tower
    # Their weights are not copied, as deepcopy is told that it has done so.
    tower = deepcopy(tower, {id(weights): weights for weights in tower.parameters()})
    last = tower.transformer.resblocks[-1]
    last.ln_1_kv = nn.Identity()  # has the block take keys and values, normalized already
    if isinstance(tower, TextTransformer):
        return PooledText(tower)
    last.register_forward_pre_hook(
        lambda block, given: _queries_keys_values(block, given[0][:, :1], given[0])
    )
    return tower


def _is_clip(tower: VisionTransformer | TextTransformer) -> bool:
    """Whether the embedding is made of one token, of a block that is known here."""
    if tower.output_tokens or type(tower.transformer.resblocks[-1]) is not ResidualAttentionBlock:
        return False
    if isinstance(tower, VisionTransformer):
        return tower.pool_type == "tok" and tower.attn_pool is None
    is_causal = tower.attn_mask is not None
    return tower.pool_type == "argmax" and tower.cls_emb is None and is_causal


def _queries_keys_values(
    block: nn.Module, queries: Tensor, tokens: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The arguments of a block that computes `queries`, some of its tokens [n, length, width]."""
    seen = block.ln_1(tokens)
    return queries, seen, seen


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
        wanted = _queries_keys_values(last, tokens[rows, ends].unsqueeze(1), tokens)
        pooled = last(*wanted, attn_mask=mask)
        pooled = tower.ln_final(pooled.squeeze(1))
        if tower.text_projection is None:
            return pooled
        if isinstance(tower.text_projection, nn.Linear):
            return tower.text_projection(pooled)
        return pooled @ tower.text_projection
