"""The model of time and memory: its terms, and how it is fitted to points."""

import numpy as np


def pass_terms(rows, clusters, width):
    """Of a pass over N rows: products, scores, rows, a call."""
    return {
        "N K d": rows * clusters * width,
        "N K": rows * clusters,
        "N d": rows * width,
        "1": 1,
    }


def batch_terms(rows, clusters, width):
    """Of an online clustering's batch: products, centroids, a call."""
    return {
        "B K d": rows * clusters * width,
        "K d": clusters * width,
        "1": 1,
    }


def step_terms(clusters, batch, queue):
    """Of SwAV's step: network, head, codes, a call."""
    return {
        "B": batch,
        "B K": batch * clusters,
        "(B + Q) K": (batch + queue) * clusters,
        "1": 1,
    }


def fit(terms, points, values):
    """`{term: coefficient >= 0}`, least squares of the relative error."""
    from scipy.optimize import nnls

    rows = np.array([list(terms(*point).values()) for point in points], float)
    scale = rows.max(axis=0)
    rows = rows / scale / np.array(values)[:, None]
    solution, _ = nnls(rows, np.ones(len(values)))
    return dict(zip(terms(*points[0]), solution / scale, strict=True))


def predicted(terms, coefficients, point):
    return sum(terms(*point)[name] * x for name, x in coefficients.items())


def tell_model(terms, model, points, values, held_out, held_values):
    """Prints coefficients and errors; returns the worst held-out error."""
    print("  " + ", ".join(f"{x:.3g} x {name}" for name, x in model.items()))
    for names, some, measured in (
        ("fitted", points, values),
        ("held out", held_out, held_values),
    ):
        errors = []
        for point, value in zip(some, measured, strict=True):
            guess = predicted(terms, model, point)
            errors.append(guess / value - 1)
            print(
                f"  {names:8} {point!s:24} measured {value:10.4g}, "
                f"model {guess:10.4g}, {errors[-1]:+.0%}",
                flush=True,
            )
    return max(map(abs, errors))
