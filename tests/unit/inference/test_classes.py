"""The classifier beside an image tower."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from common.errors import ConfigError
from common.wire import Matrix
from inference.clip.classifier import OUTPUT, Classifier, load_classifier
from inference.clip.encoders import ImageTower


class Tower:
    """Gives each image the same three probabilities."""

    outputs = ("embedding", OUTPUT)

    def run(self, images: Sequence[Any], output: int, _kind: str | None) -> Matrix:
        assert self.outputs[output] == OUTPUT
        return np.array([[0.5, 0.3, 0.2]] * len(images), np.float32)


TOWER = cast(ImageTower, Tower())


def test_classes_that_share_a_name_become_one() -> None:
    """ImageNet has two cranes: their probabilities are added."""
    classifier = Classifier(TOWER, ["crane", "cat", "crane"])
    found = classifier.probabilities([None, None])  # type: ignore[list-item]

    assert classifier.labels == ["crane", "cat"]
    np.testing.assert_allclose(found, [[0.7, 0.3]] * 2, rtol=1e-6)


def test_each_class_must_have_a_name() -> None:
    """Else they would be mixed up."""
    with pytest.raises(ConfigError, match="2 of 3 classes"):
        Classifier(TOWER, ["a", "b"]).probabilities([None])  # type: ignore[list-item]


def test_without_names_or_without_the_output_there_is_no_classifier(tmp_path: Path) -> None:
    """A model need not have one."""
    labels = tmp_path / "labels.json"
    assert load_classifier(labels, TOWER) is None
    labels.write_text(json.dumps(["a", "b", "c"]))
    found = load_classifier(labels, TOWER)
    assert found is not None
    assert found.labels == ["a", "b", "c"]
    plain = Tower()
    plain.outputs = ("embedding", "other")
    assert load_classifier(labels, cast(ImageTower, plain)) is None
