"""The table of the kinds of URIs."""

import importlib

import pytest

from tfclust.data.sources import schemes


@pytest.mark.parametrize("name", schemes.SCHEMES)
def test_scheme_has_an_example_and_a_module_that_opens_it(name):
    scheme = schemes.SCHEMES[name]
    assert scheme.help.startswith(f"{name}:")
    assert schemes.parted(scheme.help, "data")[0] == name
    module = importlib.import_module(f"tfclust.data.sources.{scheme.open}")
    assert callable(module.open_uri)
    assert scheme.help in schemes.examples(noted=True)
