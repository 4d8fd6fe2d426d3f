"""Optimizers' steps as plain NumPy loops in float64."""

import keras
import numpy as np
import tensorflow as tf

from tfclust.optimizers import LARS, SGD, AdamW, Lamb

# float32 against float64 over a few steps of size one or less.
TOLERANCE = {"rtol": 2e-5, "atol": 2e-6}
SHAPES = {"kernel": (5, 3), "bias": (3,), "gain": (4,), "filter": (2, 2, 1, 3)}


def plain_step(p, g, decay):
    return g + decay * p


def swav_step(p, g, decay, trust=1e-3):
    """apex LARC without clip, as methods.md 0.2 gives it."""
    weights, gradient = np.linalg.norm(p), np.linalg.norm(g)
    if weights == 0 or gradient == 0:
        return g
    return (g + decay * p) * (
        trust * weights / (gradient + decay * weights + 1e-8)
    )


def vectors_plain_step(p, g, decay, trust=1e-3):
    """CoKe's LARS, as methods.md 0.2 gives it."""
    if p.ndim < 2:
        return g
    step = g + decay * p
    weights, norm = np.linalg.norm(p), np.linalg.norm(step)
    return step * (trust * weights / norm if weights and norm else 1.0)


FAMILIES = {
    "sgd": (SGD, {}, plain_step),
    "lars swav": (LARS, {"flavour": "swav"}, swav_step),
    "lars plain": (LARS, {"flavour": "vectors_plain"}, vectors_plain_step),
}


def momentum_loop(
    step_of, starts, gradients, rates, *, momentum, decay, nesterov=False
):
    """PyTorch's update: v = m v + step; p -= rate (v, or step + m v)."""
    points = {name: p.astype(np.float64) for name, p in starts.items()}
    velocity = {name: np.zeros_like(p) for name, p in points.items()}
    for rate, by_name in zip(rates, gradients, strict=True):
        for name, g in by_name.items():
            step = step_of(points[name], g.astype(np.float64), decay)
            velocity[name] = momentum * velocity[name] + step
            taken = velocity[name]
            if nesterov:
                taken = step + momentum * velocity[name]
            points[name] = points[name] - rate * taken
    return points


def random_case(seed, num_steps):
    random = np.random.default_rng(seed)

    def draw():
        return {
            name: random.normal(size=shape).astype(np.float32)
            for name, shape in SHAPES.items()
        }

    starts = draw()
    starts["bias"] = np.zeros(SHAPES["bias"], np.float32)
    gradients = [draw() for _ in range(num_steps)]
    # A head that nothing reaches yet: a norm of exactly zero.
    gradients[0]["gain"] = np.zeros(SHAPES["gain"], np.float32)
    return starts, gradients


def as_variables(starts):
    return {
        name: keras.Variable(value, name=name) for name, value in starts.items()
    }


def run(optimizer, variables, gradients, compiled=None):
    """Applies `gradients` one after another; `compiled` as jit_compile."""

    def apply(by_name):
        rows = [by_name[name] for name in variables]
        optimizer.apply(rows, list(variables.values()))

    optimizer.build(list(variables.values()))
    step = (
        apply if compiled is None else tf.function(apply, jit_compile=compiled)
    )
    for by_name in gradients:
        step({name: tf.constant(g) for name, g in by_name.items()})


def close(variables, expected, **tolerance):
    for name, value in expected.items():
        np.testing.assert_allclose(
            variables[name].numpy(),
            value,
            err_msg=name,
            **(tolerance or TOLERANCE),
        )


ALL = {
    "sgd": lambda: SGD(0.1, weight_decay=0.1),
    "lars": lambda: LARS(5.0, weight_decay=0.1),
    "lars plain": lambda: LARS(5.0, weight_decay=0.1, flavour="vectors_plain"),
    "adamw": lambda: AdamW(0.1, weight_decay=0.1),
    "lamb": lambda: Lamb(0.1, weight_decay=0.1),
}
