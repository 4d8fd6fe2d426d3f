"""PyTorch's own files: their tensors, and nothing that runs."""

import argparse
import builtins
import pathlib

import numpy as np
import pytest

from tests.support import published
from tfclust import backbones
from tfclust.backbones.pretrained.torch_file import read_torch


def test_missing_pytorch_is_told_with_the_way_out(monkeypatch, tmp_path):
    real = builtins.__import__

    def without_torch(name, *rest):
        if name == "torch" or name.startswith("torch."):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(
        "importlib.import_module", lambda name: without_torch(name)
    )
    (tmp_path / "a.pth").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r'pip install "tfclust\[torch\]"'):
        read_torch(tmp_path / "a.pth")


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_a_nested_checkpoint_are_read(torch, zipped, tmp_path):
    weight = torch.arange(6.0).reshape(2, 3)
    checkpoint = {
        "epoch": 3,
        "arch": "resnet50",
        "args": argparse.Namespace(lr=0.1),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}},
        "L": torch.ones(9),
        "losses": {"mean": torch.ones(1), "count": 3},
        "state_dict": {
            "conv1.weight": weight,
            "fc.bias": torch.nn.Parameter(torch.ones(3)),
            "half": weight.half(),
            "brain": weight.bfloat16(),
        },
    }
    torch.save(
        checkpoint, tmp_path / "a", _use_new_zipfile_serialization=zipped
    )
    found = read_torch(tmp_path / "a")
    expected = {
        f"state_dict.{name}": tensor.detach().float().numpy()
        for name, tensor in checkpoint["state_dict"].items()
    }
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_weights_load_from_a_pytorch_file_as_from_safetensors(torch, tmp_path):
    arrays = published.resnet()
    state = {n: torch.as_tensor(a) for n, a in arrays.items()}
    torch.save({"state_dict": state}, tmp_path / "a.pth.tar")
    published.write_safetensors(tmp_path / "a.safetensors", arrays)
    one, two = backbones.build("resnet18"), backbones.build("resnet18")
    backbones.load_weights(one, tmp_path / "a.pth.tar")
    backbones.load_weights(two, tmp_path / "a.safetensors")
    pairs = zip(one.get_weights(), two.get_weights(), strict=True)
    for left, right in pairs:
        np.testing.assert_array_equal(left, right)


def test_nothing_is_unpickled(torch, tmp_path):
    class Touches:
        def __reduce__(self):
            return pathlib.Path.touch, (tmp_path / "unpickled",)

    torch.save({"conv1.weight": Touches()}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="objects other than tensors"):
        read_torch(tmp_path / "a.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"tensors \(torch\.nn\..*Linear"):
        read_torch(tmp_path / "b.pth")
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize("content", [b"", b"hello world", b"PK\3\4" * 9])
def test_what_is_no_checkpoint_is_told(torch, content, tmp_path, recwarn):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match="PyTorch cannot read it: ") as caught:
        read_torch(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)
    assert not recwarn


def test_truncated_checkpoint_is_told(torch, tmp_path):
    torch.save({"a": torch.ones(2000)}, tmp_path / "a.pth")
    data = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(data[:3000])
    with pytest.raises(ValueError, match="PyTorch cannot read it: "):
        read_torch(tmp_path / "a.pth")
