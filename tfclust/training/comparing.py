"""Measures several runs and exports on the same images, side by side."""

import dataclasses

from tfclust import data, evaluation, saved_model
from tfclust.evaluation.intervals import RESAMPLES
from tfclust.runs import folder
from tfclust.runtime import files, folders, quiet
from tfclust.training import figures_file, measuring, unseen

SUPERVISED = "supervised"
_LEARNS_FROM_LABELS = "fixed_labels"
_UNTRAINED = "untrained"


def compare(command, config, say=None, done=None):
    """Measures what `command.compare` and `command.supervised` name.

    Each network sees images of the size of its own training. The baselines are
    those of the first; where another's untrained network differs, it has a
    column too.

    Args:
      command: `tfclust.evaluate.EvaluateConfig`.
      config: `EvaluationConfig`.
      say: called with a line of text when a protocol is done, or None.
      done: as in `evaluation.evaluate`.

    Returns:
      What `evaluation.evaluate` returns, by the names of the folders.

    Raises:
      ValueError: if the runs, the images and the protocols do not fit.
      FileNotFoundError: if a run or images are not there.
    """
    paths = named(command)
    for path in paths.values():
        check_there(path)
    for name in ("train_data", "test_data"):
        if getattr(command, name):
            data.check_uri(getattr(command, name), name)
    quiet.import_tensorflow()
    if config.bootstrap_resamples is None:
        config = dataclasses.replace(config, bootstrap_resamples=RESAMPLES)
    trained = {name: _opened(name, path) for name, path in paths.items()}
    _check_recipes(trained, config)
    first = next(iter(trained.values()))
    train, test = measuring.open_labelled(command, config, first.recipe, say)
    config = evaluation.for_images(config, test)
    for name, path in paths.items():
        unseen.check_unseen(
            path,
            trained[name].recipe,
            config,
            test,
            measuring.cache_of(command.cache_dir, _run_of(path)),
            say,
        )
    for of in trained.values():
        evaluation.check_network(config, of.network, train)
    results: dict = {}
    for name, groups in _groups(trained, config.baselines):
        of = trained[name]
        results |= evaluation.evaluate(
            groups,
            train,
            test,
            config,
            image_size=of.image_size,
            resize_size=of.resize_size,
            say=say,
            store=measuring.store(
                command.cache_dir, _run_of(paths[name]), config, say
            ),
            done=done,
        )
    order = [*trained, *(name for name in results if name not in trained)]
    return {name: results[name] for name in order}


def named(command):
    """`{name: path}` of what is compared, by short names that differ.

    By whole paths where two folders have one name, or that of a baseline.

    Raises:
      ValueError: if a folder is given twice.
    """
    paths = [folders.expanded(path) for path in command.compare]
    whole = [str(path.resolve()) for path in paths]
    names = [path.resolve().name for path in paths]
    reserved = {*evaluation.BASELINES, SUPERVISED}
    taken = any(
        name in reserved or name.startswith(f"{_UNTRAINED} ") for name in names
    )
    if taken or len(set(names)) < len(names):
        names = whole
    found = dict(zip(names, paths, strict=True))
    if command.supervised:
        found[SUPERVISED] = folders.expanded(command.supervised)
        whole.append(str(found[SUPERVISED].resolve()))
    twice = [path for path in whole if whole.count(path) > 1]
    if twice:
        raise ValueError(
            "compare and supervised must name each folder once. Received: "
            f"{twice[0]}, {len(twice)} times. Leave one out."
        )
    return found


def check_there(path):
    """Refuses a path that is neither a run nor an export."""
    if folder.has_run(path):
        return
    try:
        saved_model.newest_version(path)
    except (ValueError, OSError) as error:
        raise FileNotFoundError(
            f"{path} holds neither a run (checkpoints/<step>/) nor a "
            "SavedModel (<version>/saved_model.pb). Give folders of runs or "
            "exports in compare and supervised."
        ) from error


def write(results, output):
    """Writes the figures as JSON, Markdown and CSV beside one another.

    Args:
      results: what `compare` returned.
      output: `pathlib.Path` of the JSON file.

    Returns:
      list of the paths written.
    """
    figures_file.write_json(output, results)
    texts = {
        ".md": evaluation.markdown(results) + "\n",
        ".csv": evaluation.csv_text(results),
    }
    for ending, text in texts.items():
        path = output.with_suffix(ending)
        with folders.writing(str(path), "Make room, or give another output."):
            files.write_text(path, text)
    return [output, *(output.with_suffix(ending) for ending in texts)]


def _opened(name, path):
    from tfclust.training import networks  # imports TensorFlow

    found = (
        networks.of_run(path)
        if folder.has_run(path)
        else networks.of_saved_model(path)
    )
    if name == SUPERVISED:
        method = found.recipe and found.recipe.run.method
        if method != _LEARNS_FROM_LABELS:
            raise ValueError(
                f"supervised must be a run of --method={_LEARNS_FROM_LABELS}, "
                "which alone learns from labels. Received: "
                f"supervised={path}, method={method or 'unknown'}. Give it in "
                "compare."
            )
    return found


def _check_recipes(trained, config):
    without = [name for name, of in trained.items() if of.recipe is None]
    if without and _UNTRAINED in config.baselines:
        raise ValueError(
            "the baseline untrained needs the recipe of each training. "
            f"Received: none in {', '.join(without)}. Give "
            "--baselines=pixels,colours."
        )


def _groups(trained, baselines):
    """(name, `{name: Network}` measured with that one's sizes) of each."""
    from tfclust.training import networks  # imports TensorFlow

    seen: set = set()
    for number, (name, of) in enumerate(trained.items()):
        wanted = baselines if not number else {_UNTRAINED} & set(baselines)
        group = networks.with_baselines(of, wanted)
        group = {name: group.pop("trained"), **group}
        untrained = group.get(_UNTRAINED)
        if untrained is not None:
            if untrained.digest in seen:
                del group[_UNTRAINED]
            elif seen:
                group[f"{_UNTRAINED} {name}"] = group.pop(_UNTRAINED)
            seen.add(untrained.digest)
        yield name, group


def _run_of(path):
    """The run's folder, which has a cache; empty for an export."""
    return path if folder.has_run(path) else ""
