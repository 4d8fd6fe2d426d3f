"""Queries to an index: what is found, shown and refused."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from export.retrieval import building, model, nearest, store
from tests.support import image_files
from tests.support.processes import ROOT
from tests.support.retrieval import refusal, status, write_images
from tfclust import saved_model

COUNT = 12


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, COUNT)
    return folder


@pytest.fixture(scope="module")
def index(exported, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("idx")
    given = {"saved_model": exported, "images": images}
    assert status("build_index", output=folder, **given) == 0
    return folder


def test_an_image_finds_itself_and_then_the_nearest(index, images, capsys):
    query = images / "5.png"
    assert status("search", index=index, query=query, top=4) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "5.png"
    found = [line.split() for line in lines]
    opened = store.open_index(index)
    names = [name for _, name in store.names_of(opened.parts)]
    rows = np.concatenate(opened.features)
    scores = rows @ rows[names.index("5.png")]
    order = np.argsort(-scores)[:4]
    assert [name for _, _, name in found] == [names[i] for i in order]
    assert found[0][1:] == ["1.0000", "5.png"]
    np.testing.assert_allclose(
        [float(score) for _, score, _ in found], scores[order], atol=1e-4
    )


def test_photos_find_themselves(exported, shared_data, tmp_path, capsys):
    folder, index = tmp_path / "photos", tmp_path / "idx"
    names = image_files.from_zip(shared_data / "photos.zip", folder, 8)
    given = {"saved_model": exported, "images": folder, "output": index}
    assert status("build_index", **given) == 0
    capsys.readouterr()
    assert status("search", index=index, query=f"folder:{folder}", top=1) == 0
    blocks = capsys.readouterr().out.strip().split("\n\n")
    assert len(blocks) == len(names) == 8
    for block in blocks:
        name, line = block.splitlines()
        assert line.split() == ["1", "1.0000", name]


def test_a_folder_asks_for_each_image(index, images, capsys):
    query = f"folder:{images}"
    assert status("search", index=index, query=query, top=99) == 0
    blocks = capsys.readouterr().out.strip().split("\n\n")
    assert len(blocks) == COUNT
    for block in blocks:
        name, *lines = block.splitlines()
        assert len(lines) == COUNT  # there are no more
        assert lines[0].split()[2] == name


@pytest.mark.slow
def test_a_turned_or_misnamed_file_is_read_as_people_see_it(
    index, images, tmp_path, capsys
):
    # The ending does not say what a file is.
    query = tmp_path / "photo.upload"
    query.write_bytes((images / "3.png").read_bytes())
    assert status("search", index=index, query=query, top=1) == 0
    assert "1.0000  3.png" in capsys.readouterr().out
    # EXIF's 6: stored a quarter turn to the left of how it is shown.
    turned = Image.open(images / "3.png").rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    query = tmp_path / "turned.png"
    assert status("search", index=index, query=query, top=1) == 0
    assert "1.0000  3.png" in capsys.readouterr().out


def test_page_shows_thumbnails_and_escapes_names(index, tmp_path, capsys):
    query = image_files.write(tmp_path, "<script>.png")
    page = tmp_path / "page.html"
    assert status("search", index=index, query=query, top=3, html=page) == 0
    text = page.read_text("utf-8")
    assert text.count('<img src="data:image/jpeg;base64,') == 4
    assert "<script>" not in text and "&lt;script&gt;" in text
    assert not re.search(r'(src|href)="(?!data:)', text)


@pytest.mark.slow
def test_page_shows_what_is_left_of_an_index_whose_images_are_gone(
    exported, tmp_path
):
    folder, page = tmp_path / "images", tmp_path / "page.html"
    write_images(folder, 3)
    index = tmp_path / "idx"
    status("build_index", saved_model=exported, images=folder, output=index)
    query = folder / "0.png"
    (folder / "1.png").unlink()
    assert status("search", index=index, query=query, html=page) == 0
    text = page.read_text("utf-8")
    assert text.count("<img") == 3 and text.count("not there") == 1


@pytest.mark.slow
def test_an_index_of_records_shows_their_images(exported, tmp_path):
    image_files.write_shards(tmp_path, [4, 3], labelled=False)
    index, page = tmp_path / "idx", tmp_path / "page.html"
    records = f"tfrecord:{tmp_path}/train-*.tfrecord"
    given = {"saved_model": exported, "output": index}
    assert status("build_index", images=records, **given) == 0
    assert status("search", index=index, query=records, html=page) == 0
    # 7 queries and 7 results each.
    assert page.read_text("utf-8").count("<img") == 7 * 8


def changed_preprocessing(version, folder):
    """A copy of a version whose card says another size."""
    copy = folder / "1"
    shutil.copytree(version, copy)
    path = copy / saved_model.CARD_FILE
    card = json.loads(path.read_text())
    card["preprocessing"]["resize_short_side"] += 4
    path.write_text(json.dumps(card))
    return copy


def test_an_index_of_another_model_is_refused_by_name(
    index, images, tmp_path, capfd
):
    other = tmp_path / "idx"
    shutil.copytree(index, other)
    about = json.loads((other / store.INDEX_FILE).read_text())
    about["identity"]["probe"][0].reverse()
    about["identity"]["saved_model"] = "/models/elsewhere"
    (other / store.INDEX_FILE).write_text(json.dumps(about))
    given = {"query": images / "0.png", "saved_model": model_of(index)}
    line = refusal(capfd, "search", index=other, **given)
    assert "/models/elsewhere" in line and given["saved_model"] in line


def model_of(index):
    return store.read_about(index)["identity"]["saved_model"]


@pytest.mark.slow
def test_another_model_or_preprocessing_is_refused_by_name(
    index, images, another, exported, tmp_path, capfd
):
    given = {"index": index, "query": images / "0.png"}
    line = refusal(capfd, "search", saved_model=another, **given)
    assert str(another) in line and str(exported) in line
    assert "differ" in line
    other = changed_preprocessing(exported, tmp_path)
    line = refusal(capfd, "search", saved_model=other, **given)
    assert "its resize_short_side is 16, not 20" in line
    # The same model elsewhere is welcome.
    moved = tmp_path / "moved" / "1"
    shutil.copytree(exported, moved)
    assert status("search", saved_model=moved, **given) == 0


def test_a_pruned_version_gives_way_to_the_newest(
    index, exported, images, tmp_path
):
    """A newer export of the same run is the same model."""
    newer, other = tmp_path / "model" / "2", tmp_path / "idx"
    shutil.copytree(exported, newer)
    shutil.copytree(index, other)
    path = other / store.INDEX_FILE
    about = json.loads(path.read_text())
    about["identity"]["saved_model"] = str(newer.with_name("1"))
    path.write_text(json.dumps(about))
    query = images / "0.png"
    assert status("search", index=other, query=query) == 0
    given = {"saved_model": newer, "images": images, "output": other}
    assert status("build_index", **given) == 0
    assert model_of(other) == str(newer)


@pytest.mark.slow
def test_a_model_that_has_moved_is_asked_for(exported, images, tmp_path, capfd):
    there = tmp_path / "model" / "1"
    shutil.copytree(exported, there)
    index = tmp_path / "idx"
    status("build_index", saved_model=there, images=images, output=index)
    shutil.rmtree(there.parent)
    line = refusal(capfd, "search", index=index, query=images / "0.png")
    assert "is no longer at" in line and "--saved_model" in line


@pytest.mark.parametrize(
    "given, words",
    [
        ({"index": "nowhere"}, "no index in index=nowhere"),
        ({"query": "nowhere.png"}, "query must be"),
        ({"query": ""}, "query must be given"),
        ({"top": 0}, "top must be at least 1"),
        ({"query": __file__}, "query must be an image that can be read"),
        ({"html": f"{__file__}/page.html"}, "html must be"),
        ({"html": ROOT}, "html must be a file"),
        ({"index": __file__}, "no index in index="),
        ({"saved_model": "nowhere"}, "no SavedModel in nowhere"),
    ],
)
def test_bad_input_is_one_line(index, images, capfd, given, words):
    given = {"index": index, "query": images / "0.png", **given}
    assert words in refusal(capfd, "search", **given)


@pytest.mark.slow
def test_a_reader_sees_the_last_state_while_another_is_written(
    exported, tmp_path, monkeypatch
):
    folder, index = tmp_path / "images", tmp_path / "idx"
    write_images(folder, 4)
    given = {"saved_model": exported, "images": folder, "output": index}
    assert status("build_index", **given) == 0
    image_files.write(folder, "new.png")
    (folder / "0.png").unlink()
    seen = []
    write_about = building.store.write_about

    def before_commit(place, about):
        seen.append(store.open_index(place).count)
        write_about(place, about)

    monkeypatch.setattr(building.store, "write_about", before_commit)
    opened = store.open_index(index)
    assert status("build_index", **given) == 0
    assert seen == [4]
    # Who has it open keeps what was there, though its files are gone.
    assert np.isfinite(np.concatenate(opened.features)).all()
    assert store.open_index(index).count == 4


def test_a_search_is_not_disturbed_by_a_build_that_ends_meanwhile(
    exported, tmp_path, monkeypatch, capsys
):
    """A build removes the lists that it replaces."""
    pytest.importorskip("faiss")
    folder, index = tmp_path / "images", tmp_path / "idx"
    write_images(folder, 6)
    given = {"saved_model": exported, "images": folder, "output": index}
    given["nearest"] = "ivf_flat"
    assert status("build_index", **given) == 0
    opened, of_index = nearest.searcher, model.of_index

    def rebuilt(*arguments):
        monkeypatch.setattr(nearest, "searcher", opened)
        if not (folder / "new.png").exists():
            image_files.write(folder, "new.png")
            assert status("build_index", **given) == 0
        return opened(*arguments)

    def late(*arguments):  # while the model is loaded
        for path in index.glob("nearest-*.faiss"):
            path.unlink()
        return of_index(*arguments)

    monkeypatch.setattr(nearest, "searcher", rebuilt)
    monkeypatch.setattr(model, "of_index", late)
    query = {"index": index, "query": folder / "new.png", "top": 1}
    assert status("search", **query) == 0
    assert capsys.readouterr().out.endswith("1.0000  new.png\n")
