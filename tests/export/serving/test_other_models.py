"""The client asks an index for names, and a detector for boxes."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from export.retrieval import search, searching
from export.serving import client
from tests.support import retrieval
from tests.support.commands import write_digits
from tests.support.image_files import from_zip
from tests.support.marks import slow
from tests.support.model_servers import local
from tfclust.cli import flags

PROTOCOLS = ("grpc", "http")
TOP = 4


def asked(server, protocol, images, output, *more):
    """The columns that the client's command writes, by name of the image."""
    url = server.grpc_url if protocol == "grpc" else server.rest_url
    flags.define(client.ClientConfig)
    arguments = [
        f"--url={url}", "--model=mine", f"--images=folder:{images}",
        f"--output={output}", "--batch_size=2", *more,
    ]  # fmt: skip
    assert flags.status(client.main, ["client.py", *arguments]) == 0
    with np.load(output) as found:
        names = found["name"].tolist()
        columns = [n for n in found.files if n not in ("name", "about")]
        return {
            name: {column: found[column][i] for column in columns}
            for i, name in enumerate(names)
        }


@pytest.fixture(scope="module")
def index(versions, tmp_path_factory):
    """An index of digits, and the folder of its search model."""
    folder = tmp_path_factory.mktemp("index")
    images = write_digits(folder / "digits", count=20, by_class=False)
    retrieval.status(
        "build_index", saved_model=versions, images=images,
        output=folder / "idx",
    )  # fmt: skip
    assert retrieval.status(
        "serve", index=folder / "idx", output=folder / "search", top=TOP
    ) == 0  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def index_server(index):
    with local({"mine": index / "search"}) as running:
        yield running


@pytest.mark.parametrize("protocol", [slow("grpc"), "http"])
def test_a_served_index_answers_the_client_with_the_names_that_search_finds(
    index, index_server, tmp_path, protocol, capsys
):
    images = tmp_path / "digits"
    images.mkdir()
    for i in (3, 8, 15):
        shutil.copy(index / "digits" / f"{i}.png", images)
    (images / "text.png").write_text("no image")
    expected = searching.search(
        search.SearchConfig(
            index=str(index / "idx"), query=f"folder:{images}", top=TOP
        ),
        print,
    )
    assert len(expected) == 3
    output = tmp_path / "found.npz"
    found = asked(index_server, protocol, images, output)
    for answer in expected:
        row = found[answer.name]
        assert row["status"] == "ok"
        names = [result.name for result in answer.results]
        assert row["names"].tolist() == names and names[0] == answer.name
        scores = [result.score for result in answer.results]
        np.testing.assert_allclose(row["scores"], scores, atol=1e-4)
    bad = found["text.png"]
    assert bad["status"].startswith("not sent: ")
    assert bad["names"].tolist() == [""] * TOP
    assert np.isnan(bad["scores"]).all()
    # A person reads names, not their number.
    assert "  15.png: names 15.png, " in capsys.readouterr().out


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A detector's folder of versions, which finds something everywhere."""
    pytest.importorskip("keras_hub")
    from export.detection import config, network, saving
    from tests.support import detectors
    from tfclust import saved_model

    folder = tmp_path_factory.mktemp("detector")
    backbone = detectors.tiny_backbone(deepest=4)
    path = detectors.write_graph(folder / "backbone", backbone)
    knobs = config.DetectorConfig(
        saved_model=str(path), data="voc:/none", workdir="none",
        image_size=64, levels=(3, 4), head_convolutions=0,
    )  # fmt: skip
    made = network.build(saved_model.load_graph(path), 2, knobs)
    # Untrained, it would be sure of nothing, and no box would be compared.
    bias = made.model.classification_head.prediction_layer.bias
    bias.assign(np.linspace(-2, 2, len(bias.numpy())))
    saving.save(made, ("red", "white"), folder / "versions", {})
    return folder / "versions"


@pytest.mark.slow
def test_a_served_detector_answers_the_client_with_its_boxes(
    detector, shared_data, tmp_path
):
    images = tmp_path / "cells"
    from_zip(shared_data / "bccd_voc.zip", images, 5)
    loaded = tf.saved_model.load(str(detector / "1"))
    serve = loaded.signatures["serving_default"]
    with local({"mine": detector}) as server:
        for protocol in PROTOCOLS:
            output = tmp_path / f"{protocol}.npz"
            found = asked(server, protocol, images, output)
            assert len(found) == 5
            for name, row in found.items():
                data = tf.constant([(images / name).read_bytes()])
                expected = serve(image_bytes=data)
                assert row["status"] == "ok"
                assert row["num_boxes"] == expected["num_boxes"][0] > 0
                assert row["boxes"].shape == (100, 4)
                assert row["boxes"].max() > 64  # in pixels of the photo
                for column in ("boxes", "classes", "scores"):
                    np.testing.assert_allclose(
                        row[column], expected[column][0], atol=1e-3
                    )


@pytest.mark.slow
def test_boxes_are_kept_as_parquet(detector, shared_data, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    images = tmp_path / "cells"
    from_zip(shared_data / "bccd_voc.zip", images, 2)
    with local({"mine": detector}) as server:
        flags.define(client.ClientConfig)
        output = tmp_path / "boxes.parquet"
        arguments = [
            f"--url={server.rest_url}", "--model=mine", f"--output={output}",
            f"--images=folder:{images}", "--outputs=boxes,num_boxes",
        ]  # fmt: skip
        assert flags.status(client.main, ["client.py", *arguments]) == 0
    table = parquet.read_table(output)
    assert set(table.column_names) == {"name", "status", "boxes", "num_boxes"}
    for boxes, count in zip(
        table["boxes"].to_pylist(), table["num_boxes"].to_pylist(), strict=True
    ):
        assert len(boxes) == 100 and len(boxes[0]) == 4
        assert boxes[0][2] > 0 and count > 0
