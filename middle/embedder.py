"""Making vectors of texts and images: which text tower, and what to do when there is none."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from common.batcher import Gather, Onward
from common.errors import BadRequest, ServiceError, Unavailable
from common.wire import Matrix
from inference.client import Embedding, InferenceClient, Probabilities, Role
from inference.messages import Logits
from middle.cache import Embeddings
from middle.keys import normal_text
from middle.language import is_english
from middle.messages import ModelChoice


class Embedded(NamedTuple):
    """A unit vector; space and model are None where it was given and not made."""

    vector: Matrix
    space: str | None = None
    model: str | None = None
    warnings: tuple[str, ...] = ()
    logits: Logits = Logits()
    digest: str = ""
    """Of all that made it."""


def choose_role(text: str, choice: ModelChoice) -> Role:
    """The text tower for a text: as chosen; else clip, which reads English, for English."""
    if choice != "auto":
        return choice
    return "clip" if is_english(text) else "mclip"


Then = Callable[[Matrix], None]
"""Takes a vector as soon as it is there, in whichever thread that is; see `Onward`."""


class Embedder:
    """The inference server as middle uses it."""

    def __init__(self, inference: InferenceClient, embeddings: Embeddings) -> None:
        self._inference = inference
        self._embeddings = embeddings

    def start(self) -> None:
        """Start the threads that send; call it after the process has forked."""
        is_english("a")  # loads the dictionary, so that no query waits for it
        self._inference.start()

    def close(self) -> None:
        """Finish what waits and close the connections."""
        self._inference.close()

    def is_alive(self) -> bool:
        """Whether the inference server answers."""
        return self._inference.is_alive()

    def texts(
        self,
        texts: Sequence[str],
        choice: ModelChoice,
        deadline: float,
        *,
        fresh: bool = False,
        then: Then | None = None,
    ) -> list[Embedded | ServiceError]:
        """Embed texts together, with `fresh` not from the cache; each ends in its vector or its
        error. The vectors are also given to `then`.
        """
        texts = [normal_text(text) for text in texts]
        roles = [choose_role(text, choice) for text in texts]
        results = self._embed(list(zip(roles, texts, strict=True)), deadline, fresh, then)
        if choice != "auto":
            return [_explained(result, choice) for result in results]
        missing = [i for i, result in enumerate(results) if _is_missing(result)]
        again = self._embed([("clip", texts[i]) for i in missing], deadline, fresh, then)
        for i, result in zip(missing, again, strict=True):
            if isinstance(result, Embedded):
                warning = answered_by_clip(getattr(results[i], "detail", ""))
                result = result._replace(warnings=(warning, *result.warnings))
            results[i] = _explained(result, "clip")
        return results

    def images(
        self,
        files: Sequence[bytes],
        deadline: float,
        *,
        fresh: bool = False,
        then: Then | None = None,
    ) -> list[Embedded | ServiceError]:
        """The same for image files."""
        results = self._embed([("clip", data) for data in files], deadline, fresh, then)
        return [_explained(result, "clip") for result in results]

    def classify(
        self, files: Sequence[bytes], deadline: float
    ) -> list[Probabilities | Embedded | ServiceError]:
        """What the model's classifier says of image files, or their vectors if it has none."""
        gather = Gather(len(files), deadline)
        for slot, data in enumerate(files):
            self._inference.classify_image(data, gather, slot)
        return [
            result if isinstance(result, Probabilities) else _explained(_embedded(result), "clip")
            for result in gather.wait()
        ]

    def _embed(
        self,
        wanted: Sequence[tuple[Role, str | bytes]],
        deadline: float,
        fresh: bool,
        then: Then | None,
    ) -> list[Embedded | ServiceError]:
        gather = Gather(len(wanted), deadline)
        awaited = Onward(gather, lambda one: then(one.vector)) if then else gather
        self._embeddings.embed(wanted, awaited, fresh=fresh)
        return [_embedded(result) for result in gather.wait()]


def answered_by_clip(reason: str) -> str:
    """The warning for texts that were not for clip, when mclip cannot be had for a reason."""
    return f"{reason}; answered by clip, which may not know the language"


def _embedded(result: Embedding | Exception) -> Embedded | ServiceError:
    if isinstance(result, ServiceError):
        return result
    if isinstance(result, Exception):
        raise result
    warnings = (result.warning,) if result.warning else ()
    return Embedded(
        result.vector, result.space, result.model, warnings, result.logits, result.digest
    )


def _is_missing(result: Embedded | ServiceError) -> bool:
    """Whether the engine, either of them, said that it does not have the model."""
    return isinstance(result, ServiceError) and result.status == 404


def _explained(result: Embedded | ServiceError, role: Role) -> Embedded | ServiceError:
    """The result, but a missing model is the client's fault where it may choose another."""
    if not isinstance(result, ServiceError) or not _is_missing(result):
        return result
    if role == "mclip":
        return BadRequest(result.detail, "model_unavailable")
    return Unavailable("what answers as the inference server has no model clip")
