"""Features in a file for tools of one's own."""

import tracemalloc

import numpy as np
import pytest

from tfclust.assignment import embedding


@pytest.mark.parametrize("labelled", [True, False])
def test_file_has_the_chosen_rows_with_little_of_them_in_memory(
    tmp_path, labelled
):
    features = np.random.default_rng(0).normal(size=(5000, 8)).astype("f4")
    rows = np.delete(np.arange(5000), 17)
    names = [f"é{i}.png" for i in rows]
    names[3] = "x" * 4000  # of all, 80 MB
    labels = rows % 7 if labelled else None
    output = tmp_path / "a.npz"
    tracemalloc.start()
    embedding._write(output, features, rows, names, labels)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 50e6 and output.stat().st_size < 2e6
    with np.load(output) as found:
        assert {*found} == {"features", "names"} | (
            {"labels"} if labelled else set()
        )
        np.testing.assert_array_equal(found["features"], features[rows])
        assert found["names"].tolist() == names
        if labelled:
            np.testing.assert_array_equal(found["labels"], labels)
