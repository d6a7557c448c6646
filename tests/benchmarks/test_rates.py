"""Rates of runtimes, beside torch eager."""

from msgspec.structs import replace

from benchmarks.rates import Rate, Scenario, summarize, table

EAGER = Scenario("a model", "torch eager", "fp32", "text", 8)
PADDED = replace(EAGER, padded=True)
INT8 = replace(EAGER, runtime="onnxruntime", precision="int8")
IMAGES = replace(INT8, tower="image", batch=1)


def test_a_ratio_is_that_of_two_figures_of_one_round() -> None:
    """A machine that is slower in one round changes the figures, not their ratio."""
    rounds = {EAGER: [10.0, 100.0, 20.0], INT8: [20.0, 200.0, 40.0], PADDED: [1.0, 10.0, 2.0]}
    eager, int8, padded = summarize(rounds, {})

    assert Rate(EAGER, 20, 1, None, [10, 100, 20]) == eager
    assert (40, 2, None) == (int8.per_s, int8.of_eager, int8.of_matmul)
    assert (2, 0.1) == (padded.per_s, padded.of_eager)


def test_without_torch_and_its_card_there_are_only_figures() -> None:
    """Of another model, tower or batch size there is no ratio, and of texts no share of matmul."""
    other = [replace(INT8, **change) for change in ({"model": "b"}, {"batch": 1})]
    rates = summarize({EAGER: [10.0], IMAGES: [5.0], **{one: [20.0] for one in other}}, {"b": 40})

    assert [1, None, None, None] == [rate.of_eager for rate in rates]
    assert [None] * 4 == [rate.of_matmul for rate in rates]


def test_images_show_their_share_of_the_cards_rate() -> None:
    """What the image tower does in a second, of what the card can."""
    images, texts = summarize({IMAGES: [5.0], INT8: [20.0]}, {"a model": 40})

    assert 0.125 == images.of_matmul
    assert texts.of_matmul is None


def test_the_table_has_a_row_for_each_model_and_runtime() -> None:
    """A column for each tower and batch size; empty where nothing was measured."""
    rounds = {IMAGES: [5.0], EAGER: [100.0], PADDED: [10.0], INT8: [200.0]}
    lines = table(summarize(rounds, {"a model": 40})).splitlines()

    assert [
        "| model | runtime | images/s, batch 1 | texts/s, batch 8 |",
        "| --- | --- | ---: | ---: |",
        "| a model | onnxruntime int8 | 5.0 (12.5%) | 200 (2.00x) |",
        "| a model | torch eager fp32 |  | 100 (1.00x) |",
        "| a model | torch eager fp32, padded |  | 10.0 (0.10x) |",
    ] == lines
