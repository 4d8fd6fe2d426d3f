"""The maps of a pyramid, and the stages behind them."""

import keras
import numpy as np
import pytest

from tfclust import backbones


@pytest.mark.parametrize(
    "name, image_size, expected",
    [
        ("resnet18", 224, {2: 64, 3: 128, 4: 256, 5: 512}),
        ("resnet50", 224, {2: 256, 3: 512, 4: 1024, 5: 2048}),
        ("resnet18", 32, {2: 256, 3: 512}),
        ("small", 32, {2: 64, 3: 128}),
    ],
)
def test_pyramid_holds_the_maps_that_exist(name, image_size, expected):
    backbone = backbones.build(name, image_size=image_size)
    maps = backbones.pyramid(backbone)
    assert list(maps) == [f"P{level}" for level in expected]
    shapes = keras.Model(backbone.input, maps).compute_output_shape(
        (1, 64, 96, 3)
    )
    for level, channels in expected.items():
        size = 2**level
        assert shapes[f"P{level}"] == (1, 64 // size, 96 // size, channels)


def test_pyramid_ends_where_the_features_begin(small, images):
    top = keras.Model(small.input, backbones.pyramid(small)["P3"])
    np.testing.assert_allclose(
        np.mean(top(images), axis=(1, 2)), small(images), rtol=1e-5, atol=1e-6
    )


def test_pyramid_takes_the_last_block_of_a_stage():
    backbone = backbones.build("resnet50")
    maps = backbones.pyramid(backbone)
    for stage, depth in enumerate((3, 4, 6, 3), start=1):
        layer = backbone.get_layer(f"stage{stage}_block{depth}_out")
        assert maps[f"P{stage + 1}"] is layer.output


def test_stages_are_those_of_the_paper():
    backbone = backbones.build("resnet18")
    stages = backbones.stages(backbone)
    assert [len(stage) for stage in stages] == [5, 20, 25, 25, 25]
    assert all(v.path.startswith("stem_") for v in stages[0])
    assert all(v.path.startswith("stage3_") for v in stages[3])
