"""Fixtures and helpers that every test may use."""

import hypothesis
import pytest

from tests.support.processes import ROOT

# A busy machine takes its time over any example.
hypothesis.settings.register_profile("tfclust", deadline=None)
hypothesis.settings.load_profile("tfclust")
SHARED_DATA = ROOT.parent / "shared" / "data"


# By processor time, so that the workers of `make test` end together: a file
# is run by one of them, in this order, and what it makes for its tests once.
LONGEST = (
    "test_method_contract.py",
    "test_commands.py",
    "test_readme.py",
    "test_plans.py",
    "test_endings.py",
    "test_sweep.py",
    "test_pretraining.py",
    "test_stopped_commands.py",
    "test_trouble.py",
    "test_train_detector.py",
    "test_cluster.py",
    "test_client.py",
    "test_views.py",
    "test_sela.py",
    "test_sinkhorn.py",
    "test_coke.py",
    "test_deepcluster.py",
    "test_saved_model.py",
    "test_evaluate.py",
    "test_given_labels.py",
    "test_replacement.py",
    "test_sela_v2.py",
    "test_multi_worker.py",
    "test_transport.py",
    "test_image_kinds.py",
    "test_backbones_fully_connected.py",
    "test_swav.py",
    "test_fixed_labels.py",
    "test_backbones.py",
    "test_recipes.py",
    "test_without_clusters.py",
    "test_settings.py",
    "test_initial_weights.py",
    "test_stream.py",
    "test_deepcluster_v2.py",
    "test_odc.py",
    "test_kmeans.py",
    "test_online_kmeans.py",
)


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real images, or a skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the shared real images beside the project")
    return SHARED_DATA


@pytest.fixture(scope="module")
def one_block():
    """`small` has one narrow block: its steps are traced in half the time.

    In this process alone; others' runs would not fit.
    """
    import importlib  # not by tests that do without

    small = importlib.import_module("tfclust.backbones.small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small, "STEM_CHANNELS", 8)
        patch.setattr(small, "STAGE_CHANNELS", (16,))
        yield


@pytest.fixture
def eager():
    """No graph is traced: of a tiny network, it costs more than a few steps."""
    import tensorflow as tf  # not by tests that do without

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
