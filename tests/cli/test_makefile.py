"""`make quickstart` on images of one's own, with commands that only tell."""

import shutil
import subprocess

import pytest

from tests.support.processes import ROOT


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("data", ["folder:/a/Mum's photos", 'b "c"; `d`'])
def test_quickstart_takes_a_folder_of_any_name(tmp_path, data):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\nprintf "<%s>\\n" "$@"\n')
    python.chmod(0o755)
    (tmp_path / ".tfclust").touch()
    done = subprocess.run(
        ["make", "--silent", "quickstart", f"DATA={data}", f"VENV={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"<--data={data}>" in done.stdout.splitlines()
