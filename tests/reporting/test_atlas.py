import numpy as np
import pytest

from tfclust.reporting.atlas import atlas


def test_images_of_a_group_lie_nearer_than_those_of_others():
    random = np.random.default_rng(0)
    centres = 5 * random.normal(size=(4, 20))
    groups = np.repeat(np.arange(4), 25)
    places = atlas(centres[groups] + 0.1 * random.normal(size=(100, 20)))
    assert places.min() == 0 and places.max() == 1
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    nearest = np.argsort(apart, axis=1)[:, 1:6]
    np.testing.assert_array_equal(
        groups[nearest], groups[:, None] + 0 * nearest
    )


@pytest.mark.slow
def test_umap_keeps_groups_together_where_it_is_installed():
    pytest.importorskip("umap", reason="needs pip install tfclust[umap]")
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), 25)
    rows = 5 * random.normal(size=(4, 20))[groups]
    rows += 0.1 * random.normal(size=rows.shape)
    places = atlas(rows, kind="umap")
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    nearest = np.argsort(apart, axis=1)[:, 1:4]
    assert (groups[nearest] == groups[:, None]).mean() > 0.99
    assert np.isfinite(atlas(rows[:6], kind="umap")).all()


def test_equal_images_have_finite_places():
    assert np.isfinite(atlas(np.ones([30, 8]))).all()
    assert np.isfinite(atlas(np.zeros([30, 8]))).all()


def test_a_handful_of_images_has_no_map():
    assert atlas(np.eye(4)) is None
