"""Marks of single cases."""

import pytest


def slow(*values):
    """A case of `parametrize` that `make test` leaves out."""
    return pytest.param(*values, marks=pytest.mark.slow)
