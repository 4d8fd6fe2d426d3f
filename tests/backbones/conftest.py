"""What several files of these tests read.

Imports stand in the fixtures: pytest shows what an import here prints.
"""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def small():
    import keras

    from tfclust import backbones

    keras.utils.set_random_seed(0)
    return backbones.build("small", image_size=32)


@pytest.fixture
def images():
    return np.random.default_rng(0).random((4, 32, 32, 3), np.float32)


@pytest.fixture
def precision():
    """Sets a policy for one test."""
    import keras

    yield keras.mixed_precision.set_global_policy
    keras.mixed_precision.set_global_policy("float32")
