"""Checkpoints are exact, whole or absent, and held by one run at a time."""

import subprocess
import sys

import numpy as np
import pytest

from tests.support import processes
from tests.support.disk import full_disk
from tests.support.processes import ROOT
from tfclust.runs import checkpoints
from tfclust.runtime import folders, locks

ARRAYS = {
    "backbone/0000/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "step": np.int64(7),
    "visited": np.array([True, False]),
    "seed": np.array([1, 2], np.uint32),
    "half": np.float16([0.1]),
    "empty": np.zeros((0, 4), np.float64),
    "file": np.float32([np.nan, np.inf, -0.0]),
}


def heard():
    """A list, and the function that fills it."""
    sentences = []
    return sentences, sentences.append


def test_loaded_arrays_equal_the_saved_bit_for_bit(tmp_path):
    checkpoints.save(tmp_path, 7, ARRAYS, about={"recipe": {"ä": "1"}})
    found = checkpoints.latest(tmp_path)
    assert (found.step, found.about) == (7, {"recipe": {"ä": "1"}})
    assert found.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()


def test_newest_checkpoints_are_kept(tmp_path):
    for step in (5, 10, 15):
        path = checkpoints.save(tmp_path, step, ARRAYS, keep=2)
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "0000000010",
        "0000000015",
    ]


def test_checkpoint_just_written_is_kept_though_later_ones_lie_there(tmp_path):
    checkpoints.save(tmp_path, 50, ARRAYS, keep=1)
    path = checkpoints.save(tmp_path, 40, ARRAYS, keep=1)
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "0000000040",
        "0000000050.aside",
    ]


def test_saving_a_step_again_replaces_it(tmp_path):
    checkpoints.save(tmp_path, 5, {"a": np.zeros(1)})
    checkpoints.save(tmp_path, 5, {"a": np.ones(1)})
    assert checkpoints.latest(tmp_path).arrays["a"] == [1.0]


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoints.latest(tmp_path / "absent") is None


def _cut(path):
    file = path / "arrays.npz"
    file.write_bytes(file.read_bytes()[:-50])


def _flip_a_byte(path):
    file = path / "arrays.npz"
    content = bytearray(file.read_bytes())
    content[content.index(ARRAYS["backbone/0000/kernel"].tobytes()) + 5] ^= 1
    file.write_bytes(bytes(content))


def _empty_manifest(path):
    (path / "manifest.json").write_text("")


def _without_manifest(path):
    (path / "manifest.json").unlink()


@pytest.mark.parametrize(
    "damage",
    [_cut, _flip_a_byte, _empty_manifest, _without_manifest],
)
def test_damaged_checkpoint_is_left_out_with_a_word(tmp_path, damage):
    checkpoints.save(tmp_path, 5, ARRAYS)
    damage(checkpoints.save(tmp_path, 10, ARRAYS))
    sentences, say = heard()
    assert checkpoints.latest(tmp_path, say=say).step == 5
    (sentence,) = sentences
    assert "damaged" in sentence and "0000000010" in sentence


def test_no_flipped_bit_of_a_checkpoint_loads_something_else(tmp_path):
    about = {"recipe": {"run": {"seed": 3}}}
    path = checkpoints.save(tmp_path, 12, ARRAYS, about=about)
    refused = 0
    for file in (path / "manifest.json", path / "arrays.npz"):
        whole = file.read_bytes()
        for place in range(0, len(whole), 3):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << place % 8
            file.write_bytes(damaged)
            try:
                found = checkpoints.load(path)
            except checkpoints.DamagedCheckpoint:
                refused += 1
                continue
            except checkpoints.UnreadableCheckpoint as error:
                assert "has format" in str(error)  # of a flip in its number
                refused += 1
                continue
            # Padding and times of the archive, which nobody reads.
            assert (found.step, found.about) == (12, about)
            for name, array in ARRAYS.items():
                assert found.arrays[name].tobytes() == array.tobytes()
        file.write_bytes(whole)
    assert refused > 333


def test_a_damaged_newer_checkpoint_costs_no_good_one(tmp_path):
    checkpoints.save(tmp_path, 5, ARRAYS)
    _cut(checkpoints.save(tmp_path, 10, ARRAYS))
    path = checkpoints.save(tmp_path, 7, ARRAYS, keep=2)
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "0000000005",
        "0000000007",
        "0000000010.aside",
    ]


def test_names_that_differ_from_the_manifest_are_reported(tmp_path):
    path = checkpoints.save(tmp_path, 5, {"a": np.zeros(1), "b": np.ones(1)})
    np.savez(path / "arrays.npz", b=np.ones(1), c=np.ones(1))
    with pytest.raises(
        checkpoints.DamagedCheckpoint,
        match=r"Missing: \['a'\], unexpected: \['c'\]",
    ):
        checkpoints.load(path)


def test_half_written_checkpoint_is_left_out_and_later_removed(tmp_path):
    path = checkpoints.save(tmp_path, 5, ARRAYS)
    partial = path.with_name(".0000000010.partial")
    partial.mkdir()
    (partial / "arrays.npz").write_bytes(b"half")
    sentences, say = heard()
    assert checkpoints.latest(tmp_path, say=say).step == 5
    assert "was being written" in sentences[0]
    checkpoints.save(tmp_path, 10, ARRAYS)
    assert not partial.exists()


def test_killed_while_saving_leaves_the_checkpoint_before(tmp_path):
    checkpoints.save(tmp_path, 5, {"a": np.zeros(1)})
    code = (
        "import os, sys, numpy as np\n"
        "from tfclust.runs import checkpoints\n"
        "checkpoints._write_manifest = lambda *_: os.kill(os.getpid(), 9)\n"
        "checkpoints.save(sys.argv[1], 10, {'a': np.ones(1)})\n"
    )
    done = processes.run(["-c", code, tmp_path], fresh=True)
    assert done.returncode == -9
    sentences, say = heard()
    assert checkpoints.latest(tmp_path, say=say).step == 5
    assert len(sentences) == 1


def test_failed_save_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="Received: words of type"):
        checkpoints.save(tmp_path, 5, {"words": np.array(["a"])})
    assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("limit", [0, 1000, 100_100])
def test_full_disk_leaves_the_checkpoint_before_and_says_so(tmp_path, limit):
    """Full before the arrays, within them, and before the manifest."""
    arrays = {"a": np.ones(100_000, np.uint8)}
    checkpoints.save(tmp_path, 5, arrays, keep=1)
    with (
        full_disk(limit),
        pytest.raises(
            folders.DiskError,
            match="step 10 in .* File too large. Last good checkpoint: step 5",
        ),
    ):
        checkpoints.save(tmp_path, 10, arrays, keep=1)
    left = [p.name for p in (tmp_path / "checkpoints").iterdir()]
    assert left == ["0000000005"]
    assert checkpoints.latest(tmp_path).step == 5


def test_second_run_in_a_workdir_is_refused_until_the_first_ends(tmp_path):
    code = (
        "import sys\n"
        "from tfclust.runtime import locks\n"
        "with locks.lock(sys.argv[1]):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(locks.BusyError, match=f"{other.pid}"),
            locks.lock(tmp_path),
        ):
            pass
    finally:
        other.communicate(timeout=30)
    with locks.lock(tmp_path):
        pass
