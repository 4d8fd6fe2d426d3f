"""What an export may have beside the model, as a command asks for it."""

import json

import pytest

from tests.support.commands import status, write_digits
from tfclust import backbones, data, saved_model
from tfclust.saved_model import formats, labels, warm_up


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights of the backbone `small`."""
    path = tmp_path_factory.mktemp("weights") / "small.weights.h5"
    config = backbones.BackboneConfig(backbone="small")
    backbones.from_config(config, image_size=8).save_weights(path)
    return path


@pytest.mark.slow
def test_a_command_exports_what_it_is_asked_for(weights, tmp_path, capsys):
    pytest.importorskip("tensorflow_serving")
    photos = write_digits(tmp_path / "photos", count=5, by_class=False)
    output = tmp_path / "exports"
    arguments = (
        f"--init_from={weights}", "--backbone=small", "--image_size=8",
        f"--output={output}",
    )  # fmt: skip
    assert status("export", *arguments) == 0
    (output / labels.CONFIG).parent.mkdir()
    (output / labels.CONFIG).write_text(
        'version_labels { key: "stable" value: 1 }'
    )
    more = ("--frozen", f"--warmup_images={photos}", "--keep_versions=1")
    for _ in range(2):
        assert status("export", *arguments, *more) == 0
    said = capsys.readouterr().out
    assert "models.config names it" in said
    assert f"Removed: version 2 of {output}." in said
    assert sorted(p.name for p in output.iterdir()) == ["1", "3", "serving"]
    card = json.loads((output / "3" / saved_model.CARD_FILE).read_text())
    assert card["frozen"] is True and card["warm_up"]["records"] == 12
    assert (output / "3" / warm_up.FILE).is_file()


@pytest.mark.parametrize(
    "argument, words",
    [
        ("--formats=onxx", "formats must be one of onnx, litert, openvino"),
        ("--keep_versions=0", "keep_versions must be at least 1"),
        ("--warmup_images=folder:/nowhere/x", "warmup_images=folder: expects"),
        ("--warmup_images=/nowhere/x", "warmup_images must be a folder"),
    ],
)
def test_bad_input_is_one_line(weights, tmp_path, capsys, argument, words):
    code = status(
        "export", f"--init_from={weights}", f"--output={tmp_path}/x", argument
    )
    error = capsys.readouterr().err
    assert code == 2 and words in error and error.count("\n") == 1


def test_a_format_without_its_packages_names_the_extra(monkeypatch):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r'pip install "tfclust\[openvino\]"'):
        formats.check_installed(["litert", "openvino"])


def test_large_files_are_no_warm_up(tmp_path, monkeypatch):
    write_digits(tmp_path, count=3, by_class=False)
    source = data.open_source(str(tmp_path))
    assert len(warm_up.encoded_images(source)) == 3
    monkeypatch.setattr(warm_up, "MAX_IMAGE_BYTES", 10)
    with pytest.raises(ValueError, match="a file of at most 10 bytes"):
        warm_up.encoded_images(source)
