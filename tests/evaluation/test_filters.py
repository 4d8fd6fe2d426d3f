"""The images that excite channels most, against NumPy with all of them."""

import keras
import numpy as np
import pytest

from tests.evaluation.test_probes import coloured_source
from tests.support import image_files
from tfclust import data, evaluation
from tfclust.evaluation import EvaluationConfig
from tfclust.evaluation.excitation import Running


def running(values, count, sizes):
    """`Excited` of rows of `values`, batch by batch."""
    found, start = Running(count), 0
    for size in sizes:
        rows = np.arange(start, start + size)
        found.add(rows, values[rows])
        start += size
    assert start == len(values)
    return found.result()


@pytest.mark.parametrize("count", [1, 4, 50])
@pytest.mark.parametrize("sizes", [[23], [5, 5, 5, 5, 3], [1, 22]])
def test_running_best_is_that_of_all_values_at_once_with_ties_by_row(
    count, sizes
):
    random = np.random.default_rng(0)
    values = random.integers(0, 5, [23, 7]).astype(np.float32)  # many equal
    values[:, 2] = 3  # alike for all images

    found = running(values, count, sizes)

    order = np.argsort(-values, axis=0, kind="stable")[:count]
    np.testing.assert_array_equal(found.rows, order)
    np.testing.assert_array_equal(
        found.values, np.take_along_axis(values, order, 0)
    )
    np.testing.assert_array_equal(found.smallest, values.min(axis=0))
    variance = values.astype(np.float64).var(axis=0)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-12)
    np.testing.assert_array_equal(found.varies, np.arange(7) != 2)


def test_order_of_the_images_does_not_matter():
    values = np.random.default_rng(0).integers(0, 3, [20, 4])
    values = values.astype(np.float32)
    backwards = Running(6)
    for rows in np.split(np.arange(20)[::-1], 4):
        backwards.add(rows, values[rows])
    found, expected = backwards.result(), running(values, 6, [20])
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.values, expected.values)


def network_of(channels=6):
    """Two layers of maps; the first's channel 1 is off for all images."""
    keras.utils.set_random_seed(0)
    images = keras.Input([8, 8, 3])
    conv = keras.layers.Conv2D(channels, 3, name="stem_conv")
    x = keras.layers.ReLU(name="stem_relu")(conv(images))
    x = keras.layers.Conv2D(5, 3, name="stage1_conv")(x)
    x = keras.layers.ReLU(name="stage1_out")(x)
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))
    kernel, bias = conv.get_weights()
    kernel[..., 1], bias[1] = 0, -1
    conv.set_weights([kernel, bias])
    return model


def measured(model, source, done=None, **knobs):
    config = EvaluationConfig(
        protocols=("filters",), evaluation_batch_size=7, **knobs
    )
    results = evaluation.evaluate(
        {"trained": evaluation.keras_network(model), "pixels": never_called},
        None,
        source,
        config,
        image_size=8,
        done=done,
    )
    assert results["pixels"] == {"filters": {}}
    return results["trained"]["filters"]


def never_called(images):
    raise AssertionError("pixels have no channels")


@pytest.mark.parametrize("choice", ["random", "variance"])
def test_images_of_a_channel_are_those_with_the_largest_value_in_its_map(
    choice,
):
    model, source = network_of(), coloured_source(30)

    figures = measured(
        model,
        source,
        filter_channels=4,
        filter_images=5,
        filter_choice=choice,
    )

    images = source.stored().numpy()[:, 1:-1, 1:-1] / np.float32(255)
    for name, layer in (("conv1", "stem_relu"), ("conv2", "stage1_out")):
        maps = keras.Model(model.inputs, model.get_layer(layer).output)
        strongest = maps.predict(images, verbose=0).max(axis=(1, 2))
        alike = strongest.max(axis=0) == strongest.min(axis=0)
        assert figures[f"{name}_alike"] == pytest.approx(alike.mean())
        shown = figures[f"{name}_channels"]
        channels = [of["channel"] for of in shown]
        varying = np.flatnonzero(~alike)
        assert len(channels) == min(4, len(varying))
        assert set(channels) <= set(varying)
        if choice == "variance":
            order = np.argsort(-strongest.var(axis=0), kind="stable")
            assert channels == order[: len(channels)].tolist()
        for of in shown:
            column = strongest[:, of["channel"]]
            # Values that differ by rounding may change places.
            expected = np.sort(column)[::-1][:5]
            np.testing.assert_allclose(of["activations"], expected, rtol=1e-4)
            np.testing.assert_allclose(
                column[of["images"]], expected, rtol=1e-4
            )
    assert figures["conv1_alike"] >= 1 / 6
    assert figures["conv1_num_channels"] == 6


def test_seed_decides_which_channels_are_shown():
    def channels(seed):
        figures = measured(
            network_of(40),
            coloured_source(9),
            filter_channels=3,
            evaluation_seed=seed,
        )
        return [of["channel"] for of in figures["conv1_channels"]]

    assert channels(1) == channels(1) != channels(2)


def test_records_have_file_names_and_an_image_that_is_gone_counts_not(
    tmp_path,
):
    random = np.random.default_rng(0)
    for i in range(6):
        image = random.integers(0, 256, [8, 8, 3], np.uint8)
        image_files.write(tmp_path, f"{i}.png", image)
    image_files.write(tmp_path, "gone.png", np.full([8, 8, 3], 255, np.uint8))
    image_files.write(tmp_path, "wide.png", np.zeros([8, 9, 3], np.uint8))
    source = data.open_source(f"folder:{tmp_path}")
    (tmp_path / "gone.png").unlink()

    figures = measured(network_of(), source, filter_images=20)

    for of in figures["conv1_channels"]:
        assert len(of["names"]) == 7 and "gone.png" not in of["names"]
        names = source.manifest().names
        assert of["names"] == [names[row] for row in of["images"]]


def test_caller_is_told_when_a_protocol_is_done():
    done = []
    figures = measured(
        network_of(), coloured_source(9), lambda *of: done.append(of)
    )
    assert [of[:2] for of in done] == [
        ("trained", "filters"),
        ("pixels", "filters"),
    ]
    assert done[0][3] is figures and done[0][2].test.num_images == 9


@pytest.mark.parametrize(
    ("value", "words"),
    [(np.nan, "in stage1_conv/bias of the network"), (3e38, "in conv2 of ima")],
)
def test_weights_and_maps_that_are_not_finite_are_refused(value, words):
    model = network_of()
    conv = model.get_layer("stage1_conv")
    kernel, bias = conv.get_weights()
    conv.set_weights([np.abs(kernel) * 3e38, np.full_like(bias, value)])
    with pytest.raises(ValueError, match=words):
        measured(model, coloured_source(9))


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"probe_layers": ("two",)}, "Received: two for backbone"),
        (
            {"filter_channels": 100, "filter_images": 9},
            "1,000 pictures.*2 layers of filter_channels=100.*1,800",
        ),
        ({"filter_images": 0}, "filter_images must be at least 1"),
        ({"filter_choice": "hand"}, "one of random, variance"),
    ],
)
def test_impossible_knobs_are_named_before_any_pass(knobs, words):
    with pytest.raises(ValueError, match=words):
        measured(network_of(), coloured_source(9), **knobs)


def test_function_of_images_is_refused_before_any_pass():
    with pytest.raises(ValueError, match="filters looks into a network"):
        evaluation.evaluate(
            {"trained": never_called},
            None,
            coloured_source(9),
            EvaluationConfig(protocols=("filters",)),
            image_size=8,
        )
