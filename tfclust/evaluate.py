"""Measures a trained backbone beside an untrained one and raw pixels.

python -m tfclust.evaluate --workdir=runs/mine \\
    --test_data=folder:/my/labelled_images
"""

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from typing import NamedTuple

from tfclust import data, evaluation, options, saved_model
from tfclust.cli import flags
from tfclust.evaluation import EvaluationConfig
from tfclust.options import option
from tfclust.runs import recipes
from tfclust.runtime import folders, quiet, terminal
from tfclust.training import checks


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """What is measured, and on which images."""

    workdir: str = option(
        "", "Folder of the run to measure; this or saved_model."
    )
    saved_model: str = option(
        "",
        "SavedModel to measure: a version, or the folder of versions, of which "
        "the newest is taken.",
    )
    train_data: str = option(
        "",
        "Labelled images that kNN and the linear probe learn from; empty for "
        "the run's data.",
    )
    test_data: str = option(
        "",
        "Labelled images that give the figures; empty for the run's eval_data, "
        "or every fifth of train_data where the run has none.",
    )
    max_images: int | None = option(
        None,
        "Use so many of train_data's images; empty for as many as the run, "
        "where they are the run's own, and else for all. A run's class_shares "
        "are not applied.",
        lower=1,
    )
    cache_dir: str = option(
        "",
        "Folder for the results of checking the images, where they cannot lie "
        "beside them; empty for one in workdir.",
    )
    output: str = option(
        "",
        "JSON file for the figures; empty for evaluation.json in workdir.",
    )

    def __post_init__(self):
        options.check(self)
        if bool(self.workdir) == bool(self.saved_model):
            raise ValueError(
                "give either workdir or saved_model, such as "
                "--workdir=runs/first. Received: "
                f"workdir={self.workdir or 'none'}, "
                f"saved_model={self.saved_model or 'none'}."
            )


class Trained(NamedTuple):
    """A backbone with what is known of its training."""

    backbone: Callable
    image_size: int
    resize_size: int | None
    recipe: recipes.Recipe | None  # None for a SavedModel that tells none


def evaluate(command, config, tell=None):
    """Measures what `command` names.

    Args:
      command: `EvaluateConfig`.
      config: `EvaluationConfig`.
      tell: called with a line of text when a protocol is done, or None.

    Returns:
      What `evaluation.evaluate` returns, also written to the output file where
      there is one.

    Raises:
      ValueError: if the run, the images and the protocols do not fit.
      FileNotFoundError: if the run or images are not there.
      OSError: if the disk of the images goes away.
    """
    _check_paths(command)
    quiet.import_tensorflow()
    if command.workdir:
        trained = _from_run(command.workdir)
    else:
        trained = _from_saved_model(command.saved_model)
    output = output_path(command)
    # Refused before images are opened, which may take minutes.
    if "untrained" in config.baselines and trained.recipe is None:
        raise ValueError(
            "the baseline untrained needs the recipe of the training. "
            f"Received: saved_model={command.saved_model}, whose "
            f"{saved_model.CARD_FILE} has none. Give --baselines=pixels."
        )
    train, test = open_sources(command, config, trained.recipe, tell)
    results = evaluation.evaluate(
        _backbones(trained, config.baselines),
        train,
        test,
        config,
        image_size=trained.image_size,
        resize_size=trained.resize_size,
        tell=tell,
    )
    if output is not None:
        write_json(output, results)
    return results


def _check_paths(command):
    """Refuses what is not there, before TensorFlow's import."""
    if command.workdir:
        checks.check_trained(command.workdir)
    else:
        saved_model.newest_version(command.saved_model)
    for name in ("train_data", "test_data"):
        if getattr(command, name):
            data.check_uri(getattr(command, name), name)


def open_sources(command, config, recipe, tell=None):
    """The sources to learn from and to test on; None where none is needed.

    Without images to test on, every fifth of those to learn from is held out.

    Args:
      command: `EvaluateConfig`.
      config: `EvaluationConfig`.
      recipe: the run's `Recipe` for what `command` leaves out, or None.
      tell: called with a line of text where images are held out, or None.
    """
    run = recipes.RunConfig() if recipe is None else recipe.run
    train_uri = command.train_data or run.data
    test_uri = command.test_data or run.eval_data
    if test_uri and set(config.protocols) == {"clusters"}:
        train_uri = ""  # nothing is learnt from other images
    elif train_uri and train_uri == test_uri:
        raise evaluation.overlap_error("all", train_uri, test_uri)
    max_images = command.max_images
    if max_images is None and train_uri == run.data:
        max_images = run.max_images
    cache = command.cache_dir or run.cache_dir
    if not cache and command.workdir:
        cache = str(folders.expanded(command.workdir) / "cache")

    def opened(argument, uri, max_images=None):
        if not uri:
            return None
        source = data.open_source(
            uri,
            max_images=max_images,
            cache_dir=cache or None,
            max_bad_share=run.max_bad_share,
            argument=argument,
        )
        if source.is_stream:
            raise ValueError(
                "evaluation needs images that it can come back to. Received: "
                f"{argument}={uri}. Write tfrecord: in place of "
                "tfrecord_stream:, or give other images by --train_data and "
                "--test_data."
            )
        if tell is not None:
            source.when_failing(
                lambda name, why: tell(
                    f"Another image stands for {name}: {why}"
                )
            )
        return source

    if test_uri:
        # The smaller source first: what is missing there shows soonest.
        given = "test_data" if command.test_data else "eval_data"
        test = opened(given, test_uri)
        evaluation.check_source(config, "test_data", test)
    given = "train_data" if command.train_data else "data"
    train = opened(given, train_uri, max_images)
    if not test_uri:
        train, test = _held_out(config, train, tell)
    evaluation.check_sources(config, train, test)
    return train, test


def _held_out(config, source, tell):
    """`source` in two, to learn from and to test on, and a line on it."""
    if source is not None and source.labels is None:
        why = "".join(f" ({notice})" for notice in source.notices)
        raise ValueError(
            "without test_data every fifth image to learn from is one to test "
            f"on, and needs a label. Received: {source.uri} without labels"
            f"{why}. Put the images in class folders, or give labelled ones "
            "by --train_data and --test_data."
        )
    evaluation.check_source(config, "test_data", source)
    train, test = data.held_out(source)
    if tell is not None:
        tell(
            f"No test_data is given: every fifth image of {source.uri} is held "
            f"out to test on, {test.num_images} of {source.num_images}."
        )
    return train, test


def output_path(command):
    """Where the figures are written, or None; refuses what cannot be.

    Its folder is made where it is missing, and tried.

    Args:
      command: `EvaluateConfig`.
    """
    if command.output:
        path = folders.expanded(command.output)
    elif command.workdir:
        workdir = folders.expanded(command.workdir)
        path = workdir / "evaluation.json"
    else:
        return None
    if path.is_dir():
        raise ValueError(
            f"output must be a file. Received: the folder {path}. Try "
            f"{path / 'evaluation.json'}."
        )
    folders.writable("output", path.parent, given=path)
    return path


def write_json(path, results):
    """Writes `results` to `path`, at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    way_out = "What was there is as it was. Make room, or give another output."
    try:
        with (
            folders.writing(f"the figures in {path}", way_out),
            open(partial, "w", encoding="utf-8") as file,
        ):
            json.dump(results, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _from_run(workdir):
    from tfclust.training import pretraining  # imports TensorFlow

    run = pretraining.load_run(workdir)
    return Trained(
        _inference(run.method.backbone),
        run.recipe.run.image_size,
        run.recipe.run.resize_size,
        run.recipe,
    )


def _from_saved_model(path):
    loaded = saved_model.load(path)
    words = loaded.card["recipe"]
    return Trained(
        _inference(loaded.model),
        loaded.image_size,
        loaded.resize_size,
        None if words is None else recipes.from_words(words),
    )


def _backbones(trained, baselines):
    from tfclust.training import pretraining  # imports TensorFlow

    backbones = {"trained": trained.backbone}
    if "untrained" in baselines:
        backbones["untrained"] = _inference(
            pretraining.untrained_backbone(trained.recipe)
        )
    if "pixels" in baselines:
        backbones["pixels"] = evaluation.pixels
    return backbones


def _inference(model):
    """`model` with the statistics of training, not of the batch."""
    return lambda images: model(images, training=False)


def main():
    """Measures a trained backbone beside an untrained one and raw pixels.

    Prints a table and writes the figures as JSON. The images need labels: class
    folders, or TFRecords with image/class/label.
    """
    command = flags.read(EvaluateConfig)
    config = flags.read(EvaluationConfig)

    def tell(line):
        terminal.say(line, sys.stderr)

    results = evaluate(command, config, tell)
    print(evaluation.format_table(results))
    output = output_path(command)
    if output is not None:
        terminal.say(f"Written: {output}")


if __name__ == "__main__":
    flags.define(EvaluateConfig, EvaluationConfig)
    flags.run(main)
