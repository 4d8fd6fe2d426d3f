"""Bad input ends with exit code 2 and one line that says what to do."""

import pathlib
import re
import subprocess
import tempfile

import pytest
import tensorflow as tf

from tests.support import (
    bad_input_archives,
    bad_input_images,
    bad_input_records,
    bad_input_runs,
    bad_input_weights,
)
from tests.support.commands import status

# Each has `CASES`: a name in words -> a function of an empty folder that gives
# the words after `python -m`, and the pattern of the line.
MODULES = (
    bad_input_images,
    bad_input_records,
    bad_input_archives,
    bad_input_runs,
    bad_input_weights,
)
CASES = {
    name: make for module in MODULES for name, make in module.CASES.items()
}


@pytest.fixture(scope="module")
def folders():
    """A folder for the cases' own, of which some are too deep for pytest."""
    tf.config.list_physical_devices()  # its lines on GPUs come once
    base = pathlib.Path(tempfile.mkdtemp())
    yield base
    subprocess.run(["rm", "-rf", base], check=True)


@pytest.mark.parametrize("name", CASES)
def test_bad_input_ends_with_exit_code_2_and_one_line(name, folders, capfd):
    folder = folders / str(list(CASES).index(name))
    folder.mkdir()
    (module, *words), pattern = CASES[name](folder)
    capfd.readouterr()
    code = status(module.removeprefix("tfclust."), *words)
    output, errors = capfd.readouterr()
    assert code == 2, errors
    assert errors.count("\n") == 1 and errors.endswith("\n"), errors
    assert errors.rstrip("\n").isprintable()
    assert re.search(pattern, errors), errors
    assert "Traceback" not in errors + output
