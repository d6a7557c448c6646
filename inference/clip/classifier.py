"""The classifier of an image tower, which gives class probabilities beside the embedding."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from common.errors import ConfigError
from common.wire import Matrix
from inference.clip.encoders import ImageTower
from inference.clip.images import Pixels

OUTPUT = "probabilities"


class Classifier:
    """The output `probabilities` of an image tower, with the names of its classes."""

    def __init__(self, tower: ImageTower, names: Sequence[str]) -> None:
        """`names` are the class names in column order; classes with the same name are merged."""
        self._tower = tower
        self._output = tower.outputs.index(OUTPUT)
        self.labels = list(dict.fromkeys(names))
        place = {label: number for number, label in enumerate(self.labels)}
        self._columns = np.array([place[name] for name in names])

    def probabilities(self, images: Sequence[Pixels], kind: str | None = None) -> Matrix:
        """The probability of each of `labels` for preprocessed images: float32 [n, labels].

        `kind` is that of the device, as in `ImageTower.embed`. Raises ConfigError if the number of
        columns differs from the number of names.
        """
        found = self._tower.run(images, self._output, kind)
        if found.shape[1] != len(self._columns):
            raise ConfigError(f"labels.json names {len(self._columns)} of {found.shape[1]} classes")
        rows = np.zeros((len(found), len(self.labels)), dtype=np.float32)
        np.add.at(rows.T, self._columns, found.T)
        return rows


def load_classifier(labels: Path, tower: ImageTower) -> Classifier | None:
    """The classifier of `tower`, or None. The file `labels` has its class names, a JSON list."""
    if not labels.is_file() or OUTPUT not in tower.outputs:
        return None
    return Classifier(tower, msgspec.json.decode(labels.read_bytes(), type=list[str]))
