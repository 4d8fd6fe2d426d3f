"""The commands that come next, to close a command's words with."""

import os
import shlex


def after_training(workdir):
    """A sentence with the commands that measure and export a run.

    Args:
      workdir: str, as the user wrote it.
    """
    measure = _command("evaluate", workdir)
    return f"Next, to measure and export it: {measure} && {_export(workdir)}"


def after_trouble(workdir):
    """A sentence with the command that shows what went wrong."""
    show = _command("report", workdir)
    return f"For a page with its curves and clusters: {show}"


def after_evaluation(workdir):
    """A sentence with the command that exports a run."""
    return f"Next, to export it: {_export(workdir)}"


def _export(workdir):
    name = os.path.basename(os.path.normpath(workdir))
    output = shlex.quote(os.path.join("exports", name))
    return f"{_command('export', workdir)} --output={output}"


def _command(name, workdir):
    return f"python -m tfclust.{name} --workdir={shlex.quote(workdir)}"
