"""Embed a collection and index it: python prepare/prepare.py [IMAGES ...]."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from common.config import load
from common.process import argument_parser, run
from prepare import build_index, save_embedding
from search.index import ann_module


def main() -> None:
    """Embed the images, then build the index."""
    parser = argument_parser(__doc__)
    save_embedding.add_arguments(parser)
    arguments = parser.parse_args()
    loaded = load(arguments.config)
    ann_module(loaded.config.prepare.index)  # a missing package stops the run before the work
    outcome = save_embedding.save_embeddings(
        loaded, save_embedding.inputs_of(loaded, arguments.images)
    )
    save_embedding.report(outcome, list_left_out=arguments.list_left_out)
    build_index.report(build_index.build(loaded))
    save_embedding.check(outcome, arguments.max_bad)


if __name__ == "__main__":
    run(main)
