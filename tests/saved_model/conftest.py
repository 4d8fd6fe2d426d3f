"""What several files of these tests read.

Imports stand in the fixture: pytest shows what an import here prints.
"""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A method, and the version that was saved of it."""
    from tests.support.exported import SIZE, stand_in
    from tfclust import saved_model

    method = stand_in()
    folder = tmp_path_factory.mktemp("exports") / "mine"
    card = {
        "method": "swav",
        "data": "digits:",
        "num_images": np.int64(1797),
        "metrics": {"top1": np.float32(0.5)},
        "note": "Grüße",
    }
    path = saved_model.save(method, folder, card=card, image_size=SIZE)
    return method, path
