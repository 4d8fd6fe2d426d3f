"""Trains and measures one recipe with several values of its knobs.

python -m tfclust.sweep --flagfile=configs/sweeps/coke_min_share.flags \\
    --data=tfrecord:/cifar10/train.tfrecord --max_images=10000 \\
    --test_data=tfrecord:/cifar10/test.tfrecord --workdir=runs/min_share
"""

import concurrent.futures
import dataclasses
import itertools
import json
import pathlib
import re
import signal
import subprocess
import sys
from typing import NamedTuple

from tfclust import data, options
from tfclust.cli import flags, recipe_flags
from tfclust.options import option
from tfclust.runs import checkpoints, recipes
from tfclust.runtime import folders, quiet, terminal
from tfclust.training import checks, resuming

TABLE_FILE = "table.md"
_LOG_FILE, _FIGURES_FILE = "sweep.log", "evaluation.json"
_IMAGES_FILE = "sweep.json"
# Heading, protocol and figure of evaluation.json, whether in percent.
_MEASURED = (
    ("20-NN", "knn", "top1", True),
    ("linear", "linear", "top1", True),
    ("NMI", "clusters", "nmi", False),
    ("ARI", "clusters", "ari", False),
)
# Heading and figure of the last line of metrics.jsonl, and its format.
_TOLD = (
    ("loss / ln K", "loss_over_log_k", ".2f"),
    ("effective clusters", "effective_clusters", ",.1f"),
    ("smallest cluster", "smallest_label_cluster", ",.0f"),
    ("largest cluster", "largest_label_cluster", ",.0f"),
)


@dataclasses.dataclass(frozen=True)
class SweepConfig:
    """The sweep: which knobs take which values, beside the flags of train."""

    vary: str = option(
        "",
        "Knobs and their values: 'min_share=1|0.4|0 epochs=5|10' trains all "
        "six combinations.",
    )
    test_data: str = option(
        "",
        "Labelled images that give the figures; empty for the run's eval_data, "
        "or every fifth of data's own.",
    )
    runs_at_once: int = option(
        1, "Processes that train at a time.", unit="processes", lower=1
    )

    def __post_init__(self):
        options.check(self)
        if not self.vary:
            raise ValueError(
                "vary must name a knob and its values, such as "
                "--vary='min_share=1|0.4|0'. Received: nothing."
            )


class Variant(NamedTuple):
    """One run of the sweep."""

    values: dict  # {knob: text}
    recipe: recipes.Recipe

    @property
    def workdir(self):
        return pathlib.Path(self.recipe.run.workdir)


def variants(recipe, vary):
    """The recipes that a sweep trains.

    Args:
      recipe: the `Recipe` that all share; its workdir holds theirs.
      vary: str, `knob=value|value` parted by spaces.

    Returns:
      list of `Variant`, all combinations, the last knob's values fastest.

    Raises:
      ValueError: if a knob is unknown, comes twice or a value does not suit.
    """
    knobs = _parse(vary)
    workdir = folders.expanded(recipe.run.workdir)
    found = []
    for values in itertools.product(*knobs.values()):
        chosen = dict(zip(knobs, values, strict=True))
        words = recipes.to_words(recipe)
        for name, value in chosen.items():
            _part_of(words, name, recipe.run.method)[name] = value
        words["run"]["workdir"] = str(workdir / _folder(chosen))
        try:
            variant = recipes.from_words(words)
        except ValueError as error:
            raise ValueError(f"vary, {_folder(chosen)}: {error}") from error
        checks.check_alone(variant)
        found.append(Variant(chosen, variant))
    return found


def sweep(recipe, config, say=terminal.say):
    """Trains and measures every variant that is not done yet.

    Args:
      recipe: the `Recipe` that all share.
      config: `SweepConfig`.
      say: called with a line of text as each variant ends.

    Returns:
      `(table, failed)`: the table of figures as Markdown, also written to
      `table.md` in the workdir, and the number of variants that failed.
    """
    runs = variants(recipe, config.vary)
    for run in runs:
        _refuse_another(run, config.test_data)
    if config.test_data:
        data.check_uri(config.test_data, "test_data")
    quiet.import_tensorflow()  # here, for `figures` is called in threads too
    workdir = folders.writable("workdir", recipe.run.workdir)
    table = workdir / TABLE_FILE
    with _Processes(config.runs_at_once) as processes:
        for variant, error in processes.each(_run, runs, config.test_data):
            say(f"{_folder(variant.values)}: {error or 'done'}")
            table.write_text(format_table(runs) + "\n", encoding="utf-8")
    failed = sum(figures(run) is None for run in runs)
    return format_table(runs), failed


def figures(variant):
    """What is known of a variant: texts by heading; None if unmeasured."""
    path = variant.workdir / _FIGURES_FILE
    if not path.exists():
        return None
    from tfclust.runs import metrics  # imports TensorFlow

    measured = _json(path, "the run is measured again")
    measured = measured.get("trained", {})
    told = (metrics.read_metrics(variant.workdir) or [{}])[-1]
    row = {}
    for heading, protocol, name, percent in _MEASURED:
        # Somebody may have measured it again, by some protocols alone.
        value = measured.get(protocol, {}).get(name)
        if value is not None:
            row[heading] = f"{100 * value:.1f}" if percent else f"{value:.3f}"
    for heading, name, form in _TOLD:
        if told.get(name) is not None:
            row[heading] = format(told[name], form)
    return row


def format_table(runs):
    """Markdown: a line a variant, a column a knob and a figure."""
    rows = [figures(run) or {} for run in runs]
    known = [heading for heading, *_ in (*_MEASURED, *_TOLD)]
    headings = [h for h in known if any(h in row for row in rows)]
    lines = [[*runs[0].values, *headings]]
    lines.append(["---"] * len(lines[0]))
    for run, row in zip(runs, rows, strict=True):
        values = [value or "–" for value in run.values.values()]
        lines.append([*values, *(row.get(h, "–") for h in headings)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


class _Processes:
    """Child processes, ended where the sweep ends before them."""

    def __init__(self, at_once):
        self.pool = concurrent.futures.ThreadPoolExecutor(at_once)
        self.children: set[subprocess.Popen] = set()
        self.closed = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed = True
        self.pool.shutdown(wait=False, cancel_futures=True)
        for child in tuple(self.children):
            child.send_signal(signal.SIGTERM)  # training saves first
        self.pool.shutdown(wait=True)

    def each(self, run, variants, *arguments):
        """(variant, `run`'s result) of each, as they end."""
        futures = {
            self.pool.submit(run, self, variant, *arguments): variant
            for variant in variants
        }
        for future in concurrent.futures.as_completed(futures):
            yield futures[future], future.result()

    def call(self, log, module, *arguments):
        """The exit code of a command of ours, whose words go to `log`."""
        if self.closed:
            return flags.INTERRUPTED
        child = subprocess.Popen(
            [sys.executable, "-m", f"tfclust.{module}", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches it through us, once
        )
        self.children.add(child)
        try:
            return child.wait()
        finally:
            self.children.discard(child)


def _run(processes, variant, test_data):
    """Trains and measures; the line that tells of a failure, or None."""
    if figures(variant) is not None or processes.closed:
        return None
    workdir = folders.writable("workdir", variant.workdir)
    recipe_file, log_file = workdir / "sweep.flags", workdir / _LOG_FILE
    flags.write(recipe_file, variant.recipe)
    images = json.dumps(_images(variant, test_data))
    (workdir / _IMAGES_FILE).write_text(images, encoding="utf-8")
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
    """Refuses a folder that holds a run of other flags or images."""
    saved = checkpoints.latest(variant.workdir)
    if saved is None:
        return
    other = recipes.differences(variant.recipe, saved.about["recipe"])
    path = variant.workdir / _IMAGES_FILE
    now = _images(variant, test_data)
    why = "the run is taken as one of this sweep's images"
    then = _json(path, why) if path.exists() else now
    other += [(n, then.get(n), now[n]) for n in now if then.get(n) != now[n]]
    if other:
        raise ValueError(
            f"{variant.workdir} holds another run. Received: "
            f"{resuming.told(other)}. Give another workdir."
        )


def _images(variant, test_data):
    """`{flag: text}` of what a run may change, but its figures may not."""
    words = recipes.to_words(variant.recipe)["run"]
    names = ("data", "max_images", "class_shares", "eval_data")
    return {**{name: words[name] for name in names}, "test_data": test_data}


def _json(path, without_it):
    """The object that a file of the sweep holds."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(
            f"{path} must hold a JSON object. Received: something else. Remove "
            f"it: then {without_it}."
        )
    return found


def _parse(vary):
    """`{knob: [text, ...]}` of `knob=value|value` parted by spaces."""
    knobs: dict[str, list[str]] = {}
    for words in vary.split():
        name, equals, values = words.partition("=")
        texts = values.split("|")
        if not equals or name in knobs or len(set(texts)) < len(texts):
            raise ValueError(
                "vary must give each knob once, with its values once: "
                f"'knob=value|value knob=value'. Received: {words} in "
                f"vary={vary}."
            )
        knobs[name] = texts
    return knobs


def _part_of(words, name, method):
    """The part of a recipe's words that has a knob."""
    if name in ("method", "workdir"):
        raise ValueError(
            f"vary must leave {name} as it is. Received: vary={name}. Make a "
            "sweep for each."
        )
    for part in words.values():
        if name in part:
            return part
    raise ValueError(
        f"vary names a knob that {method} has not. Received: vary={name}."
    )


def _folder(values):
    """A variant's name, which can be a folder's."""
    name = " ".join(f"{knob}={value}" for knob, value in values.items())
    return re.sub(r"[^\w=.,+-]+", "_", name)


def main():
    """Trains and measures one recipe with several values of its knobs.

    Takes the flags of train, and --vary. Each run has a folder in --workdir,
    with sweep.log; table.md has their figures. Called again, it goes on with
    what is not done yet.
    """
    config = flags.read(SweepConfig)
    table, failed = sweep(recipe_flags.read(), config)
    print(table)
    return flags.BAD_INPUT if failed else flags.DONE


if __name__ == "__main__":
    recipe_flags.define(SweepConfig)
    flags.run(main)
