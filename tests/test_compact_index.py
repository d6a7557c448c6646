"""The compact index in the whole system."""

from pathlib import Path

from devtools.collection import Collection
from devtools.services import cluster, with_section


def test_services_over_a_compact_index_answer_as_brute_force_does(tmp_path: Path) -> None:
    """Text, embedding and more-like-this find the exact ten, though no server is told the kind."""
    collection = Collection(tmp_path, images=100, shards=3, index="compact")
    model = collection.model()
    config = with_section(collection.config, "Prepare", index="hnsw")  # the manifest's word counts
    with cluster(with_section(config, "Search", ef_search=100), 3, tmp_path) as services:
        vector = model.encode_text(["a red square"])[0]
        expected = collection.brute_force(vector, 10)
        by_text = services.front.post("/v1/search", {"text": "a red square"})["hits"]
        by_vector = services.front.post("/v1/search", {"embedding": vector.tolist()})["hits"]
        like = services.front.get(f"/v1/search?id={by_text[0]['id']}&k=5")["hits"]

    assert expected == [hit["path"] for hit in by_text] == [hit["path"] for hit in by_vector]
    scores = sorted(collection.vectors() @ vector, reverse=True)[:10]
    assert all(abs(a - hit["score"]) < 1e-3 for a, hit in zip(scores, by_text, strict=True))
    data = (tmp_path / expected[0]).read_bytes()
    nearest = collection.brute_force(model.encode_images([data])[0], 6)
    assert nearest[1:] == [hit["path"] for hit in like]
