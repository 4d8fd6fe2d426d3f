import numpy as np

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


def test_equal_images_have_finite_places():
    assert np.isfinite(atlas(np.ones([30, 8]))).all()
    assert np.isfinite(atlas(np.zeros([30, 8]))).all()


def test_a_handful_of_images_has_no_map():
    assert atlas(np.eye(4)) is None
