"""Knobs of views: presets, words, and what is refused."""

import numpy as np
import pytest

from tests.support.image_views import MULTI_CROP, SMALL, views_of
from tfclust import data, options
from tfclust.data.config import ViewsConfig, chain


def test_config_survives_the_words_of_a_flag():
    config = ViewsConfig(
        **MULTI_CROP, flip_probability=0.0, blur_probability=(0.5, 0.25)
    )
    kinds = options.kinds(ViewsConfig)
    again = ViewsConfig(
        **{
            name: options.parse(options.text(getattr(config, name)), kind)
            for name, kind in kinds.items()
        }
    )
    assert again == config


def test_a_knob_overrides_its_preset_alone():
    plain = chain(ViewsConfig())
    changed = chain(ViewsConfig(grey_probability=0.0, jitter_strength=0.5))
    assert changed.grey_probability == 0 and plain.grey_probability == 0.2
    assert changed.flip_probability == plain.flip_probability == 0.5
    np.testing.assert_allclose(changed.jitter, plain.jitter / 2)


def test_colours_change_by_view_size_where_eight_values_say_so():
    pair, small = (0.4, 0.4, 0.2, 0.1), (0.8, 0.8, 0.8, 0.2)
    config = ViewsConfig(
        **MULTI_CROP, color_jitter=pair + small, jitter_strength=0.5
    )
    jitter = chain(config).jitter  # [V, 4]
    np.testing.assert_allclose(jitter[:2] * 2, [pair] * 2)
    np.testing.assert_allclose(jitter[2:] * 2, [small] * 3)
    one_size = {"color_jitter": pair + small}
    with pytest.raises(ValueError, match="8 values for 1 sizes"):
        ViewsConfig(**one_size)


def test_the_last_probability_serves_the_views_after_it():
    config = ViewsConfig(**MULTI_CROP, augmentation="byol")
    np.testing.assert_allclose(
        chain(config).blur_probability, [1.0, 0.1, 0.5, 0.5, 0.5]
    )


@pytest.mark.parametrize(
    "knobs, words",
    [
        ({"rotation_degrees": 200.0}, "rotation_degrees must be at most 180"),
        ({"batch_size": 31}, "30 images cannot fill a batch of 31"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"view_sizes": (400, 12)}, "400 px are more than 8.*20 px"),
        ({"view_sizes": (16, 16)}, "16 px beside a global size of 16"),
        ({"view_sizes": (16, 24)}, "24 px beside a global size of 16"),
        ({"num_views": (2,)}, "num_views .*1 entries for 2 sizes"),
        ({"view_scales": ((0.1, 1.0),)}, "view_scales .*1 entries for 2"),
        ({"view_scales": ((0.5, 0.2), (0.1, 0.2))}, "0.5:0.2"),
        ({"view_scales": ((0.0, 0.2), (0.1, 0.2))}, "0.0:0.2"),
        ({"view_scales": ((0.5, 1.2), (0.1, 0.2))}, "0.5:1.2"),
        ({"num_views": (2, 0)}, "num_views must be at least 1"),
        ({"augmentation": "moco"}, "swav, byol, none.*moco"),
        ({"color_jitter": (0.4, 0.4)}, "four values.*2 values"),
        ({"color_jitter": (0.4, 0.4, 0.4, 0.6)}, "0.6 turns"),
        ({"blur_sigma": (2.0, 1.0)}, "2.0:1.0"),
        ({"blur_probability": (0.5,) * 6}, "6 values for 5 views"),
        ({"flip_probability": 1.5}, "at most 1.0.*1.5"),
        ({"resize_size": 8}, "resize_size=8, image_size=16"),
    ],
)
def test_impossible_settings_are_refused_by_their_numbers(knobs, words):
    with pytest.raises(ValueError, match=words):
        views_of(**knobs)


@pytest.mark.parametrize(
    "how, words",
    [
        ({"num_shards": 3}, "multiple of num_shards.*num_shards=3"),
        ({"num_shards": 2, "shard": 2}, "shard=2"),
        ({"order": np.arange(20)}, "each of 24 rows"),
        ({"order": np.full(24, 30)}, "30 to 30"),
        ({"order": np.full(24, -1)}, "-1 to -1"),
    ],
)
def test_rows_that_do_not_come_out_even_are_refused(how, words):
    with pytest.raises(ValueError, match=words):
        views_of().batches(0, **how)


def test_config_and_knobs_together_are_refused():
    with pytest.raises(TypeError, match="a config and grey_probability"):
        data.Views(
            data.ArraySource(SMALL),
            ViewsConfig(),
            batch_size=8,
            grey_probability=0.0,
        )
