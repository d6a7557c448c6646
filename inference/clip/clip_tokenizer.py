"""Converting OpenAI's CLIP tokenizer from open_clip's vocabulary to a tokenizer.json."""

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, processors

PATTERN = r"(?i)'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""The pattern of a word; source: open_clip/tokenizer.py, SimpleTokenizer."""


def write_clip_tokenizer(path: Path, original: Any) -> None:
    """Write open_clip's SimpleTokenizer `original` as a tokenizer.json."""
    merges = sorted(original.bpe_ranks, key=original.bpe_ranks.__getitem__)
    model = models.BPE(vocab=original.encoder, merges=merges, end_of_word_suffix="</w>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    start, end = original.all_special_ids
    names = {original.decoder[number]: number for number in (start, end)}
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in names])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=" ".join(("{} $A {}").format(*names).split()), special_tokens=list(names.items())
    )
    whole = json.loads(tokenizer.to_str())
    # Each merge becomes one string, as in older files: the file is a third smaller.
    whole["model"]["merges"] = [" ".join(pair) for pair in whole["model"]["merges"]]
    path.write_text(json.dumps(whole, ensure_ascii=False, separators=(",", ":")))
