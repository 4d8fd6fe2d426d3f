"""Consumers of a SavedModel know nothing of training."""

import pytest

from tests.support.processes import ROOT
from tests.test_floors import imported

# No room of the house that knows a method.
ALLOWED = (
    "tfclust.cli.flags",
    "tfclust.data",
    "tfclust.ops.average_precision",
    "tfclust.options",
    "tfclust.retrieval",
    "tfclust.runtime",
    "tfclust.saved_model",
)


def allowed(full):
    return any(full == a or full.startswith(f"{a}.") for a in ALLOWED)


def shown(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "export").rglob("*.py")), ids=shown
)
def test_consumers_import_no_training_code(path):
    for full in imported(path):
        if full == "tfclust" or not full.startswith("tfclust."):
            continue
        # `from tfclust.cli import flags` gives both names.
        parent = any(a.startswith(f"{full}.") for a in ALLOWED)
        assert parent or allowed(full), f"{path} imports {full}"


def test_consumers_do_not_import_one_another():
    for path in (ROOT / "export").rglob("*.py"):
        own = path.relative_to(ROOT / "export").parts[0]
        for full in imported(path):
            if full.startswith("export."):
                assert full.split(".")[1] in (own, "common"), (
                    f"{path} imports {full}"
                )
