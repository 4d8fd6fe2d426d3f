"""Two exports that tests of this room share."""

import pytest

from tests.support import exported as support


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A version of a small network."""
    return _saved(tmp_path_factory, seed=1)


@pytest.fixture(scope="session")
def another(tmp_path_factory):
    """A version of another network of the same width."""
    return _saved(tmp_path_factory, seed=2)


def _saved(tmp_path_factory, seed):
    from tfclust import saved_model

    folder = tmp_path_factory.mktemp(f"export{seed}")
    method = support.stand_in(seed=seed)
    return saved_model.save(method, folder, image_size=support.SIZE)
