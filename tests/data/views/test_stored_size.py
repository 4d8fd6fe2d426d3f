"""Images that are shrunk once: which pixels, when they are read, what fits."""

import numpy as np
import pytest
from PIL import Image

from tests.support.image_files import encoded, example, write_records
from tests.support.image_views import (
    MULTI_CROP,
    arrays,
    assert_same,
    joined,
    views_of,
)
from tfclust import data
from tfclust.data.sources import shrunk
from tfclust.data.sources.shrunk import ShrunkSource
from tfclust.data.views.sizes import (
    stored_bytes,
    stored_sides,
    stored_size_needed,
)
from tfclust.training import checks, pretraining

COUNT, SIDE = 24, 20  # images, and the short side that is kept of them


def scene(height, width, seed):
    """Smooth colours with some noise, as a photo has."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (5, 5, 3), np.uint8)
    large = Image.fromarray(coarse).resize((width, height), Image.BICUBIC)
    noise = random.integers(-20, 21, (height, width, 1))
    return np.clip(np.asarray(large, int) + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Upright and lying PNGs of many sizes, one of them small."""
    for i in range(COUNT):
        sides = (12, 15) if i == 7 else (40 + i, 70 - i)
        image = Image.fromarray(scene(*sides, seed=i))
        image.save(tmp_path / f"{i:02d}.png")
    return tmp_path


def views_in(folder, **knobs):
    knobs = {**MULTI_CROP, "stored_size": SIDE, **knobs}
    source = data.open_source(f"folder:{folder}")
    return data.Views(source, batch_size=8, **knobs)


@pytest.mark.parametrize(
    "sizes, scales, expected",
    [
        ((64,), ((0.25, 1.0),), 128),
        ((32, 20), ((0.14, 1.0), (0.05, 0.14)), 90),  # 85.5 and 89.4
        ((224, 96), ((0.14, 1.0), (0.05, 0.14)), 599),  # 598.7 and 429.3
    ],
)
def test_size_needed_gives_the_smallest_crop_its_view_s_pixels(
    sizes, scales, expected
):
    assert stored_size_needed(sizes, scales) == expected


def test_no_image_is_enlarged_and_shapes_are_kept():
    heights, widths = [40, 500, 333, 7, 1], [60, 333, 500, 900, 4000]
    kept = stored_sides(heights, widths, 50)
    # 500 * 50 / 333 is 75.1.
    np.testing.assert_array_equal(kept[0], [40, 75, 50, 7, 1])
    np.testing.assert_array_equal(kept[1], [60, 50, 75, 900, 4000])
    assert kept[0].dtype == np.int32
    assert stored_bytes(heights[:2], widths[:2], 50) == 3 * (40 * 60 + 75 * 50)


def test_pixels_are_those_of_pillow_s_antialiased_resize(folder):
    source = data.open_source(f"folder:{folder}")
    small = ShrunkSource(source, SIDE)
    for i in (0, 7, 20):
        whole = Image.open(folder / f"{i:02d}.png")
        size = int(small.widths[i]), int(small.heights[i])
        expected = np.asarray(whole.resize(size, Image.BILINEAR), int)
        found = small.image(np.int64(i)).numpy()
        # Both round once; Pillow's weights are whole numbers of 2^-22.
        assert np.abs(expected - found).max() <= 1
    assert small.image(np.int64(7)).shape == (12, 15, 3)


def test_large_jpegs_are_decoded_smaller_and_look_the_same(tmp_path):
    image = Image.fromarray(scene(403, 331, seed=0))
    image.save(tmp_path / "a.jpg", quality=95)
    source = data.open_source(f"folder:{tmp_path}")
    small = ShrunkSource(source, SIDE)
    assert small._ratios.numpy().tolist() == [8]  # 331 >= 2 * 20 * 8
    size = int(small.widths[0]), int(small.heights[0])
    expected = Image.open(tmp_path / "a.jpg").resize(size, Image.BILINEAR)
    found = small.image(np.int64(0)).numpy()
    assert np.abs(np.asarray(expected, int) - found).mean() < 1


def test_bits_are_the_same_kept_or_read_anew(folder, monkeypatch):
    kept = views_in(folder)
    assert kept.stored.is_kept
    expected = arrays(kept.batches(1))
    monkeypatch.setattr(shrunk, "STORE_LIMIT_BYTES", 1000)
    anew = views_in(folder)
    assert not anew.stored.is_kept
    assert_same(arrays(anew.batches(1)), expected)


@pytest.mark.slow
def test_bits_are_the_same_on_replicas_and_in_a_resumed_epoch(folder):
    expected = arrays(views_in(folder).batches(1))
    views = views_in(folder)
    assert_same(arrays(views.batches(1, start_step=2)), expected[2:])
    shards = [
        arrays(views.batches(1, num_shards=2, shard=shard)) for shard in (0, 1)
    ]
    for whole, *parts in zip(expected, *shards, strict=True):
        assert_same(joined(parts), whole)


def test_files_are_read_once(folder):
    expected = arrays(views_in(folder).batches(1))
    views = views_in(folder)
    arrays(views.batches(0))
    arrays(views.extraction_batches("eval"))
    for path in folder.iterdir():
        path.unlink()
    assert_same(arrays(views.batches(1)), expected)
    arrays(views.extraction_batches("train"))
    arrays(views.extraction_batches("eval"))
    assert not views.source.failures


def test_an_image_that_vanished_before_it_was_read_is_replaced(folder):
    index = joined(arrays(views_in(folder).batches(0)))["index"]
    views = views_in(folder)
    (folder / "05.png").unlink()
    found = joined(arrays(views.batches(0)))["index"]
    (row,) = np.flatnonzero(index == 5)
    assert found[row] != 5
    np.testing.assert_array_equal(np.delete(found, row), np.delete(index, row))
    again = joined(arrays(views.batches(0)))["index"]
    np.testing.assert_array_equal(again, found)
    assert list(views.source.failures) == ["05.png"]


def test_a_disk_that_is_gone_is_reported_in_a_sentence(folder):
    views = views_in(folder)
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(OSError, match=r"Is the disk still there\?$"):
        arrays(views.batches(0))


def test_evaluation_sees_the_files_own_pixels(folder):
    expected = arrays(
        views_in(folder, stored_size=None).extraction_batches("eval")
    )
    views = views_in(folder)
    for _ in range(2):
        assert_same(arrays(views.extraction_batches("eval")), expected)


def test_arrays_of_one_size_are_shrunk_too():
    images = np.stack([scene(40, 40, seed) for seed in range(16)])
    plain = views_of(images, stored_size=SIDE, antialias_from=9.0)
    (batch, *_) = arrays(plain.batches(0))
    assert batch["views"][0].shape == (8, 2, 16, 16, 3)
    pixels = plain.stored.stored().numpy()[:, 1:-1, 1:-1]
    for i in (0, 11):
        np.testing.assert_array_equal(
            pixels[i], plain.stored.image(np.int64(i))
        )


@pytest.mark.parametrize(
    "limit, words",
    [
        (1 << 30, "kept in memory once they have been read, 20 pixels"),
        (1000, "too much to keep: each is read at every use. Lower"),
    ],
)
def test_a_line_says_what_is_kept(folder, monkeypatch, limit, words):
    monkeypatch.setattr(shrunk, "STORE_LIMIT_BYTES", limit)
    assert words in views_in(folder).stored.in_words()


def test_views_larger_than_what_is_kept_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="stored_size=12, a view of 16 px"):
        views_in(folder, stored_size=12)
    recipe = pretraining.make_recipe(
        data="digits:",
        workdir=str(tmp_path / "run"),
        image_size=32,
        stored_size=24,
        epochs=1,
    )
    with pytest.raises(ValueError, match="stored_size=24, a view of 32 px"):
        checks.check_alone(recipe)


def test_a_stream_is_refused(tmp_path):
    images = [encoded(scene(30, 40, i)) for i in range(12)]
    write_records(tmp_path / "0.tfrecord", map(example, images))
    source = data.open_source(f"tfrecord_stream:{tmp_path}/*?window=12")
    with pytest.raises(ValueError, match="a stream has other images then"):
        data.Views(source, batch_size=4, view_sizes=(16,), stored_size=SIDE)
