"""Crops and colours by Pillow and NumPy, one image at a time."""

import numpy as np
from PIL import Image, ImageEnhance


def pillow_crop(image, box, view_size):
    """Antialiased bilinear crop; box is top, left, height, width."""
    top, left, height, width = box
    crop = Image.fromarray(image).resize(
        (view_size, view_size),
        Image.BILINEAR,
        box=(left, top, left + width, top + height),
    )
    return np.asarray(crop)


def pillow_jitter(image, factors, turn, order):
    """Brightness, contrast, saturation and hue (0 to 3) in `order`."""
    enhancers = (
        ImageEnhance.Brightness,
        ImageEnhance.Contrast,
        ImageEnhance.Color,
    )
    view = Image.fromarray(image)
    for step in order:
        if step < 3:
            view = enhancers[step](view).enhance(factors[step])
        else:
            view = _hue_turned(view, turn)
    return np.asarray(view)


def affine_jitter(image, factors, turn, order):
    """The same steps on float64 RGB in [0, 1], no clipping, hue in YIQ."""
    luma = np.array([0.299, 0.587, 0.114])
    to_yiq = np.array(
        [luma, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]]
    )
    angle = 2 * np.pi * turn
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    hue = np.linalg.inv(to_yiq) @ turned @ to_yiq
    brightness, contrast, saturation = factors
    for step in order:
        grey = (image @ luma)[..., None]
        if step == 0:
            image = brightness * image
        elif step == 1:
            image = contrast * image + (1 - contrast) * grey.mean()
        elif step == 2:
            image = saturation * image + (1 - saturation) * grey
        else:
            image = image @ hue.T
    return image


def _hue_turned(view, turn):
    hue, saturation, value = view.convert("HSV").split()
    turned = np.asarray(hue) + np.uint8(round(turn * 255) % 256)
    parts = (Image.fromarray(turned), saturation, value)
    return Image.merge("HSV", parts).convert("RGB")
