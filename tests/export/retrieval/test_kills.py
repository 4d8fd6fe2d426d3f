"""A build that is killed goes on, and ends as one that was not."""

import time

import numpy as np
import pytest

from export.retrieval import store
from tests.support import processes
from tests.support.commands import environment

_SECONDS = 300


def start(exported, images, output):
    return processes.start(
        [
            *("-m", "export.retrieval.build_index"),
            f"--saved_model={exported}",
            f"--images={images}",
            f"--output={output}",
            "--duplicates=",
        ],
        env=environment(),
    )


def rows_by_name(folder):
    index = store.open_index(folder)
    names = [name for _, name in store.names_of(index.parts)]
    rows = np.concatenate(index.features)
    assert len(set(names)) == len(rows)
    return dict(zip(names, rows, strict=True))


@pytest.mark.slow
def test_killed_build_goes_on_and_ends_as_one_that_was_not(
    exported, shared_data, tmp_path
):
    images = f"tfrecord:{shared_data / 'cifar10_test.tfrecord'}"
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    first = start(exported, images, killed)
    part, ends = killed / store.PARTS / "1.json", time.monotonic() + _SECONDS
    while not part.exists() and first.poll() is None:
        assert time.monotonic() < ends
        time.sleep(0.005)
    first.kill()
    first.wait(60)
    with pytest.raises(ValueError, match="is not finished"):
        store.open_index(killed)
    kept = part.stat().st_mtime_ns
    again = start(exported, images, killed)
    output, errors = again.communicate(_SECONDS)
    assert again.returncode == 0, errors
    kept_rows = len(store.read_part(killed, 1).keys)
    assert f"{5_000 - kept_rows:,} images added, {kept_rows:,} kept" in output
    assert part.stat().st_mtime_ns == kept
    straight = start(exported, images, whole)
    assert straight.wait(_SECONDS) == 0
    expected, found = rows_by_name(whole), rows_by_name(killed)
    assert set(found) == set(expected)
    for name, row in expected.items():
        np.testing.assert_allclose(found[name], row, atol=1e-5)
    leftovers = list(killed.rglob("*.partial"))
    assert not leftovers
