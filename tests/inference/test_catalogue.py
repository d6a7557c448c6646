"""The names of models."""

import pytest

from inference.clip.catalogue import (
    MCLIP_PARTNERS,
    OPENAI,
    PARTNERS,
    PUBLISHED,
    hub_repository,
    image_partner,
    normal_name,
)


@pytest.mark.parametrize(
    ("spelling", "normal"),
    [
        ("RN50", "RN50::openai"),
        ("ViT-B/32", "ViT-B-32::openai"),
        ("ViT-L/14@336px", "ViT-L-14-336::openai"),
        ("ViT-L/14@336px::openai", "ViT-L-14-336::openai"),
        ("ViT-B-32/openai", "ViT-B-32::openai"),
        ("ViT-B-32:openai", "ViT-B-32::openai"),
        ("ViT-B-32__openai", "ViT-B-32::openai"),
        ("immich-app/ViT-B-32__openai", "ViT-B-32::openai"),
        ("ViT-B-32-quickgelu::openai", "ViT-B-32::openai"),
        ("ViT-B/32::laion2b-s34b-b79k", "ViT-B-32::laion2b_s34b_b79k"),
        ("MobileCLIP-S2::datacompdr", "MobileCLIP-S2::datacompdr"),
        ("M-CLIP/LABSE-Vit-L-14", "LABSE-Vit-L-14"),
        ("immich-app/LABSE-Vit-L-14", "LABSE-Vit-L-14"),
        (
            "XLM-Roberta-Base-ViT-B-32__laion5b_s13b_b90k",
            "xlm-roberta-base-ViT-B-32::laion5b_s13b_b90k",
        ),
    ],
)
def test_every_spelling_becomes_the_one(spelling: str, normal: str) -> None:
    """OpenAI's, open_clip's, M-CLIP's and the hub's spellings, and the one itself."""
    assert normal_name(spelling) == normal
    assert normal_name(normal) == normal


@pytest.mark.parametrize(
    "name",
    [
        "starter",
        "my__model",
        "models/ViT-B-32__openai",
        "/srv/clip",
        "C:/clip",
        "models/a::B-C",
        "::",
        "",
    ],
)
def test_what_is_no_model_name_stays_and_has_no_repository(name: str) -> None:
    """The starter, folders, another's repository."""
    assert normal_name(name) == name
    assert hub_repository(name) is None
    assert image_partner(name) is None


@pytest.mark.parametrize("published", [*PUBLISHED, *MCLIP_PARTNERS])
def test_every_published_model_is_found_by_every_spelling(published: str) -> None:
    """By the repository's name, ours and open_clip's with `:`: always that repository."""
    normal = normal_name(published)

    assert ("::" in normal) == (published in PUBLISHED)
    for spelling in (published, normal, normal.replace("::", ":"), f"immich-app/{published}"):
        assert hub_repository(spelling) == f"immich-app/{published}"


@pytest.mark.parametrize("name", OPENAI)
def test_all_of_openai_are_published(name: str) -> None:
    """The nine spellings of OpenAI lead to nine repositories."""
    assert hub_repository(name) == f"immich-app/{OPENAI[name]}__openai"


def test_a_model_that_is_not_published_has_no_repository() -> None:
    """The tag counts, and so does QuickGELU where the weights are not OpenAI's."""
    assert hub_repository("ViT-B-32::datacomp_xl_s13b_b90k") is None
    assert hub_repository("ViT-B-32-quickgelu::laion400m_e32") is None


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("M-CLIP/XLM-Roberta-Large-Vit-B-32", "ViT-B-32::openai"),
        ("M-CLIP/XLM-Roberta-Large-Vit-B-16Plus", "ViT-B-16-plus-240::laion400m_e32"),
        ("M-CLIP/XLM-Roberta-Large-Vit-L-14", "ViT-L-14::openai"),
        ("M-CLIP/LABSE-Vit-L-14", "ViT-L-14::openai"),
        (
            "XLM-Roberta-Large-ViT-H-14__frozen_laion5b_s13b_b90k",
            "ViT-H-14::laion2b_s32b_b79k",
        ),
        ("ViT-B-32::openai", None),
    ],
)
def test_a_text_tower_knows_whose_space_it_shares(text: str, image: str | None) -> None:
    """In any spelling; a model that meets only its own images has no partner."""
    assert image_partner(text) == image


def test_partners_are_in_the_one_spelling_and_published() -> None:
    """Both sides of every pair, so that they compare with what normal_name makes."""
    for name in {*PARTNERS, *PARTNERS.values()}:
        assert normal_name(name) == name
        assert hub_repository(name)
