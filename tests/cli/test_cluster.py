"""`tfclust.cluster` and `tfclust.embed` as a person types them."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.support.commands import TINY, status, write_digits
from tests.support.image_files import encoded, example, write_records
from tfclust import data
from tfclust.assignment import table
from tfclust.runs import clusters_file, loading


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return write_digits(folder / "digits", count=70, by_class=False)


@pytest.fixture(scope="module")
def workdir(images, tmp_path_factory):
    """The folder of a finished training command."""
    folder = tmp_path_factory.mktemp("run") / "run"
    code = status(
        "train",
        *TINY,
        f"--data=folder:{images}",
        "--eval_data=",
        f"--workdir={folder}",
        "--epochs=1",
    )
    assert code == 0
    return folder


@pytest.fixture(scope="module")
def export(workdir, tmp_path_factory):
    """An export whose clusters have names."""
    names = tmp_path_factory.mktemp("names") / "names.json"
    names.write_text(json.dumps({str(k): f"kind {k}" for k in range(5)}))
    before = (workdir / "clusters.csv").read_text()
    assert status("cluster", f"--workdir={workdir}", f"--names={names}") == 0
    after = (workdir / "clusters.csv").read_text()
    assert [*before.splitlines()[0]] == [*after.splitlines()[0]]
    folder = tmp_path_factory.mktemp("export")
    code = status("export", f"--workdir={workdir}", f"--output={folder}")
    assert code == 0
    return folder


def test_a_finished_run_has_a_page(workdir):
    page = (workdir / "report.html").read_text("utf-8")
    assert 'id="gallery"' in page and "data:image/jpeg" in page


def test_finished_run_holds_the_cluster_of_each_image(workdir, images):
    names, clusters, _ = table.read(workdir / "clusters.csv")
    source = data.open_source(f"folder:{images}", max_images=64)
    run = loading.load_run(workdir)
    method = run.method
    method.views = run.recipe.run  # its image_size and resize_size
    expected = method.clusters(source)
    assert names == expected.names
    np.testing.assert_array_equal(clusters, expected.clusters)


def test_command_writes_the_same_table_as_the_run_did(workdir, tmp_path):
    output = tmp_path / "a.csv"
    code = status("cluster", f"--workdir={workdir}", f"--output={output}")
    assert code == 0
    again = table.read(output)
    before = table.read(workdir / "clusters.csv")
    assert again[0] == before[0] and (again[1] == before[1]).all()


def test_training_again_says_so_and_keeps_the_table(workdir, capsys):
    path = workdir / "clusters.csv"
    before = path.stat()
    code = status("train", f"--flagfile={workdir / 'config.flags'}")
    assert code == 0
    assert "Finished already" in capsys.readouterr().out
    assert path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.slow
def test_export_gives_the_same_clusters_and_their_names(
    export, workdir, images, tmp_path
):
    output = tmp_path / "a.csv"
    code = status(
        "cluster",
        f"--saved_model={export}",
        f"--data=folder:{images}",
        "--max_images=64",
        f"--output={output}",
    )
    assert code == 0
    names, clusters, named = table.read(output)
    before = table.read(workdir / "clusters.csv")
    np.testing.assert_array_equal(clusters, before[1])
    assert named == {k: f"kind {k}" for k in {*clusters.tolist()}}
    model = tf.saved_model.load(str(export / "1"))
    files = [(images / name).read_bytes() for name in names[:8]]
    found = model.signatures["serving_default"](
        image_bytes=tf.constant([*files, b"no image"])
    )
    told = [name.decode() for name in found["cluster_name"].numpy()]
    assert told == [
        *(f"kind {k}" for k in found["cluster"].numpy()[:-1]),
        "",
    ]
    assert "cluster_name" not in model.signatures["images"].structured_outputs


@pytest.mark.slow
def test_drift_is_measured_by_an_export_too(export, images, tmp_path, capsys):
    code = status(
        "cluster",
        f"--saved_model={export}",
        f"--data=folder:{images}",
        "--max_images=64",
        f"--output={tmp_path / 'a.csv'}",
        "--drift",
    )
    assert code == 0
    about = clusters_file.read(export / "1/assets.extra/clusters.json").about
    (line,) = (
        line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("Drift: ")
    )
    assert line.count(f"{about['outliers']:.1%}") == 2


def test_comparing_a_run_with_itself(workdir, capsys):
    assert status("cluster", f"--compare={workdir},{workdir}") == 0
    said = capsys.readouterr().out
    assert said.startswith("64 images are in both tables; the clusters agree")
    assert "100% of both in common" in said and "split" not in said


@pytest.mark.slow
def test_embedding_gives_features_by_name(workdir, export, images, tmp_path):
    for words in (f"--workdir={workdir}", f"--saved_model={export}"):
        code = status(
            "embed",
            words,
            f"--data=folder:{images}",
            "--max_images=70",  # the run has seen fewer of them
            f"--output={tmp_path / 'a.npz'}",
        )
        assert code == 0
        with np.load(tmp_path / "a.npz") as found:
            names, features = found["names"], found["features"]
        assert len(names) == len(features) == 70
        model = tf.saved_model.load(str(export / "1"))
        files = tf.constant([(images / str(n)).read_bytes() for n in names])
        served = model.signatures["serving_default"](image_bytes=files)
        np.testing.assert_allclose(
            features, served["features"], rtol=1e-3, atol=1e-4
        )


def test_embedding_into_parquet(workdir, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    assert status("embed", f"--workdir={workdir}", f"--output={path}") == 0
    found = parquet.read_table(path)
    assert found.column_names == ["name", "features"]
    assert found.num_rows == 64


def refused(capsys, *words):
    assert status("cluster", *words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("cluster: "), error
    return error


def test_bad_input_is_one_line(workdir, tmp_path, capsys):
    run = f"--workdir={workdir}"
    (tmp_path / "names.json").write_text('["cats"]')
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "folder.html").mkdir()
    np.savez(tmp_path / "mine.npz", features=np.ones(3))
    cases = {
        f"--names={tmp_path / 'names.json'}": "a JSON file of names by cluster",
        f"--names={tmp_path / 'none.json'}": "does not exist",
        f"--keep_ids={tmp_path / 'none.csv'}": "no table at",
        f"--output={tmp_path / 'folder.csv'}": "output must be a file",
        f"--output={tmp_path / 'mine.csv'}": "mine.npz would be replaced",
        f"--output={tmp_path / 'names.csv'}": "names.json is damaged",
        f"--gallery={tmp_path / 'folder.html'}": "gallery must be a file",
        "--num_clusters=65": "64 images cannot fill 65 clusters",
        "--gallery=/proc/x/a.html": "gallery must be in a folder",
        f"--copy_into={tmp_path}": "a new or an empty folder",
        f"--max_images=9 --output={workdir}/clusters.csv": "must not replace",
    }
    for words, expected in cases.items():
        assert expected in refused(capsys, run, *words.split()), words
    assert not [*workdir.glob(".*.work")]
    pixels = np.zeros([8, 8, 3], np.uint8)
    records = tmp_path / "a.tfrecord"
    write_records(records, [example(encoded(pixels, "PNG"))])
    stream = f"--data=tfrecord_stream:{records}?window=1"
    output = f"--output={tmp_path / 'a.csv'}"
    assert "Write tfrecord: instead" in refused(capsys, run, stream, output)


def test_features_do_not_replace_the_centres_of_clusters(workdir, capsys):
    path = workdir / "clusters.npz"
    before = path.read_bytes()
    code = status("embed", f"--workdir={workdir}", f"--output={path}")
    assert code == 2
    assert "the centres of clusters" in capsys.readouterr().err
    assert path.read_bytes() == before


def without(*keys):
    """A change of a clusters file: the value under these keys is gone."""

    def change(words):
        *way, last = keys
        place = words
        for key in way:
            place = place[key]
        del place[last]

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (None, "is damaged"),
        (without("clusters", 0, "reach"), "is damaged: KeyError('reach')"),
        (without("outliers"), "is damaged: KeyError('outliers')"),
        (lambda words: words.update(version=2), "is of another version"),
        (lambda words: words["clusters"][0].update(id=-1), "id must be from"),
    ],
)
def test_damaged_clusters_file_is_told(
    workdir, tmp_path, capsys, change, expected
):
    path = workdir / "clusters.json"
    before = path.read_text()
    words = json.loads(before)
    if change is not None:
        change(words)
    path.write_text(before[:50] if change is None else json.dumps(words))
    try:
        error = refused(
            capsys, f"--workdir={workdir}", f"--output={tmp_path / 'a.csv'}"
        )
    finally:
        path.write_text(before)
    assert "clusters.json" in error and expected in error
    assert "Move it away" in error
    assert not [*tmp_path.iterdir()]  # no pass was made for nothing


def test_names_can_be_read_from_a_clusters_file_of_any_version(tmp_path):
    path = tmp_path / "old.json"
    clusters = [{"id": 3, "name": "cats"}, {"id": 4, "name": ""}]
    path.write_text(json.dumps({"version": 9, "clusters": clusters}))
    assert clusters_file.read_names(path) == {3: "cats"}
