"""Packages that import their names on first use (PEP 562).

TensorFlow takes seconds of processor time to import, and most refusals of a
command do not need it. A package writes its imports under `if TYPE_CHECKING:`,
where editors and type checkers find them, and runs them later:

    if TYPE_CHECKING:
        from tfclust.data.views.batches import Views
    else:
        __getattr__, __dir__ = on_first_use(__name__)
"""

import ast
import importlib
import inspect
import sys

from tfclust.runtime import quiet


def on_first_use(package, *modules):
    """`__getattr__` and `__dir__` for a package.

    Args:
      package: str, its `__name__`. Its source says which names it has, by
        `from module import name` under `if TYPE_CHECKING:`.
      *modules: str, modules in it that are also names of the package, besides
        those from which the names come.

    Returns:
      Two functions; the first imports a name and keeps it, or raises
      AttributeError.
    """
    this = sys.modules[package]
    homes = _homes(inspect.getsource(this))
    inside = {f"{package}.{module}" for module in modules} | {*homes.values()}

    def resolve(name):
        if f"{package}.{name}" in inside:
            with quiet.without_notices():
                return importlib.import_module(f"{package}.{name}")
        if name not in homes:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}"
            )
        with quiet.without_notices():
            value = getattr(importlib.import_module(homes[name]), name)
        setattr(this, name, value)
        return value

    return resolve, lambda: sorted({*vars(this), *homes, *modules})


def _homes(source):
    """`{name: its module}` from the imports for type checkers."""
    return {
        alias.name: node.module
        for block in ast.parse(source).body
        if isinstance(block, ast.If)
        and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
