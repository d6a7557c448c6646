"""What prepare stores and indexes is what the model says, whole and exact."""

from pathlib import Path

import numpy as np
import pytest

from common.files import content_hash, location_hash, sha256_of
from devtools.services import with_section
from inference.clip.model import load_model
from search.image_key import IMAGE_KEY, shard_of
from search.manifest import files_of
from search.version import Version
from tests.prepare.odd_files import write_bad, write_good
from tests.prepare.prepared_folder import Workspace, add_images
from tests.prepare.searching import brute_force, parts, search, unit_queries
from tests.prepare.version_files import files_in_use

IMAGES = 300
K = 20


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Workspace:
    """Some hundred images of all kinds with broken ones between them, prepared."""
    keys = {"chunk-size": 70, "batch-size": 16, "threads": 3}
    made = Workspace(tmp_path_factory.mktemp("many"), model, keys)
    write_good(made.images)
    write_bad(made.images)
    add_images(made.images, range(IMAGES))
    made.prepare()
    return made


@pytest.fixture(scope="module", params=[1, 3, 7])
def sharded(request: pytest.FixtureRequest, many: Workspace) -> Version:
    """The same embeddings, indexed in so many shards."""
    workspace = many.having(shards=request.param)
    workspace.prepare(script="prepare/build_index.py")
    return workspace.load()


def test_each_vector_is_the_model_s_own(many: Workspace) -> None:
    """What was embedded in batches, between skipped files, is what each file gives by itself."""
    model = load_model(str(many.model))

    for path, vector in many.vectors().items():
        alone = model.encode_images([(many.root / path).read_bytes()])[0]
        np.testing.assert_allclose(alone, vector, rtol=0, atol=1e-6, err_msg=path)


def test_replicas_share_the_batches(many: Workspace) -> None:
    """Three of them give each file the vector that one does."""
    spread = many.apart()
    done = spread.run(config=with_section(spread.config, "Inference", replicas=3))
    assert done.returncode == 0, done.stderr

    expected = many.vectors()
    for path, vector in spread.vectors().items():
        np.testing.assert_allclose(expected[path], vector, rtol=0, atol=1e-6, err_msg=path)


def test_prepare_runs_as_the_role_clip_does(many: Workspace) -> None:
    """By the keys of that role, and by no other's."""
    own = many.having(many.shards, embedding_dir="role/embedding", index_dir="role/index")
    for role, status, said in (("clip", 2, "no model.int8.onnx"), ("mclip", 0, "")):
        roles = {role: {"precision": "int8"}}
        done = own.run(config=with_section(own.config, "Inference", roles=roles))

        assert status == done.returncode, done.stderr
        assert said in done.stderr


def test_each_row_describes_its_file(many: Workspace) -> None:
    """Size, time and content hash of a row are those of the file at its path."""
    for path, row in many.rows().items():
        file = many.root / path
        assert (file.stat().st_size, file.stat().st_mtime_ns) == (row.size_bytes, row.mtime_ns)
        assert content_hash(file.read_bytes()) == row.content


def test_an_id_is_the_hash_of_content_and_of_path(many: Workspace) -> None:
    """The first half of an id is of the file's bytes, the second of its path."""
    rows = many.rows()

    expected = {path: f"{row.content}{location_hash(path):016x}" for path, row in rows.items()}

    assert expected == many.ids()


def test_keys_are_sorted_and_in_the_shard_of_their_content(
    many: Workspace, sharded: Version
) -> None:
    """Each shard's keys go up, and lie where `shard_of` says."""
    count = len(sharded.manifest.shards)
    for number in range(count):
        keys = np.fromfile(files_in_use(many)[f"{number}-0.keys"], dtype=IMAGE_KEY)
        assert sorted(keys.tolist()) == keys.tolist()
        assert [number] * len(keys) == [shard_of(int(key), count) for key in keys["content"]]


def test_the_index_holds_the_vectors_of_its_records(many: Workspace, sharded: Version) -> None:
    """Row by row, the vector in the index is that of the image that the record names."""
    vectors = many.vectors()
    for part in parts(sharded):
        for row in range(part.count):
            record = part.record(row)
            assert vectors[record.path].tolist() == part.vector(row).tolist(), record.path
    assert len(vectors) == sum(shard.count for shard in sharded.shards.values())


def test_an_image_is_found_by_its_id_and_by_its_vector(many: Workspace, sharded: Version) -> None:
    """Each image's own vector finds it first, and its id leads to the same record."""
    ids, vectors = many.ids(), many.vectors()
    first = search(sharded, np.stack(list(vectors.values())), 1, IMAGES)
    for path, ((score, found),) in zip(vectors, first, strict=True):
        assert score > 1 - 1e-5
        if Path(path).stem.isdigit():  # the others are the same image in several formats
            assert ids[path] == found
        content, location = int(ids[path][:16], 16), int(ids[path][16:], 16)
        shard = sharded.shards[shard_of(content, len(sharded.shards))]
        image = shard.find(content, location)
        assert image is not None
        assert path == image.part.record(image.row).path


def test_sharded_is_single_is_brute_force(many: Workspace, sharded: Version) -> None:
    """At high ef the shards together find the exact best, however many shards there are."""
    queries = unit_queries(50, sharded.manifest.dim)
    vectors = many.vectors()
    exact = -np.sort(-(queries @ np.stack(list(vectors.values())).T), axis=1)[:, :K]

    found = [[score for score, _ in hits] for hits in search(sharded, queries, K, 2 * IMAGES)]

    np.testing.assert_allclose(exact, found, rtol=0, atol=1e-5)
    np.testing.assert_allclose(brute_force(sharded, queries, K), found, rtol=0, atol=1e-5)


def test_the_manifest_says_what_is_there(many: Workspace, sharded: Version) -> None:
    """Counts, model, dimension and recall are right; every file has its size and digest."""
    manifest = sharded.manifest
    assert len(many.rows()) == manifest.count == sum(one.count for one in manifest.shards)
    assert (many.model.name, 16, "ip") == (manifest.model, manifest.dim, manifest.distance)
    assert load_model(str(many.model)).space == manifest.space
    assert 0.95 <= manifest.recall.value <= 1
    for folder, file in files_of(many.folders, manifest):
        path = folder / file.name
        assert (file.size_bytes, file.sha256) == (path.stat().st_size, sha256_of(path))
    with_copies = sum(segment.distinct is not None for segment in manifest.segments)
    assert with_copies
    assert 6 * len(manifest.shards) + with_copies == len(files_in_use(many))


def test_a_small_collection_is_searched_exactly(many: Workspace) -> None:
    """With hardly a link and the smallest ef, recall is 1; tests/unit has recall below 1."""
    poor = many.apart().having(shards=1, M=3, ef_construction=8)
    config = {**poor.config, "Search": {"shards": 1, "ef-search": 1}}

    done = poor.run(config=config)

    assert 0 == done.returncode, done.stderr
    assert 1 == poor.manifest().recall.value
    assert "recall@10 1.0" in done.stdout


def test_more_shards_than_images(workspace: Workspace) -> None:
    """Shards that hold nothing are written, loaded and searched like the others."""
    add_images(workspace.images, range(2))
    sparse = workspace.having(shards=7)

    sparse.prepare()

    assert 0 in (counts := [one.count for one in sparse.manifest().shards])
    assert (7, 2) == (len(counts), sum(counts))
    (hits,) = search(sparse.load(), unit_queries(1, 16), 10, 64)
    assert set(sparse.ids().values()) == {name for _, name in hits}


@pytest.mark.parametrize("keep", [2, 3, 5])
def test_old_versions_are_deleted(twelve: Workspace, keep: int) -> None:
    """The last `keep-versions` stay, in all three folders, and CURRENT names the newest."""
    for links in range(4, 10):
        twelve.having(M=links, keep_versions=keep).prepare(script="prepare/build_index.py")

    kept = {f"v{number:06}" for number in range(8 - keep, 8)}
    assert [kept] * 3 == twelve.versions()
    assert "v000007" == twelve.current()
