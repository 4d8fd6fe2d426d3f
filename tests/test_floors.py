"""The house's floors: a module imports from lower floors alone."""

import ast
import pathlib

import pytest

import tfclust
from tfclust import methods

PACKAGE = pathlib.Path(tfclust.__file__).parent
# Lowest first. A package counts as one module.
FLOORS = [
    {"options", "runtime"},
    {"ops"},
    {"data", "backbones", "layers", "optimizers"},
    {"engine", "retrieval"},
    {"methods", "evaluation", "saved_model"},
    {"runs"},
    {"training", "assignment"},
    {"reporting"},
    {"cli"},
    {
        "advise",
        "cluster",
        "embed",
        "evaluate",
        "export",
        "report",
        "sweep",
        "train",
    },
    {"__main__"},
]
COMMANDS = FLOORS[-2]


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    """The module or package below tfclust that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def floor_of(name):
    for floor, names in enumerate(FLOORS):
        if name in names:
            return floor
    raise AssertionError(f"tfclust/{name} stands on no floor: add it above")


def imported(path):
    """Full names of what a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by the full name"
            yield node.module
            yield from (f"{node.module}.{a.name}" for a in node.names)


def tfclust_imports(path):
    """Modules or packages of tfclust that a file imports."""
    parts = (full.split(".") for full in imported(path))
    return {p[1] for p in parts if p[0] == "tfclust" and len(p) > 1}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.name))
def test_module_imports_from_lower_floors_alone(path):
    name = name_of(path)
    if name == "__init__":
        # All else is loaded on first use.
        assert tfclust_imports(path) == {"runtime"}
        return
    for other in tfclust_imports(path) - {name}:
        assert floor_of(other) < floor_of(name), (
            f"{path}: {name} must not import {other}"
        )


def test_methods_never_import_one_another():
    for path in (PACKAGE / "methods").glob("*.py"):
        if path.stem in ("__init__", "table"):
            continue
        for full in imported(path):
            if full.startswith("tfclust.methods."):
                own = f"tfclust.methods.configs.{path.stem}"
                assert full.startswith(own), f"{path} imports {full}"


def test_only_flags_and_commands_know_absl_flags():
    for path in modules():
        if name_of(path) in {"cli", *COMMANDS}:
            continue
        assert not any("absl" in full for full in imported(path)), path


def test_evaluation_knows_no_method():
    for path in (PACKAGE / "evaluation").rglob("*.py"):
        assert "methods" not in tfclust_imports(path), path


def test_package_itself_loads_modules_on_first_use():
    for name in ("methods", "data", "training"):
        assert name in dir(tfclust)
    with pytest.raises(AttributeError, match="no attribute 'method'"):
        tfclust.method  # noqa: B018


def test_every_method_is_a_name_of_its_package():
    named = [getattr(methods, name) for name in methods.__all__]
    assert all(method in named for method in methods.METHODS.values())
