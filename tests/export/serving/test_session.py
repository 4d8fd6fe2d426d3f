"""TensorFlow's C++ runtime answers as Python's does, and survives bad input."""

import resource

import numpy as np
import pytest
import tensorflow as tf

from export.serving.local.c_interface import RuntimeFailure
from export.serving.local.models import WARM_UP, Version, replay
from export.serving.local.session import Session
from tests.support.exported import OUTPUTS, SIZE, expected_outputs, some_images
from tests.support.image_files import encoded, picture
from tests.support.marks import slow
from tfclust import saved_model


@pytest.fixture(scope="module", params=["plain", slow("frozen")])
def loaded(request, versions, python_model):
    """A session, and the same version in Python."""
    number, model = "1", python_model
    if request.param == "frozen":
        number = "2"
        model = tf.saved_model.load(str(versions / number))
    session = Session(versions / number)
    yield session, model
    session.close()


def assert_same_bits(found, wanted):
    assert set(found) == set(wanted)
    for name, array in found.items():
        other = wanted[name].numpy()
        assert array.dtype == other.dtype and array.shape == other.shape
        if array.dtype == object:
            assert array.tolist() == other.tolist()
        else:
            assert array.tobytes() == other.tobytes(), name


def test_answers_to_images_are_pythons_to_the_bit(loaded):
    session, model = loaded
    for name in ("images", "pyramid"):
        for count in (1, 5):
            images = some_images(count)
            wanted = model.signatures[name](images=tf.constant(images))
            found = session.run(name, {"images": images})
            assert_same_bits(found, wanted)


def test_answers_to_files_are_pythons_to_the_bit(loaded):
    session, model = loaded
    files = [
        *(encoded(picture(30, 40), kind) for kind in ("PNG", "JPEG", "GIF")),
        b"",
        b"no image",
        encoded(picture(30, 40), "JPEG")[:200],
    ]
    wanted = model.signatures["serving_default"](image_bytes=tf.constant(files))
    found = session.run(
        "serving_default", {"image_bytes": np.array(files, object)}
    )
    assert_same_bits(found, wanted)
    assert found["status"].tolist()[:4] == [b"ok"] * 3 + [b"empty"]


def test_only_the_outputs_asked_for_are_computed(loaded):
    session, _ = loaded
    found = session.run("images", {"images": some_images(2)}, ["cluster"])
    assert list(found) == ["cluster"]


@pytest.mark.parametrize("name", ["images", "pyramid"])
@pytest.mark.parametrize(
    "shape",
    [(), (3,), (SIZE, SIZE, 3), (1, 1, SIZE, SIZE, 3), (2, SIZE, SIZE, 1),
     (0, SIZE, SIZE, 3), (2, 0, SIZE, 3)],
    ids=str,
)  # fmt: skip
def test_images_of_another_shape_are_refused_and_the_process_lives(
    loaded, name, shape
):
    session, _ = loaded
    with pytest.raises(RuntimeFailure) as refused:
        session.run(name, {"images": np.zeros(shape, np.float32)})
    assert refused.value.code == 3  # invalid argument
    assert session.run("images", {"images": some_images(1)})


@pytest.mark.parametrize(
    "files", [np.array(b"x", object), np.array([[b"x"]], object),
              np.array([], object)], ids=["scalar", "matrix", "none"]
)  # fmt: skip
def test_files_of_another_shape_are_refused(loaded, files):
    with pytest.raises(RuntimeFailure):
        loaded[0].run("serving_default", {"image_bytes": files})


def test_frozen_answers_are_the_methods(exported):
    method, folder = exported
    session = Session(folder / "2")
    images = some_images(4)
    found = session.run("images", {"images": images})
    wanted = expected_outputs(method, images)
    assert set(found) == OUTPUTS
    for name in ("features", "projections", "cluster_score"):
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-5)
    assert found["cluster"].tolist() == wanted["cluster"].tolist()
    session.close()


def test_frozen_version_keeps_no_variable(versions):
    reader = tf.train.load_checkpoint(str(versions / "2/variables/variables"))
    assert set(reader.get_variable_to_shape_map()) == {
        "_CHECKPOINTABLE_OBJECT_GRAPH"
    }
    model = tf.saved_model.load(str(versions / "2"))
    assert len(model.trainable_variables) == 0


def test_warm_up_is_replayed_for_every_batch_size_and_signature(versions):
    session = Session(versions / "2")
    asked = []

    class Spy:
        def run(self, signature, inputs):
            (array,) = inputs.values()
            found = session.run(signature, inputs)
            if signature == "serving_default":
                assert set(found["status"]) == {b"ok"}
            asked.append((signature, len(array)))

    path = versions / "2" / WARM_UP
    assert replay(path, Version("mine", 2, Spy())) == len(asked) == 12
    assert len(set(asked)) == 12
    assert {n for _, n in asked} == {1, 2, 4, 8, 16, 32}
    session.close()


def test_a_version_that_is_damaged_is_refused(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(RuntimeFailure):
        Session(tmp_path)


@pytest.mark.slow
def test_memory_does_not_grow_with_requests(versions):
    session = Session(versions / "1")
    files = np.array([b"x" * 1_000_000] * 4, object)

    def peak():
        for _ in range(30):
            session.run("serving_default", {"image_bytes": files}, ["status"])
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

    first = peak()
    assert peak() - first < 30 * 4_000_000 / 4  # a leak keeps 120 MB
    session.close()


@pytest.mark.slow
def test_frozen_version_names_its_clusters(exported, tmp_path):
    method, _ = exported
    names = {k: f"group {k}" for k in range(7)}
    extras = saved_model.Extras(frozen=True)
    path = saved_model.save(
        method, tmp_path, image_size=SIZE, cluster_names=names, extras=extras
    )
    session = Session(path)
    files = np.array([encoded(picture()) for _ in range(3)], object)
    found = session.run("serving_default", {"image_bytes": files})
    assert [name.decode() for name in found["cluster_name"]] == [
        names[k] for k in found["cluster"].tolist()
    ]
