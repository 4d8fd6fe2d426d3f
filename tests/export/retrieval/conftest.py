"""Two exports that tests of this room share."""

import pathlib

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


@pytest.fixture(scope="session", autouse=True)
def _loaded_once():
    """A version that is still there is loaded once, not for each command."""
    from export.retrieval import model

    load, known = model.load, {}

    def cached(path):
        path = pathlib.Path(path)
        marks = [(p, p.stat().st_mtime_ns) for p in sorted(path.glob("*"))]
        key = path, *marks
        if not marks or key not in known:
            known[key] = load(path)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "load", cached)
        yield


def _saved(tmp_path_factory, seed):
    from tfclust import saved_model

    folder = tmp_path_factory.mktemp(f"export{seed}")
    method = support.stand_in(seed=seed)
    return saved_model.save(method, folder, image_size=support.SIZE)
