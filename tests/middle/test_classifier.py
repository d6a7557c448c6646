"""Scores from cosines, and what becomes of images that fail."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.errors import ServiceError, Unavailable, UnsupportedMedia
from inference.client import Probabilities, imagenet_classes
from inference.messages import Logits
from middle.classify import best, classified, is_zero_shot, join, scores
from middle.embed import Embedded
from middle.messages import ClassifyQuery

COSINES = arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 9)),
    elements=st.floats(-1, 1, width=32),
)
SCALES = st.floats(0.1, 1e6)
VECTOR = np.ones(2, dtype=np.float32)


@given(COSINES, SCALES)
def test_without_a_bias_the_scores_of_an_image_sum_to_one(
    cosines: np.ndarray, scale: float
) -> None:
    """A softmax: positive, in the order of the cosines, whatever the scale."""
    found = scores(cosines, Logits(scale))

    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found >= 0).all()
    assert (np.take_along_axis(found, cosines.argmax(axis=1)[:, None], 1).T == found.max(1)).all()


@given(COSINES, SCALES, st.floats(-100, 100))
def test_with_a_bias_a_score_depends_on_its_own_label(
    cosines: np.ndarray, scale: float, bias: float
) -> None:
    """SigLIP's sigmoid: other labels beside it change nothing."""
    logits = Logits(scale, bias)
    together = scores(cosines, logits)
    alone = np.hstack([scores(column[:, None], logits) for column in cosines.T])

    np.testing.assert_array_equal(together, alone)
    assert ((together >= 0) & (together <= 1)).all()


def test_scores_are_those_of_the_papers() -> None:
    """Worked by hand: softmax of 100 times the cosine, and SigLIP's sigmoid."""
    cosines = np.array([[0.30, 0.29]], dtype=np.float32)
    first = 1 / (1 + np.exp(-1))

    np.testing.assert_allclose(scores(cosines, Logits()), [[first, 1 - first]], rtol=1e-5)
    np.testing.assert_allclose(scores(cosines, Logits(100, -29)), [[first, 0.5]], rtol=1e-5)


def test_the_best_classes_come_first() -> None:
    """At most `top`, and of equals the label that was given first."""
    row = np.array([0.1, 0.4, 0.1, 0.4])

    found = [(one.label, one.score) for one in best(row, ["a", "b", "c", "d"], 3)]

    assert [("b", 0.4), ("d", 0.4), ("a", 0.1)] == found
    assert 4 == len(best(row, ["a", "b", "c", "d"], 1000))


def test_a_failed_image_keeps_its_place() -> None:
    """The scores go to the images that did not fail, in order."""
    failed = UnsupportedMedia("no image")
    results = join([VECTOR, failed, VECTOR], np.array([[1.0, 0.0], [0.0, 1.0]]), ["a", "b"], 1)

    assert ["a", None, "b"] == [one.classes and one.classes[0].label for one in results]
    assert results[1].problem is not None
    assert (415, "Unsupported Media Type") == (results[1].problem.status, results[1].problem.title)


def test_when_all_images_fail_the_gravest_error_is_raised() -> None:
    """One that may pass with time tells more than one that is the client's fault."""
    with pytest.raises(ServiceError, match="image 1: busy") as caught:
        classified([UnsupportedMedia("no image"), Unavailable("busy"), Unavailable("too")])

    assert 503 == caught.value.status


@pytest.mark.parametrize(
    "other",
    [Embedded(VECTOR, "b", "m"), Probabilities(VECTOR, ["a", "b"], "a", "m")],
    ids=["another space", "another method"],
)
def test_images_of_two_models_are_not_mixed(other: Embedded | Probabilities) -> None:
    """When the inference server is exchanged in the middle, the client is to ask again."""
    with pytest.raises(Unavailable, match="changed"):
        classified([Embedded(VECTOR, "a", "m"), other])


def test_saying_anything_of_labels_asks_for_zero_shot() -> None:
    """Labels, a template or a text model each; without them the classifier answers."""
    assert not is_zero_shot(ClassifyQuery(images=[b""], top=3))
    assert is_zero_shot(ClassifyQuery(images=[b""], labels=["a"]))
    assert is_zero_shot(ClassifyQuery(images=[b""], template="a {}"))
    assert is_zero_shot(ClassifyQuery(images=[b""], model="clip"))


def test_the_names_of_imagenet_differ() -> None:
    """1,000 classes, of which two share their name with another."""
    names = imagenet_classes()

    assert 998 == len(names) == len(set(names))
