"""Trains a method on unlabelled images.

python -m tfclust.train --data=/my/images --workdir=runs/mine
"""

import signal
import subprocess
import sys

from tfclust.cli import flags, recipe_flags
from tfclust.runs import flagfile, folder
from tfclust.runtime import folders, quiet, terminal
from tfclust.training import checks, resuming
from tfclust.training.planning.config import PlanConfig


def main():
    """Trains a method on unlabelled images.

    Without a recipe (--flagfile), or by one without a length, it makes a plan
    for the images first, as tfclust.advise does. Writes into --workdir:
    config.flags, which repeats the run; checkpoints/, from which the same
    command resumes; metrics.jsonl; tensorboard/; at the end clusters.csv, the
    cluster of each image, and report.html, a page about the run.
    """
    run, plan = recipe_flags.draft().run, flags.read(PlanConfig)
    plan.check_length(run)
    planned = not ((run.epochs or run.steps) and flags.has_flagfile())
    goes_on = planned and _parse_run(run)
    if goes_on:
        if plan.minutes is not None:
            terminal.say(
                f"The run in {run.workdir} keeps its length; minutes is "
                "for the plan of a new one, in another workdir."
            )
    elif planned:
        code = _plan(run)
        if code:
            return code
    recipe = recipe_flags.read()
    checks.check_alone(recipe)
    quiet.import_tensorflow()
    from tfclust.training import pretraining

    def write_config():
        workdir = folders.expanded(recipe.run.workdir)
        flagfile.write(
            workdir / folder.CONFIG,
            resuming.lasting(recipe),
            f"python -m tfclust.train --flagfile={folder.CONFIG}",
        )

    trained = pretraining.pretrain(
        recipe, accepted=write_config, noticed=planned and not goes_on
    )
    if trained.interrupted:
        return flags.INTERRUPTED
    _write_results(trained)
    return flags.DONE


def _write_results(trained):
    """Clusters and page; if that fails, the run is complete all the same."""
    from tfclust.assignment import assigning
    from tfclust.reporting import page
    from tfclust.reporting.config import MOST_IMAGES

    assigned = _written(
        "cluster", folder.CLUSTERS, assigning.after_training, trained,
        MOST_IMAGES,
    )  # fmt: skip
    _written("report", folder.REPORT, page.after_training, trained, assigned)


def _written(command, name, write, trained, *more):
    """What `write` returns; None if it fails, with the command to repeat."""
    try:
        return write(trained, *more, terminal.say)
    except (OSError, RuntimeError, ValueError) as error:
        again = terminal.command(command, workdir=trained.workdir)
        terminal.say(
            f"The run is complete, but {name} was not written: {error} To try "
            f"again: {again}",
            sys.stderr,
        )
        return None


def _parse_run(run):
    """Reads the flags after those of the workdir's run; whether it has one.

    Args:
      run: `RunConfig`.
    """
    checks.check_run(run, needed=("workdir",))
    workdir = folders.expanded(run.workdir)
    config = workdir / folder.CONFIG
    try:
        found = folder.has_run(workdir) and config.exists()
    except OSError:  # no folder at all, which is refused where it is made
        found = False
    if found:
        # Of another method, these are refused where the run is known.
        flags.parse_after(config, tell=False)
    return found


def _plan(run):
    """Makes a plan and reads the flags after it.

    Args:
      run: `RunConfig`.

    Returns:
      The exit code of the plan.
    """
    checks.check_run(run)
    checks.check_uris(run)
    workdir = folders.expanded(run.workdir)
    folders.writable("workdir", workdir)
    plan = workdir / folder.PLAN
    # A process of its own leaves TensorFlow here as it is at a run's start,
    # and its memory is that of training alone.
    advise = [sys.executable, "-m", "tfclust.advise", *flags.words_read()]
    code = subprocess.run([*advise, f"--output={plan}"], check=False).returncode
    if code < 0:
        raise RuntimeError(
            "the process that makes the plan must come to its end. Received: "
            f"{signal.Signals(-code).name}, which the system sends (SIGKILL) "
            "where memory is short. Lower --batch_size or --image_size, or "
            "give other programs less memory."
        )
    if code == flags.DONE:
        flags.parse_after(plan)
    return code


if __name__ == "__main__":
    recipe_flags.define(PlanConfig)
    flags.run(main)
