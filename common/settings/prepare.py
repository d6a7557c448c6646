"""The section Prepare of config.json."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from common.settings.section import Fraction, Natural, Positive, Section

IndexKind = Literal["hnsw", "compact"]
RegionKind = Literal["none", "grid", "sam"]
Url = Annotated[str, Meta(pattern=r"^(s3://[^/]|file:///)")]
EXCLUDE = (
    ".*",
    "._*",
    ".git/",
    ".thumbnails/",
    ".Trash*/",
    "__MACOSX/",
    "@eaDir/",
    "@Recently-Snapshot/",
    "@Recycle/",
    "\\#recycle/",
    "\\#snapshot/",
    "$RECYCLE.BIN/",
    "$Recycle.Bin/",
    "RECYCLER/",
    "System Volume Information/",
    "lost+found/",
    "Thumbs.db",
    "desktop.ini",
)
"""Hidden files, and what systems, file managers and network storage put beside pictures."""


class Prepare(Section, frozen=True):
    """The offline steps: images to embeddings to index versions."""

    embedding_dir: Annotated[
        str, Meta(description="The folder of the embeddings, in numbered chunks.")
    ] = "data/embeddings"
    index_dir: Annotated[
        str,
        Meta(
            description="The folder of the index files, the manifests and `CURRENT`."
            " `index-dir`, `path-dir` and `hash-dir` must be three different folders."
        ),
    ] = "data/index"
    path_dir: Annotated[
        str, Meta(description="The folder of the images' paths and metadata, by index version.")
    ] = "data/paths"
    hash_dir: Annotated[
        str, Meta(description="The folder of the images' hashes, by index version.")
    ] = "data/hashes"
    index_url: Annotated[
        Url | None,
        Meta(
            description="The object storage of the index versions, as `s3://bucket/prefix`;"
            " null: there is none. prepare uploads each version; search servers fetch their shards"
            " into their three folders. Needs `pip install -r requirements-s3.txt`."
        ),
    ] = None
    feature_dim: Annotated[
        Positive | None,
        Meta(
            description="The dimension that the embeddings must have; null: that of the model."
            " A model of another dimension stops prepare."
        ),
    ] = None
    images: Annotated[
        tuple[str, ...],
        Meta(
            description="What a collection begins with, if the command line names nothing:"
            " folders, tars, lists (`.txt`), tables (`.csv`, `.tsv`, `.jsonl`, `.parquet`) and"
            " files. What is written here later is added; `prepare.py remove` removes."
        ),
    ] = ("samples",)
    max_loss: Annotated[
        Fraction,
        Meta(
            description="The share of its images that a root of the collection may lose in a run,"
            " as if they were deleted. If it lost more, and 10 or more, they stay as offline."
        ),
    ] = 0.2
    exclude: Annotated[
        tuple[str, ...],
        Meta(
            description="Patterns of what is left out of folders, in the syntax of `.gitignore`,"
            " relative to each folder that is named; the last that matches counts. A list here"
            " replaces the default; an empty list leaves out nothing. A file that is named itself,"
            " on the command line, in a list or in a table, is taken all the same."
        ),
    ] = EXCLUDE
    follow_links: Annotated[
        bool,
        Meta(
            description="Whether links that lead out of a folder are followed, each target once."
            " If not, they are left out, and the run says so."
            " A link to what is in the same folder adds nothing either way."
        ),
    ] = False
    chunk_size: Annotated[
        Positive, Meta(description="The images in a chunk, which is the most that a kill can lose.")
    ] = 2048
    batch_size: Annotated[
        Natural,
        Meta(
            description="The images that each copy of the model embeds together; 0: 32 on a GPU,"
            " 4 on a CPU if the weights of the image tower fit into 32 MiB, else 16."
        ),
    ] = 0
    threads: Annotated[
        Natural, Meta(description="Threads that read and decode images; 0: one a core.")
    ] = 0
    renditions: Annotated[
        tuple[Literal["thumbnail", "preview"], ...],
        Meta(
            description="The renditions that prepare makes of each image that it embeds;"
            " front makes the others when they are asked for."
            " They are kept in `Front.rendition-dir`, within `Front.rendition-bytes`."
        ),
    ] = ()
    regions: Annotated[
        RegionKind,
        Meta(
            description="The parts of each image that are embedded beside the whole, so that a part"
            " can find it: `grid` takes five parts of a fixed grid, `sam` the boxes of up to 8"
            " things that `Inference.sam` finds. Each takes the memory of an image in the index."
        ),
    ] = "none"
    index: Annotated[
        IndexKind,
        Meta(
            description="The kind of the next index. `hnsw` is hnswlib."
            " `compact` takes a third of the memory and needs `pip install faiss-cpu`."
        ),
    ] = "hnsw"
    M: Annotated[
        int,
        Meta(
            ge=2,
            le=512,
            description="The links of an image in HNSW's graph."
            " More links find more, and take more memory and time to build.",
        ),
    ] = msgspec.field(default=16, name="M")
    ef_construction: Annotated[
        Positive,
        Meta(
            description="The candidates that HNSW looks at for each image while it builds."
            " More candidates build a better graph, more slowly."
        ),
    ] = 200
    keep_versions: Annotated[
        int,
        Meta(
            ge=2,
            description="The index versions that are kept."
            " The version in use and the one before it always are.",
        ),
    ] = 2
