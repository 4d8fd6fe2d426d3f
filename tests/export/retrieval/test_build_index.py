"""An index follows its images: added, changed, removed, stopped, locked."""

import json
import os
import resource

import numpy as np
import pytest

from export.retrieval import building, store
from tests.support import image_files
from tests.support.disk import full_disk
from tests.support.marks import slow
from tests.support.retrieval import refusal, status, write_images
from tfclust.runtime import locks

COUNT = 20


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    write_images(folder, COUNT)
    return folder


@pytest.fixture
def build(exported, images, tmp_path):
    """Builds an index in `tmp_path / "idx"`."""

    def run(code=0, **given):
        given = {"saved_model": exported, "images": images, **given}
        given = {name: value for name, value in given.items() if value}
        assert status("build_index", output=tmp_path / "idx", **given) == code
        return tmp_path / "idx"

    return run


def rows_by_name(folder):
    """{name: unit row} of an index."""
    index = store.open_index(folder)
    names = [name for _, name in store.names_of(index.parts)]
    assert len(set(names)) == len(names) == index.about["count"]
    return dict(zip(names, np.concatenate(index.features), strict=True))


def test_rows_are_the_models_features_at_length_1(build, exported, images):
    import tensorflow as tf

    rows = rows_by_name(build())
    assert len(rows) == COUNT
    serve = tf.saved_model.load(str(exported)).signatures["serving_default"]
    for name, row in rows.items():
        data = tf.constant([(images / name).read_bytes()])
        (features,) = serve(image_bytes=data)["features"].numpy()
        expected = features / np.linalg.norm(features)
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_index_follows_its_folder(build, images, capsys):
    before = rows_by_name(build())
    image_files.write(images, "new.png", image_files.picture())
    image_files.write(images, "1.png", image_files.picture())
    (images / "0.png").unlink()
    capsys.readouterr()
    after = rows_by_name(build())
    # A changed image is one that goes and one that comes.
    assert "2 images added, 18 kept, 2 removed" in capsys.readouterr().out
    assert set(after) == set(before) - {"0.png"} | {"new.png"}
    assert np.abs(after["1.png"] - before["1.png"]).max() > 1e-3
    for name in set(after) - {"1.png", "new.png"}:
        np.testing.assert_array_equal(after[name], before[name])


def test_unchanged_images_are_not_computed_again(build, monkeypatch, capsys):
    folder = build()
    kept = (folder / store.INDEX_FILE).read_bytes()
    files = sorted(path.name for path in (folder / store.PARTS).iterdir())
    monkeypatch.setattr(
        building.model, "features_of", lambda *_, **__: iter(())
    )
    build()
    assert f"0 images added, {COUNT} kept" in capsys.readouterr().out
    assert (folder / store.INDEX_FILE).read_bytes() == kept
    again = sorted(path.name for path in (folder / store.PARTS).iterdir())
    assert again == files


def test_parts_of_many_builds_become_few(build, images, monkeypatch):
    monkeypatch.setattr(building, "_PART_ROWS", 8)
    first = rows_by_name(build(batch_size=8))
    for number in range(2):
        image_files.write(images, f"new{number}.png", image_files.picture())
        folder = build(batch_size=8)
    after = rows_by_name(folder)
    parts = store.open_index(folder).parts
    assert [len(part.keys) for part in parts] == [8, 8, 6]
    again = store.merged(folder, parts[0].uri, parts, 8)
    assert again == parts  # or a build without a change would change it
    files = {path.stem for path in (folder / store.PARTS).iterdir()}
    assert files == {str(part.number) for part in parts}
    assert set(after) == {*first, "new0.png", "new1.png"}
    for name, row in first.items():
        np.testing.assert_array_equal(after[name], row)


def test_readers_have_room_for_many_parts(build, images, monkeypatch):
    """A limit of open files is raised, or named; it is no damage."""
    monkeypatch.setattr(building, "_PART_ROWS", 1)
    folder = build(batch_size=1)
    part = store.open_index(folder).parts[0]
    taken = set(map(int, os.listdir("/proc/self/fd")))
    free = [number for number in range(2000) if number not in taken]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def limit(files):
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, limits[1]))

    try:
        limit(free[COUNT // 2])  # for each part there is a file
        assert store.open_index(folder).count == COUNT
        limit(1)
        with pytest.raises(ValueError, match="limit: ulimit -n"):
            store.read_rows(folder, part)
    finally:
        limit(limits[0])


def test_stopped_build_goes_on_where_it_was(build, monkeypatch, capsys):
    monkeypatch.setattr(building, "_PART_ROWS", 5)
    features_of = building.model.features_of
    asked = []

    def stopped(model, source, rows, *, batch_size):
        del batch_size
        batches = features_of(model, source, rows, batch_size=5)
        for number, batch in enumerate(batches):
            if number == 2:
                raise KeyboardInterrupt
            yield batch

    def counted(model, source, rows, *, batch_size):
        asked.extend(rows)
        return features_of(model, source, rows, batch_size=batch_size)

    monkeypatch.setattr(building.model, "features_of", stopped)
    folder = build(code=130)
    # A reader is told, and is not given half of the images.
    with pytest.raises(ValueError, match="is not finished"):
        store.open_index(folder)
    monkeypatch.setattr(building.model, "features_of", counted)
    assert len(rows_by_name(build())) == COUNT
    assert len(asked) == COUNT - 10


def test_a_second_folder_is_added_and_can_leave_again(
    build, images, tmp_path, capsys
):
    other = tmp_path / "other"
    write_images(other, 3, seed=9)
    (other / "same.png").write_bytes((images / "4.png").read_bytes())
    first = rows_by_name(build())
    index = store.open_index(build(images=other, duplicates=0.9999))
    assert index.about["count"] == COUNT + 4
    assert "1 across two sets" in capsys.readouterr().out
    lines = (index.folder / store.DUPLICATES_FILE).read_text().splitlines()
    across = [x for x in lines[1:] if "same.png" in x]
    assert len(across) == 1
    cosine, same_bytes, _, one, _, two = across[0].split("\t")
    assert float(cosine) == pytest.approx(1, abs=1e-4)
    assert (same_bytes, one, two) == ("yes", "4.png", "same.png")
    folder = build(images="", forget=other)
    after = rows_by_name(folder)
    assert set(after) == set(first)


def test_near_duplicates_are_all_pairs_above_the_threshold(build):
    folder = build(duplicates=0.9)
    rows = rows_by_name(folder)
    lines = (folder / store.DUPLICATES_FILE).read_text().splitlines()
    found = {frozenset(line.split("\t")[3::2]) for line in lines[1:]}
    expected = {
        frozenset((a, b))
        for a in rows
        for b in rows
        if a < b and rows[a] @ rows[b] >= 0.9
    }
    assert expected  # else this checks nothing
    assert len(found) == len(lines) - 1
    # Each image tells of its eight nearest.
    assert found <= expected
    for name in rows:
        near = sum(name in pair for pair in expected)
        assert sum(name in pair for pair in found) >= min(near, 8)


@pytest.mark.slow
def test_another_model_is_refused_by_name(
    build, another, exported, capfd, tmp_path, images
):
    folder = build()
    line = refusal(
        capfd,
        "build_index",
        saved_model=another,
        images=images,
        output=folder,
    )
    assert str(another) in line and str(exported) in line
    assert "its features of the same images differ" in line


def test_a_build_that_found_nothing_binds_no_model(
    exported, tmp_path, build, capfd
):
    (tmp_path / "empty").mkdir()
    build(code=2, images=tmp_path / "empty")
    folder = tmp_path / "idx"
    about = json.loads((folder / store.INDEX_FILE).read_text())
    about["identity"]["probe"][0].reverse()  # as of another model
    (folder / store.INDEX_FILE).write_text(json.dumps(about))
    capfd.readouterr()
    assert len(rows_by_name(build())) == COUNT
    again = store.read_about(folder)["identity"]
    assert again["probe"] != about["identity"]["probe"]


def test_two_builds_of_one_index_do_not_meet(build, tmp_path, capfd):
    with locks.lock(tmp_path / "idx"):
        build(code=2)
    assert "another build_index writes there" in capfd.readouterr().err


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_state(build, images, capsys):
    before = rows_by_name(build())
    image_files.write(images, "new.png", image_files.picture())
    capsys.readouterr()
    with full_disk(100):
        build(code=2)
    (line,) = capsys.readouterr().err.splitlines()
    assert "File too large" in line
    after = rows_by_name(build(images=images))
    assert set(after) == set(before) | {"new.png"}


@pytest.mark.parametrize("kind", [slow("ivf_flat"), "ivf_sq8"])
def test_lists_are_rewritten_when_images_change(build, images, kind):
    pytest.importorskip("faiss")
    folder = build(nearest=kind)
    assert (folder / "nearest-1.0.faiss").is_file()
    (images / "3.png").unlink()
    build(nearest=kind)
    assert [p.name for p in folder.glob("nearest-*")] == ["nearest-2.0.faiss"]
    about = store.read_about(folder)
    assert about["nearest"]["kind"] == kind
    assert about["nearest"]["recall"] >= 0.95


@pytest.mark.slow
def test_images_that_vanish_after_the_check_leave_no_row(
    build, images, monkeypatch, capsys
):
    open_source = building.data.open_source

    def opened(*arguments, **words):
        source = open_source(*arguments, **words)
        (images / "7.png").unlink()
        return source

    monkeypatch.setattr(building.data, "open_source", opened)
    assert set(rows_by_name(build())) == {
        f"{i}.png" for i in range(COUNT) if i != 7
    }
    assert "Left out: 7.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    "given, words",
    [
        ({"images": "nowhere"}, "images must be a folder that exists"),
        ({"saved_model": "nowhere"}, "no SavedModel in nowhere"),
        ({"images": ""}, "images must be given"),
        ({"duplicates": 2}, "duplicates must be at most 1"),
        ({"nearest": "pq"}, "nearest must be one of"),
        ({"output": __file__}, "output must be a folder"),
        ({"output": "/proc/idx"}, "output must be a folder"),
        ({"images": "", "forget": "/never"}, "forget must be images of the"),
    ],
)
def test_bad_input_is_one_line(exported, images, tmp_path, capfd, given, words):
    first = {"saved_model": exported, "images": images}
    first["output"] = tmp_path / "idx"
    assert words in refusal(capfd, "build_index", **{**first, **given})


def test_a_folder_without_images_is_told(exported, tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    given = {"saved_model": exported, "images": tmp_path / "empty"}
    line = refusal(capfd, "build_index", output=tmp_path / "idx", **given)
    assert str(tmp_path / "empty") in line


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda about: about.update(format=99), "must be of format 1"),
        (lambda about: about.pop("parts"), "entries are missing"),
        (lambda about: about["parts"].append(77), "77.json is damaged"),
    ],
)
def test_damaged_indexes_are_named(build, change, words):
    folder = build()
    about = json.loads((folder / store.INDEX_FILE).read_text())
    change(about)
    (folder / store.INDEX_FILE).write_text(json.dumps(about))
    with pytest.raises(ValueError, match=words):
        store.open_index(folder)
