"""Trains and measures the runs of a sweep that are not done yet."""

import json
from typing import NamedTuple

from tfclust import data
from tfclust.runs import checkpoints, flagfile, folder, recipes
from tfclust.runtime import files, folders, quiet, terminal
from tfclust.training import resuming
from tfclust.training.sweeps.processes import Processes
from tfclust.training.sweeps.table import figures, format_table, read_json
from tfclust.training.sweeps.variants import folder_name, variants


class Swept(NamedTuple):
    """What a sweep has come to."""

    table: str  # of figures as Markdown; also in `table.md` in the workdir
    workdirs: list  # of the runs that are done
    failed: int  # variants that are not


def sweep(recipe, config, say=terminal.say):
    """Trains and measures every variant that is not done yet.

    Args:
      recipe: the `Recipe` that all share.
      config: `tfclust.sweep.SweepConfig`.
      say: called with a line of text as each variant ends.

    Returns:
      `Swept`.
    """
    runs = variants(recipe, config.vary)
    for run in runs:
        _refuse_another(run, config.test_data)
    if config.test_data:
        data.check_uri(config.test_data, "test_data")
    quiet.import_tensorflow()  # here, since threads call `figures` too
    workdir = folders.writable("workdir", recipe.run.workdir)
    table = workdir / folder.SWEEP_TABLE
    with Processes(config.runs_at_once) as processes:
        for variant, error in processes.each(_run, runs, config.test_data):
            say(f"{folder_name(variant.values)}: {error or 'done'}")
            files.write_text(table, format_table(runs) + "\n")
    done = [run.workdir for run in runs if figures(run) is not None]
    return Swept(format_table(runs), done, len(runs) - len(done))


def _run(processes, variant, test_data):
    """Trains and measures; returns the line on a failure, or None."""
    if figures(variant) is not None or processes.closed:
        return None
    workdir = folders.writable("workdir", variant.workdir)
    recipe_file = workdir / folder.SWEEP_FLAGS
    log_file = workdir / folder.SWEEP_LOG
    flagfile.write(recipe_file, variant.recipe)
    images = json.dumps(_images(variant, test_data))
    files.write_text(workdir / folder.SWEEP_IMAGES, images)
    measure = [f"--workdir={workdir}", "--baselines="]
    if test_data:
        measure.append(f"--test_data={test_data}")
    with open(log_file, "w", encoding="utf-8") as log:
        code = processes.call(log, "train", f"--flagfile={recipe_file}")
        code = code or processes.call(log, "evaluate", *measure)
    if code == 0:
        return None
    last = log_file.read_text("utf-8", "replace").strip().splitlines()[-1:]
    return f"exit code {code}, {''.join(last)} (all of it: {log_file})"


def _refuse_another(variant, test_data):
    """Refuses a folder that holds a run with other flags or images."""
    saved = checkpoints.latest(variant.workdir)
    if saved is None:
        return
    other = recipes.differences(variant.recipe, saved.about["recipe"])
    path = variant.workdir / folder.SWEEP_IMAGES
    now = _images(variant, test_data)
    why = "the run is taken as one of this sweep's images"
    then = read_json(path, why) if path.exists() else now
    then = {"imbalance": "none", **then}  # of a version without the flag
    other += [(n, then.get(n), now[n]) for n in now if then.get(n) != now[n]]
    if other:
        raise ValueError(
            f"{variant.workdir} holds another run. Received: "
            f"{resuming.told(other)}. Give another workdir."
        )


def _images(variant, test_data):
    """`{flag: text}` of flags that a run may change, but its figures not."""
    words = recipes.to_words(variant.recipe)["run"]
    names = ("data", "max_images", "class_shares", "imbalance", "eval_data")
    return {**{name: words[name] for name in names}, "test_data": test_data}
