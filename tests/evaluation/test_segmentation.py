"""Segmentation on a small generated set with known masks."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.metrics import confusion_matrix, jaccard_score

from tests.support import detectors
from tests.support.image_files import encoded
from tfclust import data, evaluation
from tfclust.evaluation import EvaluationConfig
from tfclust.evaluation.probes import masks, segmenting

COLOURS = np.array([[90, 90, 90], [220, 40, 40], [40, 60, 220]], np.uint8)


def network():
    return evaluation.keras_network(detectors.tiny_backbone(2))


def palette_png(mask):
    stored = io.BytesIO()
    image = Image.fromarray(mask).convert("P")
    image.putdata(mask.ravel().tolist())
    image.putpalette(np.random.default_rng(0).bytes(768))
    image.save(stored, "PNG")
    return stored.getvalue()


def write_set(folder, count=8, sides=(32, 24)):
    """Images whose colours are their classes, with a border to be ignored."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    for i in range(count):
        random = np.random.default_rng(i)
        height, width = sides if i % 2 else sides[::-1]
        mask = np.zeros([height, width], np.uint8)
        for known in (1, 2):
            top, left = random.integers(0, [height - 12, width - 12])
            mask[top : top + 12, left : left + 12] = known
        image = COLOURS[mask]
        mask[:1] = masks.IGNORED
        (folder / f"JPEGImages/{i}.jpg").write_bytes(encoded(image))
        png = palette_png(mask)
        (folder / f"SegmentationClass/{i}.png").write_bytes(png)
    lists = folder / "ImageSets/Segmentation"
    for split, rows in (("train", range(count - 3)), ("val", range(count))):
        names = [f"{i}\n" for i in rows if split == "train" or i >= count - 3]
        (lists / f"{split}.txt").write_text("".join(names))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_set(tmp_path / "voc")


def opened(folder, split):
    return data.open_source(f"voc:{folder}?split={split}&sets=Segmentation")


def test_masks_are_read_by_their_palettes_numbers(folder):
    source = opened(folder, "train")
    assert source.has_masks and source.is_labelled and source.num_images == 5
    mask = masks.mask_of(source, 1)
    assert set(np.unique(mask)) == {0, 1, 2, masks.IGNORED}
    assert masks.classes_of(source) == (0, 1, 2)
    part = data.Sample(source, np.array([1]))
    np.testing.assert_array_equal(masks.mask_of(part, 0), mask)


def test_figures_are_scikit_learns():
    random = np.random.default_rng(0)
    true, found = random.integers(0, 4, [2, 30, 40])
    true[true == 3] = masks.IGNORED  # class 3 occurs by prediction alone
    counts = segmenting.counted(true, found, 5)  # and 4 never
    known = true != masks.IGNORED
    expected = confusion_matrix(true[known], found[known], labels=range(5))
    np.testing.assert_array_equal(counts, expected)
    figures = segmenting.Confusion.of(counts[None]).figures()
    shares = jaccard_score(
        true[known], found[known], labels=range(4), average=None
    )
    assert figures["miou"] == pytest.approx(shares.mean())
    assert figures["num_classes_judged"] == 4
    right = (true == found)[known].mean()
    assert figures["pixel_accuracy"] == pytest.approx(right)


def test_naming_the_largest_class_is_the_chance_level():
    counts = np.array([[6, 0, 0], [3, 0, 0], [0, 0, 0]])
    figures = segmenting.Confusion.of(counts[None]).figures()
    assert figures["miou"] == figures["miou_chance"] == pytest.approx(1 / 3)
    assert figures["pixel_accuracy"] == figures["pixel_accuracy_chance"]


def test_intervals_are_those_of_a_loop_over_images_drawn_again():
    random = np.random.default_rng(0)
    tables = random.integers(0, 50, [40, 3, 3]) + 60 * np.eye(3, dtype=int)
    tables[5] = 0  # an image of ignored pixels
    found = segmenting.Confusion.of(tables).intervals(resamples=400, seed=1)
    loop = []
    for _ in range(2000):
        total = tables[random.integers(40, size=40)].sum(axis=0)
        right = np.diag(total)
        shares = right / (total.sum(0) + total.sum(1) - right)
        loop.append([shares.mean(), right.sum() / total.sum()])
    expected = np.quantile(loop, [0.025, 0.975], axis=0).T
    names = "miou_interval", "pixel_accuracy_interval"
    width = np.diff(expected).max()
    np.testing.assert_allclose(
        [found[n] for n in names], expected, atol=0.15 * width
    )


def nearest_loop(mask, scale, offset, side):
    found = np.full([side, side], masks.IGNORED, np.uint8)
    for y in range(side):
        for x in range(side):
            row = int(np.floor((y + 0.5 + offset[0]) / scale))
            column = int(np.floor((x + 0.5 + offset[1]) / scale))
            if 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]:
                found[y, x] = mask[row, column]
    return found


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.7])
def test_image_and_mask_go_the_same_way(factor):
    mask = np.random.default_rng(1).integers(0, 3, [4, 5]).astype(np.uint8)
    mask = mask.repeat(24, 0).repeat(24, 1)
    place = masks.placed(tf.constant(mask.shape), 64, factor, (0.3, 0.6))
    found = masks.mask_on_canvas(tf.constant(mask), place, 64).numpy()
    scale, offset = float(place.scale), place.offset.numpy()
    assert scale == pytest.approx(factor * 64 / 120)
    expected = nearest_loop(mask, scale, offset, 64)
    np.testing.assert_array_equal(found, expected)
    # Away from edges the canvas has the colours of the mask's classes.
    canvas = masks.on_canvas(tf.constant(COLOURS[mask]), place, 64).numpy()
    inner = np.ones_like(found, bool)
    for shift in np.ndindex(5, 5):
        inner &= found == np.roll(found, np.array(shift) - 2, (0, 1))
    inner &= found != masks.IGNORED
    inner[:3] = inner[-3:] = inner[:, :3] = inner[:, -3:] = False
    assert inner.sum() > 20
    # float32 positions of ScaleAndTranslate.
    difference = np.abs(canvas.astype(int) - COLOURS[np.minimum(found, 2)])
    assert difference[inner].max() <= 1


def test_batches_are_a_function_of_seed_and_step(folder):
    def batch(start_step, seed=0, **shard):
        images = masks.MaskedImages(
            opened(folder, "train"),
            size=16,
            batch_size=4,
            scales=(0.5, 2.0),
            seed=seed,
        )
        (first,) = images.batches(0, start_step=start_step, **shard).take(1)
        return {name: part.numpy() for name, part in first.items()}

    whole = batch(3)
    half = batch(3, num_shards=2, shard=1)
    for name in ("images", "masks"):
        np.testing.assert_array_equal(whole[name][2:], half[name])
    assert (whole["images"] != batch(3, seed=1)["images"]).any()


def test_what_knows_the_colours_gets_every_pixel_right(folder):
    source = opened(folder, "val")

    def knows(images):
        colours = tf.constant(COLOURS, tf.float32)
        far = tf.abs(images[..., None, :] * 255 - colours)
        return -tf.reduce_sum(far, axis=-1)

    # The canvas has the images' own long side, so nothing is resized.
    found = segmenting.confusion(knows, source, 32, 3, 2)
    assert found.figures()["miou"] == 1.0
    total = sum(
        (masks.mask_of(source, i) != masks.IGNORED).sum() for i in range(3)
    )
    assert found.true.sum() == found.right.sum() == total


def test_loss_is_the_mean_over_known_pixels():
    random = np.random.default_rng(0)
    logits = random.normal(size=[2, 4, 4, 3]).astype(np.float32)
    wanted = random.integers(0, 3, [2, 4, 4]).astype(np.uint8)
    wanted[0, :2] = masks.IGNORED
    found = segmenting.losses(tf.constant(logits), tf.constant(wanted))
    total = tf.reduce_sum(found.loss * found.weight)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = [
        -log_p[index][wanted[index]]
        for index in np.ndindex(2, 4, 4)
        if wanted[index] != masks.IGNORED
    ]
    assert float(tf.reduce_sum(found.weight)) == len(expected) == 24
    assert float(total) == pytest.approx(sum(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("head", "rate"), [("linear", 0.01), ("fcn", 0.0)], ids=["linear", "fcn"]
)
def test_a_head_learns_the_masks_of_coloured_squares(
    folder, head, rate, monkeypatch
):
    monkeypatch.setattr(segmenting, "_WIDTH", 8)
    monkeypatch.setattr(segmenting, "_DILATION", 1)
    config = EvaluationConfig(
        segmentation_head=head,
        segmentation_steps=60,
        segmentation_rate=rate,
        segmentation_head_rate=0.5,
        segmentation_batch_size=4,
        segmentation_scales=(0.8, 1.5),
    )
    results = evaluation.evaluate(
        {"trained": network(), "pixels": evaluation.pixels},
        opened(folder, "train"),
        opened(folder, "val"),
        config,
        image_size=32,
    )
    figures = results["trained"]["segmentation"]
    assert figures["miou"] > figures["miou_chance"] + 0.2
    low, high = figures["miou_interval"]
    assert low <= figures["miou"] <= high
    assert results["pixels"] == {"segmentation": {}}
    assert f"segmentation, {head} head, mIoU %" in evaluation.format_table(
        results
    )


def gone(folder):
    (folder / "SegmentationClass/1.png").unlink()


def another_size(folder):
    png = palette_png(np.zeros([5, 5], np.uint8))
    (folder / "SegmentationClass/1.png").write_bytes(png)


def in_colours(folder):
    png = encoded(np.zeros([32, 24, 3], np.uint8))
    (folder / "SegmentationClass/1.png").write_bytes(png)


def nothing_known(folder):
    for file in (folder / "SegmentationClass").iterdir():
        size = masks.mask_of(opened(folder, "train"), 0).shape
        if int(file.stem) % 2:
            size = size[::-1]
        file.write_bytes(palette_png(np.full(size, 255, np.uint8)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (gone, "the mask of JPEGImages/1.jpg cannot be read"),
        (another_size, "24 x 32 pixels .* Received: mode P, shape .5, 5."),
        (in_colours, "Received: mode RGB"),
        (nothing_known, "masks must have classes below 255"),
    ],
)
def test_bad_masks_are_refused_by_name_before_any_step(folder, change, words):
    change(folder)
    with pytest.raises(ValueError, match=words):
        evaluation.evaluate(
            {"trained": network()},
            opened(folder, "train"),
            opened(folder, "val"),
            EvaluationConfig(),
            image_size=32,
        )


def test_images_without_masks_are_refused_with_a_way_out():
    images = np.zeros([2, 8, 8, 3], np.uint8)
    with pytest.raises(ValueError, match="sets=Segmentation, or leave"):
        evaluation.evaluate(
            {"trained": network()},
            data.ArraySource(images),
            data.ArraySource(images + 1),
            EvaluationConfig(protocols=("segmentation",)),
            image_size=8,
        )


@pytest.mark.parametrize(
    ("level", "words"), [(4, "tiny has P2"), (0, "segmentation_size=64")]
)
def test_maps_and_sizes_that_are_not_there_are_refused(level, words):
    backbone = detectors.tiny_backbone(2)
    if not level:
        fixed = keras.Input([32, 32, 3])
        backbone = keras.models.clone_model(backbone, input_tensors=fixed)
    with pytest.raises(ValueError, match=words):
        segmenting.trunk_of(evaluation.keras_network(backbone), level, 64)


def test_head_gives_logits_at_the_maps_resolution():
    trunk = segmenting.trunk_of(network(), 2, 32)
    for kind in segmenting.HEADS:
        head = segmenting.head_of(trunk, kind, 3)
        assert head(trunk(np.zeros([1, 32, 32, 3]))).shape == (1, 8, 8, 3)
