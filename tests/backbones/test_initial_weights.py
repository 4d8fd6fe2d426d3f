"""`--init_from`: run folders, SavedModels and files of weights."""

import functools

import keras
import numpy as np
import pytest

from tfclust import backbones


def trained(name="small", seed=1, **settings):
    """A backbone with weights and statistics of its own."""
    keras.utils.set_random_seed(seed)
    backbone = backbones.build(name, image_size=32, **settings)
    rng = np.random.default_rng(seed)
    for variable in backbone.weights:
        variable.assign(rng.random(variable.shape))
    return backbone


@functools.cache
def wide():
    return trained(width=2)


@functools.cache
def source_of(seed=1):
    """One that several tests read and none changes."""
    return trained(seed=seed)


def write_checkpoint(workdir, step, backbone, *, complete=True):
    folder = workdir / "checkpoints" / f"{step:010d}"
    folder.mkdir(parents=True)
    arrays = {
        f"backbone/{i:04d}/{v.name}": v.numpy()
        for i, v in enumerate(backbone.variables)
    }
    arrays["projector/0000/kernel"] = np.ones([3])
    np.savez(folder / "arrays.npz", **arrays)
    if complete:
        (folder / "manifest.json").write_text("{}")
    return folder


def write_run(path, backbone):
    write_checkpoint(path, 7, backbone)
    return path


def write_saved_model(path, backbone):
    folder = path / "3" / "assets.extra"
    folder.mkdir(parents=True)
    backbone.save(folder / "backbone.keras")
    return path


def write_keras(path, backbone):
    backbone.save(path / "backbone.keras")
    return path / "backbone.keras"


def write_h5(path, backbone):
    backbone.save_weights(path / "backbone.weights.h5")
    return path / "backbone.weights.h5"


WRITERS = [write_run, write_saved_model, write_keras, write_h5]


def assert_equal(left, right):
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("write", WRITERS)
def test_all_weights_are_read(write, tmp_path):
    source, target = source_of(), trained(seed=2)
    loaded = backbones.load_weights(target, write(tmp_path, source))
    assert_equal(target.get_weights(), source.get_weights())
    assert loaded.num_loaded == loaded.num_weights == 50


@pytest.mark.parametrize("write", WRITERS)
def test_first_stages_are_read_and_the_others_left(write, tmp_path):
    source, target, before = source_of(), trained(seed=2), source_of(2)
    path = str(write(tmp_path, source))
    loaded = backbones.load_weights(target, path, stages=1)
    stages = [backbones.stages(b) for b in (target, source, before)]
    for number, (now, given, own) in enumerate(zip(*stages, strict=True)):
        assert_equal(now, given if number <= 1 else own)
    assert loaded.num_loaded == 20


def test_stage_0_is_the_stem(tmp_path):
    source = backbones.build("resnet18", image_size=32)
    target = backbones.build("resnet34", image_size=32)
    path = write_run(tmp_path, source)
    assert backbones.load_weights(target, path, stages=0).num_loaded == 5
    assert_equal(target.get_weights()[:5], source.get_weights()[:5])


def test_the_newest_complete_checkpoint_wins(tmp_path):
    write_checkpoint(tmp_path, 9, source_of(1))
    write_checkpoint(tmp_path, 10, source_of(2))
    write_checkpoint(tmp_path, 11, source_of(3), complete=False)
    target = trained(seed=4)
    loaded = backbones.load_weights(target, tmp_path)
    assert loaded.path.parent.name == "0000000010"
    assert_equal(target.get_weights(), source_of(2).get_weights())


def test_one_checkpoint_can_be_named(tmp_path):
    folder = write_checkpoint(tmp_path, 9, source_of(1))
    write_checkpoint(tmp_path, 10, source_of(2))
    target = trained(seed=4)
    backbones.load_weights(target, folder)
    assert_equal(target.get_weights(), source_of(1).get_weights())


def test_the_newest_version_of_a_saved_model_wins(tmp_path):
    for version, seed in ((2, 1), (10, 2)):
        folder = tmp_path / str(version) / "assets.extra"
        folder.mkdir(parents=True)
        source_of(seed).save(folder / "backbone.keras")
    target = trained(seed=4)
    backbones.load_weights(target, tmp_path)
    assert_equal(target.get_weights(), source_of(2).get_weights())
    backbones.load_weights(target, tmp_path / "2")
    assert_equal(target.get_weights(), source_of(1).get_weights())


def test_a_saved_classifier_gives_its_backbone(tmp_path):
    source = source_of()
    classifier = keras.Model(
        source.input, keras.layers.Dense(10)(source.output)
    )
    classifier.save(tmp_path / "classifier.keras")
    target = trained(seed=2)
    backbones.load_weights(target, tmp_path / "classifier.keras")
    assert_equal(target.get_weights(), source.get_weights())


def test_automatic_layer_names_are_matched_by_position(tmp_path):
    def model():
        inputs = keras.Input([None, None, 3])
        x = keras.layers.Conv2D(4, 3)(inputs)
        x = keras.layers.Conv2D(4, 3)(x)
        return backbones.adapt(keras.Model(inputs, x))

    source, target = model(), model()
    assert source.weights[0].path != target.weights[0].path
    source.save(tmp_path / "source.keras")
    backbones.load_weights(target, tmp_path / "source.keras")
    assert_equal(target.get_weights(), source.get_weights())


def test_seeds_of_dropout_do_not_shift_a_runs_positions(tmp_path):
    def model():
        inputs = keras.Input([None, None, 3])
        x = keras.layers.Conv2D(4, 3)(inputs)
        x = keras.layers.Dropout(0.1)(x)
        x = keras.layers.Conv2D(4, 3)(x)
        return backbones.adapt(keras.Model(inputs, x))

    source, target = model(), model()
    assert len(source.variables) > len(source.weights)
    backbones.load_weights(target, write_run(tmp_path, source))
    assert_equal(target.get_weights(), source.get_weights())


@pytest.mark.parametrize("write", WRITERS)
def test_other_shapes_are_refused_and_nothing_is_overwritten(write, tmp_path):
    target = source_of(2)
    before = [value.copy() for value in target.get_weights()]
    path = write(tmp_path, wide())
    with pytest.raises(ValueError, match="does not fit backbone small"):
        backbones.load_weights(target, path)
    assert_equal(target.get_weights(), before)


def test_the_error_names_the_weights_that_differ(tmp_path):
    path = write_run(tmp_path, backbones.build("resnet18"))
    target = backbones.build("resnet18", image_size=32)
    with pytest.raises(
        ValueError,
        match=r"1 of 100 weights differ: stem_conv/kernel \(3, 3, 3, 64\) "
        r"\(found kernel \(7, 7, 3, 64\)\)",
    ):
        backbones.load_weights(target, path)


def test_a_weights_file_of_a_deeper_network_is_refused(tmp_path):
    def model(depth):
        inputs = x = keras.Input([None, None, 3])
        for _ in range(depth):
            x = keras.layers.Conv2D(3, 3)(x)
        return backbones.adapt(keras.Model(inputs, x))

    path = write_h5(tmp_path, model(3))
    with pytest.raises(ValueError, match="expected 4 weights, found 6"):
        backbones.load_weights(model(2), path)


def test_missing_weights_are_named(tmp_path):
    folder = write_checkpoint(tmp_path, 1, source_of())
    arrays = dict(np.load(folder / "arrays.npz"))
    del arrays["backbone/0003/moving_mean"]
    np.savez(folder / "arrays.npz", **arrays)
    with pytest.raises(
        ValueError, match=r"stem_conv_bn/moving_mean \(32,\) \(found nothing\)"
    ):
        backbones.load_weights(source_of(2), tmp_path)


@pytest.mark.parametrize("stages", [-1, 4])
def test_stages_beyond_the_last_are_refused(stages, tmp_path):
    with pytest.raises(ValueError, match="between 0 .the stem. and 3"):
        backbones.load_weights(source_of(), tmp_path, stages=stages)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        backbones.load_weights(source_of(), tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="Found neither"):
        backbones.load_weights(source_of(), tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match="must be a run folder"):
        backbones.load_weights(source_of(), tmp_path / "notes.txt")


@pytest.mark.parametrize("name", ["a.keras", "a.weights.h5", "arrays.npz"])
def test_damaged_files_are_refused(name, tmp_path):
    (tmp_path / name).write_bytes(b"half a file")
    path = tmp_path if name == "arrays.npz" else tmp_path / name
    with pytest.raises(ValueError, match="init_from="):
        backbones.load_weights(source_of(), path)


def test_a_config_loads_what_it_names(tmp_path):
    source = source_of()
    path = write_keras(tmp_path, source)
    config = backbones.BackboneConfig(
        backbone="small", init_from=str(path), init_stages=2
    )
    backbone = backbones.from_config(config, image_size=32)
    stages, given = backbones.stages(backbone), backbones.stages(source)
    for number in (0, 1, 2):
        assert_equal(stages[number], given[number])
    assert np.any(stages[3][0].numpy() != given[3][0].numpy())
