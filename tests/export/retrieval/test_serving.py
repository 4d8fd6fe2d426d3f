"""An index as a SavedModel answers as the search does, and fits or says no."""

import json

import numpy as np
import pytest

from export.retrieval import serving, store
from tests.support.retrieval import refusal, status, write_images

COUNT, TOP = 30, 5


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


@pytest.fixture(scope="module")
def published(index, tmp_path_factory):
    """The folder of versions, with one whose search goes over 5 blocks."""
    folder = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "_BLOCK", 7)
        assert status("serve", index=index, output=folder, top=TOP) == 0
    return folder


@pytest.fixture(scope="module")
def answers(published):
    """A function from files to what the served model answers."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(published / "1"))

    def ask(files):
        found = loaded.signatures["serving_default"](
            image_bytes=tf.constant(files)
        )
        return {name: value.numpy() for name, value in found.items()}

    return ask


def test_served_answers_equal_the_index(answers, index, images):
    opened = store.open_index(index)
    names = [name for _, name in store.names_of(opened.parts)]
    rows = np.concatenate(opened.features)
    files = [(images / name).read_bytes() for name in names]
    found = answers(files)
    scores = rows @ rows.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
    expected = np.take_along_axis(scores, order, axis=1)
    np.testing.assert_allclose(found["scores"], expected, atol=1e-5)
    assert [[n.decode() for n in row] for row in found["names"]] == [
        [names[i] for i in row] for row in order
    ]
    assert set(found["status"]) == {b"ok"}


def test_the_loader_of_servers_answers_alike(published, answers, images):
    import tensorflow as tf

    path = str(published / "1")
    files = [(images / "4.png").read_bytes(), b"text"]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], path)
        signature = loaded.signature_def["serving_default"]
        found = session.run(
            {name: out.name for name, out in signature.outputs.items()},
            {signature.inputs["image_bytes"].name: files},
        )
    expected = answers(files)
    assert set(found) == {"names", "scores", "status"}
    outputs = signature.outputs
    for name in ("names", "scores"):
        sides = outputs[name].tensor_shape.dim
        assert [side.size for side in sides] == [-1, TOP]
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name])


def test_a_bad_image_has_a_status_and_costs_no_other(answers, images):
    good = (images / "3.png").read_bytes()
    found = answers([b"", good, good[:40], b"text"])
    assert found["status"].tolist()[:2] == [b"empty", b"ok"]
    assert b"ok" not in found["status"].tolist()[2:]
    assert found["names"][1, 0] == b"3.png"
    for row in (0, 2, 3):
        assert np.isnan(found["scores"][row]).all()
        assert set(found["names"][row]) == {b""}


@pytest.mark.slow
def test_it_is_published_as_a_version_beside_the_last(published, index):
    assert status("serve", index=index, output=published, top=2) == 0
    assert {p.name for p in published.iterdir()} >= {"1", "2"}
    card = json.loads((published / "2" / "model_card.json").read_text())
    assert card["outputs"]["names"] == [None, 2]
    assert card["count"] == COUNT


def test_what_does_not_fit_is_refused_with_the_figures(
    index, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr(serving, "_free_bytes", lambda: 1000)
    line = refusal(capfd, "serve", index=index, output=tmp_path / "out")
    assert f"{COUNT} images of width 10 need" in line and "1000 bytes" in line
    assert not (tmp_path / "out").exists()


def test_memory_needed_is_that_of_the_rows_and_names(index):
    needs = serving.memory(store.open_index(index))
    rows = COUNT * 10 * 4
    assert rows < needs.served < rows + COUNT * 400
    assert needs.written == 2 * needs.served


@pytest.mark.slow
def test_another_model_is_refused(index, another, tmp_path, capfd):
    given = {"index": index, "output": tmp_path / "out"}
    line = refusal(capfd, "serve", **given, saved_model=another)
    assert str(another) in line and "differ" in line


def test_bad_input_is_one_line(index, tmp_path, capfd):
    given = {"index": index, "output": tmp_path / "out"}
    line = refusal(capfd, "serve", **given, top=COUNT + 1)
    assert f"top must be at most the number of images, {COUNT}" in line
    assert "output must be" in refusal(capfd, "serve", index=index)
    line = refusal(capfd, "serve", index=index, output=__file__)
    assert "output must be a folder" in line
    line = refusal(capfd, "serve", **{**given, "index": tmp_path})
    assert f"no index in index={tmp_path}" in line


def test_a_search_model_is_no_model_to_index_with(
    published, images, exported, tmp_path, capfd
):
    given = {"images": images, "output": tmp_path / "idx"}
    line = refusal(capfd, "build_index", saved_model=published, **given)
    assert "must be an export of features" in line
    assert "Received: a search model. Give the export that it was" in line
    assert str(exported) in line
