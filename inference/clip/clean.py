"""Text cleaning before tokenization, as in open_clip's tokenizers."""

import html
import string
from typing import Literal

import ftfy

Cleaning = Literal["lower", "whitespace", "canonicalize", "none"]
"""The names are open_clip's (`tokenizer_kwargs.clean`); with none, the text stays unchanged."""

_WITHOUT_PUNCTUATION = str.maketrans("_", " ", string.punctuation.replace("_", ""))


def clean(text: str, cleaning: Cleaning) -> str:
    """Clean a text as the model's training did; source: open_clip/tokenizer.py."""
    if cleaning == "none":
        return text
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    if cleaning == "canonicalize":
        text = text.translate(_WITHOUT_PUNCTUATION)
    text = " ".join(text.split())
    return text if cleaning == "whitespace" else text.lower()
