"""Exports that several files of these tests serve."""

import pytest

from tests.support.image_files import encoded, picture

pytest.importorskip("grpc", reason='needs pip install "tfclust[serving]"')
pytest.importorskip("tensorflow_serving", reason="needs tfclust[serving]")
MODEL = "mine"


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A method, and its folder of two versions: plain, and frozen."""
    from tests.support.exported import SIZE, stand_in
    from tfclust import saved_model

    method = stand_in()
    folder = tmp_path_factory.mktemp("exports") / MODEL
    saved_model.save(method, folder, image_size=SIZE)
    files = tuple(encoded(picture()) for _ in range(3))
    extras = saved_model.Extras(warmup_images=files, frozen=True)
    saved_model.save(method, folder, image_size=SIZE, extras=extras)
    return method, folder


@pytest.fixture(scope="session")
def versions(exported):
    """The folder of versions; nobody writes into it."""
    return exported[1]


@pytest.fixture(scope="session")
def python_model(versions):
    """The plain version, loaded by Python."""
    import tensorflow as tf

    return tf.saved_model.load(str(versions / "1"))


@pytest.fixture(scope="session")
def server(versions):
    """A local server of the newest version."""
    from tests.support.model_servers import local

    with local({MODEL: versions}, max_request_bytes=1 << 20) as running:
        yield running


@pytest.fixture
def own_versions(versions, tmp_path):
    """A folder of the same versions for one test alone."""
    folder = tmp_path / MODEL
    folder.mkdir()
    for number in ("1", "2"):
        (folder / number).symlink_to(versions / number)
    return folder
