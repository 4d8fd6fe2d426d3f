"""The client against both protocols: every image has its own answer."""

import concurrent.futures
import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export.serving import client
from tests.export.serving.conftest import MODEL
from tests.support.exported import SIZE
from tests.support.image_files import encoded, from_zip, picture
from tests.support.marks import slow
from tests.support.model_servers import local, needs_tf_serving, tf_serving
from tfclust.cli import flags
from tfclust.data.reading import decoding

PROTOCOLS = ("grpc", "http")


def status(*arguments):
    flags.define(client.ClientConfig)
    given = [str(argument) for argument in arguments]
    return flags.status(client.main, ["client.py", *given])


def url_of(server, protocol):
    return server.grpc_url if protocol == "grpc" else server.rest_url


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Images of all kinds and sizes, and files that are none."""
    folder = tmp_path_factory.mktemp("photos")
    kinds = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
    for i in range(13):
        kind = kinds[i % len(kinds)]
        image = picture(20 + i, 40 - i)
        name = f"{i:02d}.{kind.lower()}"
        (folder / name).write_bytes(encoded(image, kind))
    turned = Image.Exif()
    turned[0x0112] = 6
    (folder / "turned.jpg").write_bytes(
        encoded(picture(30, 20), "JPEG", exif=turned)
    )
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("no image")
    return folder


def expected(model, folder, name):
    """Features of one image, seen as people see it, by Python."""
    data = (folder / name).read_bytes()
    image = Image.fromarray(decoding.decode_by_pillow(data))
    if name.startswith("turned"):
        image = image.transpose(Image.Transpose.ROTATE_270)
    file = io.BytesIO()
    image.save(file, "PNG")
    # TensorFlow's JPEG decoder differs from Pillow's by grey levels.
    plain = name.endswith(".jpeg")
    found = model.signatures["serving_default"](
        image_bytes=tf.constant([data if plain else file.getvalue()])
    )
    return {k: v.numpy()[0] for k, v in found.items()}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_image_has_its_own_answer_in_npz(
    server, python_model, photos, tmp_path, protocol, capsys
):
    output = tmp_path / "features.npz"
    arguments = (
        f"--url={url_of(server, protocol)}", f"--model={MODEL}",
        f"--images=folder:{photos}", f"--output={output}",
        "--batch_size=4", "--concurrency=3",
    )  # fmt: skip
    assert status(*arguments) == 0
    with np.load(output) as found:
        rows = {name: i for i, name in enumerate(found["name"])}
        arrays = dict(found)
    assert set(rows) == {path.name for path in photos.iterdir()}
    for name in ("00.png", "01.jpeg", "05.tiff", "turned.jpg"):
        wanted = expected(python_model, photos, name)
        i = rows[name]
        # The server's version is the frozen one.
        tolerance = 2e-3 if name == "turned.jpg" else 1e-5
        np.testing.assert_allclose(
            arrays["features"][i], wanted["features"], atol=tolerance
        )
        assert arrays["cluster"][i] == wanted["cluster"]
        assert arrays["status"][i] == "ok"
    for name in ("empty.jpg", "text.png"):
        i = rows[name]
        assert arrays["status"][i].startswith("not sent: ")
        assert np.isnan(arrays["features"][i]).all()
        assert arrays["cluster"][i] == -1
    about = json.loads(str(arrays["about"]))
    assert about["version"] == 2 and about["model"] == MODEL
    output_text = capsys.readouterr().out
    assert "14 of 16 images answered" in output_text
    assert status(*arguments) == 2  # it is there already
    assert "--restart" in capsys.readouterr().err


def test_photos_have_the_models_own_answers(
    server, python_model, shared_data, tmp_path
):
    folder, output = tmp_path / "photos", tmp_path / "f.npz"
    names = from_zip(shared_data / "photos.zip", folder, 10)
    assert status(
        f"--url={server.grpc_url}", f"--model={MODEL}",
        f"--images=folder:{folder}", f"--output={output}",
    ) == 0  # fmt: skip
    files = [(folder / name).read_bytes() for name in sorted(names)]
    serve = python_model.signatures["serving_default"]
    wanted = serve(image_bytes=tf.constant(files))
    with np.load(output) as found:
        assert found["name"].tolist() == sorted(names)
        assert set(found["status"]) == {"ok"}
        np.testing.assert_allclose(
            found["features"], wanted["features"].numpy(), atol=1e-5
        )
        assert found["cluster"].tolist() == wanted["cluster"].numpy().tolist()


def test_the_limit_of_bytes_is_the_files(server, tmp_path):
    """A turned photo is sent as PNG, which has many times as many."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    photo = encoded(noise, "JPEG", exif=turned, quality=50)
    assert len(encoded(noise)) > 3 * len(photo)
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(photo)
    (folder / "longer.jpg").write_bytes(photo + b"\0")
    assert status(
        f"--url={server.grpc_url}", f"--model={MODEL}",
        f"--images=folder:{folder}", f"--output={tmp_path}/f.npz",
        f"--max_image_bytes={len(photo)}",
    ) == 0  # fmt: skip
    with np.load(tmp_path / "f.npz") as found:
        told = dict(zip(found["name"], found["status"], strict=True))
    assert told["photo.jpg"] == "ok"
    assert told["longer.jpg"].startswith(f"not sent: {len(photo) + 1:,} bytes")


def test_parquet_has_the_rows_of_npz(server, photos, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    both = []
    for name in ("a.npz", "b.parquet"):
        output = tmp_path / name
        assert status(
            f"--url={server.rest_url}", f"--model={MODEL}",
            f"--images=folder:{photos}", f"--output={output}",
            "--outputs=features,cluster", "--batch_size=5",
        ) == 0  # fmt: skip
        both.append(output)
    table = parquet.read_table(both[1])
    assert json.loads(table.schema.metadata[b"tfclust"])["version"] == 2
    with np.load(both[0]) as found:
        names = {"name", "status", "features", "cluster"}
        assert set(found.files) == names | {"about"}
        assert set(table.column_names) == names
        for name in names - {"features"}:
            assert table[name].to_pylist() == found[name].tolist()
        features = np.array(table["features"].to_pylist(), np.float32)
        np.testing.assert_array_equal(features, found["features"])


def test_pixels_in_memory_are_sent_without_loss(server, python_model, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3))
    np.savez(tmp_path / "x.npz", x=images.astype(np.uint8))
    output = tmp_path / "features.npz"
    assert status(
        f"--url={server.grpc_url}", f"--model={MODEL}",
        f"--images=npz:{tmp_path}/x.npz?images=x", f"--output={output}",
    ) == 0  # fmt: skip
    wanted = python_model.signatures["images"](
        images=tf.constant(images / 255, tf.float32)
    )
    with np.load(output) as found:
        np.testing.assert_allclose(
            found["features"], wanted["features"].numpy(), atol=1e-5
        )


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--model=wrong"], "refuses model wrong"),
        (["--label=nobody"], "Unrecognized servable version label: nobody"),
        (["--version=9"], "refuses model mine, version 9"),
        (["--signature=nothing"], "has no signature nothing. It has images"),
        (
            ["--signature=images"],
            "not encoded images. Signatures that do: serv",
        ),
        (["--outputs=colour"], "has no output colour. It has cluster"),
    ],
)
def test_each_fault_is_one_clear_line(
    server, photos, tmp_path, capsys, protocol, arguments, words
):
    assert status(
        f"--url={url_of(server, protocol)}", f"--model={MODEL}",
        f"--images=folder:{photos}", f"--output={tmp_path}/f.npz", *arguments,
    ) == 2  # fmt: skip
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--url=grpc://127.0.0.1:1"], "no model server answers at grpc://127"),
        (["--url=http://127.0.0.1:1"], "no model server answers at http://127"),
        (["--url=ftp://here"], "url must be grpc://host:8500"),
        (["--url=http://here:x"], "url must be"),
        (["--url=grpc://here", "--images="], "images must be given"),
        (
            ["--url=grpc://here", "--images=folder:/nowhere/x"],
            "expects a folder",
        ),
        (
            ["--url=grpc://here", "--output=f.csv"],
            "output must end in .parquet",
        ),
        (["--url=grpc://here", "--label=a", "--version=1"], "either version"),
        (["--url=grpc://here", "--batch_size=0"], "batch_size must be at"),
        (["--url=grpc://here", "--output={}.npz"], "output must be a file"),
        (["--url=grpc://here", "--output=/proc/x/f.npz"], "output must be in"),
    ],
)
def test_bad_input_is_one_line(photos, tmp_path, capsys, arguments, words):
    folder = tmp_path / "folder"
    folder.with_suffix(".npz").mkdir()
    arguments = [word.format(folder) for word in arguments]
    assert status(
        "--model=mine", f"--images=folder:{photos}",
        f"--output={tmp_path}/f.npz", "--retries=1", *arguments,
    ) == 2  # fmt: skip
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_a_folder_without_a_good_image_is_one_line(server, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "text.png").write_text("no image")
    assert status(
        f"--url={server.grpc_url}", f"--model={MODEL}",
        f"--images=folder:{tmp_path}/photos", f"--output={tmp_path}/f.npz",
    ) == 2  # fmt: skip
    error = capsys.readouterr().err
    assert "none of 1 images can be read" in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("protocol", ["grpc", slow("http")])
def test_a_label_means_the_version_that_it_names(
    own_versions, photos, tmp_path, protocol
):
    from export.serving import configuration, exports
    from tfclust.saved_model.labels import CONFIG

    path = own_versions / CONFIG
    path.parent.mkdir()
    export = exports.Export(MODEL, own_versions, {"stable": 1, "canary": 2})
    path.write_text(configuration.models_config([export]))
    with local({MODEL: own_versions}, warm_up=False) as server:
        for label, number in export.labels.items():
            output = tmp_path / f"{label}.npz"
            assert status(
                f"--url={url_of(server, protocol)}", f"--model={MODEL}",
                f"--label={label}", f"--images=folder:{photos}",
                f"--output={output}", "--outputs=cluster",
            ) == 0  # fmt: skip
            with np.load(output) as found:
                assert json.loads(str(found["about"]))["version"] == number


@needs_tf_serving
@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tf_serving_answers_as_the_local_server_does(
    own_versions, server, photos, tmp_path, protocol
):
    from export.serving import serve

    flags.define(serve.ServeConfig)
    assert (
        flags.status(
            serve.main, ["serve.py", f"--models={own_versions}", "--stable=2"]
        )
        == 0
    )
    found = {}
    with tf_serving(own_versions / "serving", {MODEL: own_versions}) as urls:
        theirs = urls[PROTOCOLS.index(protocol)]
        for name, url in (("real", theirs), ("ours", server.grpc_url)):
            output = tmp_path / f"{name}.npz"
            assert status(
                f"--url={url}", f"--model={MODEL}", f"--output={output}",
                f"--images=folder:{photos}",
            ) == 0  # fmt: skip
            with np.load(output) as stored:
                found[name] = dict(stored)
    for name, array in found["ours"].items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(found["real"][name], array, atol=1e-5)
        elif name != "about":
            assert found["real"][name].tolist() == array.tolist()


@needs_tf_serving
@pytest.mark.slow
def test_tf_serving_refuses_a_batch_of_different_sizes(own_versions):
    """What `serve` says of the signatures that take floats."""
    from export.serving import sending, serve, transport
    from export.serving.faults import Fault

    flags.define(serve.ServeConfig)
    # Long enough for two requests to meet in a batch.
    arguments = [f"--models={own_versions}", "--batch_timeout=2000000"]
    assert flags.status(serve.main, ["serve.py", *arguments]) == 0
    with tf_serving(own_versions / "serving", {MODEL: own_versions}) as urls:
        found = transport.connect(urls[0])
        about = found.describe(MODEL, None, None, 60).signatures["images"]
        target = sending.Target(MODEL, None, "images", "images", about.outputs)

        def ask(side):
            images = np.zeros([1, side, side, 3], np.float32)
            try:
                return found.predict(target, {"images": images}, ["features"],
                                     60)  # fmt: skip
            except Fault as fault:
                return str(fault)

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            alike = list(pool.map(ask, (SIZE, SIZE)))
            unlike = list(pool.map(ask, (SIZE, SIZE + 8)))
        found.close()
    assert all("features" in answer for answer in alike)
    assert all("different shapes" in words for words in unlike)
