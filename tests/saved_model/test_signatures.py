"""A SavedModel serves images and their bytes as the method would."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.support.exported import (
    OF_BYTES,
    SIZE,
    expected_outputs,
    some_images,
    stand_in,
)
from tests.support.processes import run_in_subprocess
from tfclust import saved_model
from tfclust.data.views.passes import centred


@pytest.mark.slow
def test_session_based_loader_serves_all_signatures(exported):
    method, path = exported
    images = some_images()
    encoded = [tf.io.encode_png(np.uint8(x * 255)).numpy() for x in images]
    encoded.append(b"no image")
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        meta = v1.saved_model.load(session, ["serve"], str(path))
        signatures = meta.signature_def

        def run(name, value):
            signature = signatures[name]
            (given,) = signature.inputs.values()
            wanted = {k: v.name for k, v in signature.outputs.items()}
            return session.run(wanted, {given.name: value})

        by_image = run("images", images)
        by_bytes = run("serving_default", encoded)
    assert list(signatures["serving_default"].inputs) == ["image_bytes"]
    expected = expected_outputs(method, images)
    for name, value in expected.items():
        np.testing.assert_allclose(by_image[name], value, atol=1e-5)
    rounded = np.floor(images * 255).astype(np.uint8).astype(np.float32) / 255
    expected = expected_outputs(method, rounded)
    np.testing.assert_allclose(
        by_bytes["features"][:-1], expected["features"], atol=1e-5
    )
    assert np.isnan(by_bytes["features"][-1]).all()
    assert by_bytes["cluster"][-1] == -1
    assert by_bytes["status"][-2:].tolist() == [
        b"ok",
        b"not a JPEG, PNG, GIF, BMP or WebP image",
    ]


def png_claiming(height, width):
    """A PNG's first bytes, then next to nothing."""
    begin = io.BytesIO()
    Image.new("RGB", (1, 1)).save(begin, "PNG")
    begin = bytearray(begin.getvalue())
    begin[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return bytes(begin)


def test_a_bad_image_spoils_no_row_but_its_own(exported):
    loaded = tf.saved_model.load(str(exported[1]))
    serve = loaded.signatures["serving_default"]
    good = [tf.io.encode_png(np.uint8(x * 255)).numpy() for x in some_images()]
    expected = serve(image_bytes=tf.constant(good))
    bad = {
        1: (b"", b"empty"),
        2: (good[2][:-20], b"damaged"),
        # 529 megapixels; one more than the bound
        4: (png_claiming(23000, 23000), b"too many pixels"),
        5: (png_claiming((1 << 26) + 1, 1), b"too many pixels"),
    }
    mixed = [bad[i][0] if i in bad else good[i] for i in range(6)]
    for rows in (mixed, [mixed[1]], [mixed[2]] * 6):
        found = serve(image_bytes=tf.constant(rows))
        assert set(found) == OF_BYTES
        for i, row in enumerate(rows):
            told = {name: value[i].numpy() for name, value in found.items()}
            if row in good:
                for name, value in expected.items():
                    np.testing.assert_array_equal(told[name], value[i])
                continue
            assert told["status"] == dict(bad.values())[row]
            assert told["cluster"] == -1
            for name in ("features", "projections", "cluster_score"):
                assert np.isnan(told[name]).all()


def smooth_pixels(height, width):
    """Slopes, which JPEG keeps to a few levels."""
    down = np.linspace(20, 230, height)[:, None]
    across = np.linspace(200, 40, width)[None]
    layers_ = [down + 0 * across, across + 0 * down, (down + across) / 2]
    return np.uint8(np.stack(layers_, axis=-1))


def encoded_image(pixels, mode, kind, **options):
    """Bytes of an image file, and what Pillow reads from them as RGB."""
    image = Image.fromarray(pixels)
    if mode in ("RGBA", "LA"):
        image = image.convert(mode[:-1])
        alpha = np.full(pixels.shape[:2], 90, np.uint8)
        image.putalpha(Image.fromarray(alpha))
    elif mode == "P":
        image = image.quantize(32)
    else:
        image = image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    if kind == "BMP" and mode == "RGBA":
        image = image.convert("RGB")  # a BMP's fourth byte means nothing
    elif mode in ("RGBA", "LA"):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    elif kind != "PNG":
        image = Image.open(buffer)
    return buffer.getvalue(), np.asarray(image.convert("RGB"))


FILES = [
    ((20, 31), "RGB", "PNG", {}),
    ((25, 18), "L", "PNG", {}),
    ((40, 17), "RGBA", "PNG", {}),
    ((22, 22), "LA", "PNG", {}),
    ((19, 30), "P", "PNG", {}),
    ((16, 16), "1", "PNG", {}),
    ((48, 33), "RGB", "JPEG", {"quality": 95}),
    ((21, 64), "L", "JPEG", {"quality": 95}),
    ((30, 20), "RGB", "BMP", {}),
    ((17, 29), "L", "BMP", {}),
    ((23, 16), "RGBA", "BMP", {}),
    ((26, 35), "P", "GIF", {}),
    ((21, 27), "RGB", "WEBP", {"lossless": True}),
    ((18, 26), "RGBA", "WEBP", {"lossless": True}),
    ((5, 9), "RGB", "PNG", {}),
]


def test_one_batch_mixes_sizes_and_formats(exported):
    method, path = exported
    made = [
        encoded_image(smooth_pixels(*shape), mode, kind, **options)
        for shape, mode, kind, options in FILES
    ]
    encoded = tf.constant([data for data, _ in made])
    images = np.stack([centred(rgb, SIZE, SIZE) for _, rgb in made]) / 255.0
    decoded = saved_model.decode(encoded, SIZE, SIZE).images.numpy()
    for file, ours, theirs in zip(FILES, decoded, images, strict=True):
        # JPEG decoders may differ by a few levels, sums with white by one.
        levels = 4 if file[2] == "JPEG" else int(file[1][-1] == "A")
        np.testing.assert_allclose(
            ours, theirs, atol=(levels + 0.01) / 255, err_msg=str(file)
        )
    loaded = tf.saved_model.load(str(path))
    received = loaded.signatures["serving_default"](image_bytes=encoded)
    assert set(received) == OF_BYTES
    expected = expected_outputs(method, decoded)
    for name, value in expected.items():
        np.testing.assert_allclose(received[name], value, atol=1e-5)


def test_animation_is_served_by_its_first_frame(exported):
    _, path = exported
    frames = [
        Image.fromarray(np.full([20, 20, 3], level, np.uint8)).quantize(4)
        for level in (0, 80, 250)
    ]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    encoded = tf.constant([buffer.getvalue()])
    decoded = saved_model.decode(encoded, SIZE, SIZE).images
    np.testing.assert_array_equal(decoded, np.zeros([1, SIZE, SIZE, 3]))
    loaded = tf.saved_model.load(str(path))
    received = loaded.signatures["serving_default"](
        image_bytes=tf.constant([buffer.getvalue()])
    )
    np.testing.assert_allclose(
        received["features"], loaded(tf.zeros([1, SIZE, SIZE, 3])), atol=1e-5
    )


ANIMATED_WEBP = """
import io, sys
import numpy as np
import tensorflow as tf
from PIL import Image
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
rng = np.random.default_rng(0)
for mode in ("RGB", "RGBA"):
    for side in (9, 16, 61):
        frames = [
            Image.fromarray(rng.integers(0, 256, (side, side, len(mode)), "u1"))
            for _ in range(2)
        ]
        buffer = io.BytesIO()
        frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
        found = serve(image_bytes=tf.constant([buffer.getvalue()]))
        print("refused:", found["status"].numpy()[0].decode())
still = io.BytesIO()
frames[0].save(still, "WEBP")
print(sorted(serve(image_bytes=tf.constant([still.getvalue()]))))
"""


def test_animated_webp_counts_as_damaged_and_the_server_goes_on(exported):
    code = ANIMATED_WEBP.replace("sys.argv[1]", repr(str(exported[1])))
    *refused, last = run_in_subprocess(code).splitlines()
    assert refused == ["refused: damaged"] * 6
    assert last == str(sorted(OF_BYTES))


def test_bytes_are_resized_by_the_short_side_then_cropped(tmp_path):
    method = stand_in()
    path = saved_model.save(method, tmp_path, image_size=12, resize_size=16)
    encoded, rgb = encoded_image(smooth_pixels(32, 64), "RGB", "PNG")
    short = Image.fromarray(rgb).resize((32, 16), Image.Resampling.BILINEAR)
    crop = np.asarray(short)[2:14, 10:22]
    decoded = saved_model.decode(tf.constant([encoded]), 12, 16).images
    # Pillow rounds between its two passes.
    np.testing.assert_allclose(decoded[0] * 255, crop, atol=1.01)
    loaded = tf.saved_model.load(str(path))
    received = loaded.signatures["serving_default"](
        image_bytes=tf.constant([encoded])
    )
    np.testing.assert_allclose(
        received["features"],
        method.backbone(decoded, training=False),
        atol=1e-5,
    )
    card = json.loads((path / "model_card.json").read_text())
    assert card["preprocessing"]["resize_short_side"] == 16
    assert card["preprocessing"]["centre_crop"] == 12
