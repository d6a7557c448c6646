"""The tasks of a plan of chunks: each embeds the images of one chunk, or their regions."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import cached_property

import numpy as np

from common.config import Loaded
from common.errors import ConfigError
from common.images.renditions import RenditionFolder
from inference.clip.images import Preprocessing
from inference.clip.model import Model, load_model, space_of_model
from prepare.chunks import Chunk, ChunkPlan, ChunkResult, write_files
from prepare.embed import Decoding, Embedding, embed_chunk, embedding_on_threads, image_side
from prepare.key_table import KeySet
from prepare.members import Member
from prepare.plans import OtherPlan, PlanFolder
from prepare.progress import Progress
from prepare.regions import embed_regions_of, region_reader, region_space
from prepare.sources import Source

Copies = list[tuple[str, str]]


class Embedder:
    """Does tasks of plans of chunks; the model is loaded for the first of them."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._model: Model | None = None

    @cached_property
    def space(self) -> str:
        """The space of the model; raises ConfigError."""
        return space_of_model(self._loaded.config.inference.clip, self._loaded.root)

    def work(self, plan: PlanFolder, numbers: Sequence[int]) -> None:
        """Embed some chunks of a plan that are not done yet; raises ConfigError, OtherPlan."""
        if not numbers:
            return
        head = plan.head(ChunkPlan)
        if head.space not in (self.space, region_space(self.space, head.regions)):
            raise OtherPlan("config: Inference.clip is not the model of the plan")
        model = self._load()
        tower, preprocessing = image_side(model)
        what = "embedding" if head.regions == "none" else f"embedding regions ({head.regions})"
        with (
            embedding_on_threads(tower, self._loaded.config.prepare) as (pool, embedding),
            Progress(what, sum(head.sizes[number] for number in numbers)) as progress,
        ):
            if head.regions == "none":
                embed = self._images(plan, preprocessing, pool, embedding, progress.add)
            else:
                embed = self._regions(plan, head, preprocessing, pool, embedding, progress.add)
            for number in numbers:
                if not plan.is_done(number):  # by another process with the same part
                    _write(plan, number, head, model.name, *embed(number))

    def _images(
        self,
        plan: PlanFolder,
        preprocessing: Preprocessing,
        pool: Executor,
        embedding: Embedding,
        tell: Callable[[int], None],
    ) -> Callable[[int], tuple[Chunk, Copies]]:
        config, root = self._loaded.config, self._loaded.root
        decoding = Decoding(
            *(root, preprocessing, config.inference.max_pixels, *self._renditions()),
            known=KnownContents(plan.shared()),
        )

        def embed(number: int) -> tuple[Chunk, Copies]:
            files = plan.task(number, list[Source])
            chunk, copies = embed_chunk(files, decoding, pool, embedding, tell)
            return chunk, [(copy.source.path, copy.content) for copy in copies]

        return embed

    def _regions(
        self,
        plan: PlanFolder,
        head: ChunkPlan,
        preprocessing: Preprocessing,
        pool: Executor,
        embedding: Embedding,
        tell: Callable[[int], None],
    ) -> Callable[[int], tuple[Chunk, Copies]]:
        read = region_reader(self._loaded, preprocessing, head.regions)

        def embed(number: int) -> tuple[Chunk, Copies]:
            members = plan.task(number, list[Member])
            chunk = embed_regions_of(members, read, pool, embedding)
            tell(len(members))
            return chunk, []

        return embed

    def _load(self) -> Model:
        """The model of the images; raises ConfigError, for another dimension than is wanted too."""
        if self._model is None:
            loaded, settings = self._loaded, self._loaded.config.inference.of("clip")
            name, root = settings.clip, loaded.root
            model = load_model(name, settings, root, text=False, space=self.space)
            wanted = loaded.config.prepare.feature_dim
            if wanted not in (None, model.dim):
                raise ConfigError(
                    f"config: Prepare.feature-dim is {wanted}, but {model.name} gives {model.dim}"
                    " numbers"
                )
            self._model = model
        return self._model

    def _renditions(self) -> tuple[RenditionFolder, list[int]]:
        """Where renditions are kept, and the sizes of those that are made here."""
        front = self._loaded.config.front
        pixels = {"thumbnail": front.thumbnail_pixels, "preview": front.preview_pixels}
        folder = RenditionFolder(self._loaded.path(front.rendition_dir), front.rendition_bytes)
        return folder, [pixels[name] for name in self._loaded.config.prepare.renditions]


class KnownContents:
    """Content hashes, 8 bytes each; a container of them in hex."""

    def __init__(self, hashes: bytes) -> None:
        """`hashes` are little-endian."""
        self._hashes = KeySet(np.frombuffer(hashes, "<u8"))

    def __contains__(self, content: object) -> bool:
        return int(str(content), 16) in self._hashes


def _write(
    plan: PlanFolder, number: int, head: ChunkPlan, model: str, chunk: Chunk, copies: Copies
) -> None:
    """Write a chunk into the folder of its plan, then its result."""
    stem, entry = "", None
    if chunk.rows or chunk.skipped:
        stem, entry = write_files(plan.path, head.first + number, chunk, model, head.space)
    plan.put_result(number, ChunkResult(entry, stem, copies))
