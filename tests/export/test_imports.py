"""Consumers of a SavedModel know nothing of training."""

import ast

import pytest

from tests.support import processes
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


def used(path):
    """Full names of what a file uses of the modules that it imports.

    Some packages load what is asked of them on first use.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    known = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = getattr(node.value, "id", None)
            if name in known:
                yield f"{known[name]}.{node.attr}"


# Whatever the files name, at their top or in a function.
_LOAD_ALL = """
import importlib, sys
def load(full):
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name not in full:
            raise
        module, _, name = full.rpartition(".")
        return getattr(load(module), name, None)  # or a variable's
for full in sys.argv[1:]:
    load(full)
print(*(name for name in sys.modules if name.startswith("tfclust.")))
"""


@pytest.mark.slow
def test_consumers_load_no_method_and_no_training():
    """Nor does what they import in its turn."""
    paths = list((ROOT / "export").rglob("*.py"))
    names = {full for path in paths for full in (*imported(path), *used(path))}
    names |= {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in paths
        if path.stem != "__init__"
    }
    names = sorted(n for n in names if n.startswith(("tfclust.", "export.")))
    # Fresh: other tests' processes have TensorFlow and more loaded.
    process = processes.run(["-c", _LOAD_ALL, *names], fresh=True)
    assert process.returncode == 0, process.stderr
    loaded = process.stdout.split()
    assert "tfclust.saved_model.loading" in loaded
    training = ("tfclust.methods", "tfclust.training")
    assert [name for name in loaded if name.startswith(training)] == []
