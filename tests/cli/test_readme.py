"""README's lines for own images, as a person types them."""

import json

import pytest

from tests.support.commands import status, write_digits
from tests.support.processes import ROOT

pytestmark = pytest.mark.usefixtures("one_block")


def readme_lines(images, folder):
    """README's lines for own images, on `images`, as `status` wants."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Your own images")[1].split("##")[0]
    lines = [s for s in section.splitlines() if ".venv/bin/python" in s]
    for line in lines:
        line = line.replace("/my/images", str(images))
        line = line.replace("runs/mine", f"{folder}/run")
        line = line.replace("exports/mine", f"{folder}/export")
        yield [line.split("tfclust.")[1].split()[0], *line.split(" --")[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("by_class", [True, False])
def test_readmes_lines_serve_own_images(
    tmp_path, capsys, monkeypatch, by_class
):
    """Class folders get figures; without them there is a verdict."""
    monkeypatch.chdir(ROOT)
    images = write_digits(tmp_path / "images", count=150, by_class=by_class)
    shorter = ["minutes=0.2", "batch_size=50", "image_size=16"]
    shorter += ["augmentation=none", "mixed_precision=none"]
    codes, printed = {}, {}
    for name, *arguments in readme_lines(images, tmp_path):
        if name == "train":
            arguments += shorter
        elif name == "evaluate":
            arguments += ["cluster_restarts=2", "baselines="]
        codes[name] = status(name, *(f"--{a}" for a in arguments))
        printed[name] = capsys.readouterr()
    assert list(codes.values()) == [0, 0, 0, 0], printed
    page = (tmp_path / "run/clusters.html").read_text("utf-8")
    assert "data:image/jpeg" in page and 'id="gallery"' in page
    told = printed["evaluate"].err
    if not by_class:
        assert "has no labels" in told and "class folders" in told
        assert "Two crops of an image" in printed["evaluate"].out
        return
    assert told.splitlines()[0].endswith("held out to test on, 30 of 150.")
    assert "weighted 20-NN, top-1 %" in printed["evaluate"].out
    figures = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert figures["trained"]["linear"]["top1"] > 0.3  # 0.1 by chance


@pytest.mark.slow
def test_readmes_python_says_and_learns(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    words = readme.split("## From Python")[1].split("```")[1]
    words = words.removeprefix("python\n")
    write_digits(tmp_path / "images", count=150, by_class=False)
    words = words.replace("/my/images", str(tmp_path / "images"))
    # Digits have 8 pixels; as many steps as freezing takes, and some.
    words = words.replace("(32, 20)", "(16, 8)").replace("size=32", "size=16")
    words = words.replace("stored_size=59", "stored_size=24")
    words = words.replace("epochs=100", "epochs=40").replace("=60", "=15")
    found = {}
    exec(words, found)  # the README's words, not a user's
    said = capsys.readouterr().out
    assert "epoch 40 ·" in said and "of 15 clusters in use" in said
    assert "stay as they start" not in said  # as with ImageNet's freeze
    assert len(found["names"]) == len(found["clusters"]) == 150
    assert (tmp_path / "exports/mine").is_dir()
