"""Measures a run or an export with the protocols asked for.

Here are the choice of images, and the training's recipe as the default for what
the command leaves out; the protocols are in `evaluation`.
"""

from tfclust import data, evaluation, saved_model
from tfclust.runs import folder
from tfclust.runs.config import RunConfig
from tfclust.runtime import folders, quiet
from tfclust.training import few_labels, figures_file, unseen


def measure(command, config, say=None, done=None):
    """Measures what `command` names.

    Args:
      command: `tfclust.evaluate.EvaluateConfig`.
      config: `EvaluationConfig`.
      say: called with a line of text when a protocol is done, or None.
      done: as in `evaluation.evaluate`.

    Returns:
      What `evaluation.evaluate` returns, also written to the output file, if
      there is one.

    Raises:
      ValueError: if the run, the images and the protocols do not fit.
      FileNotFoundError: if the run or images are not there.
      OSError: if the disk of the images disappears.
    """
    _check_paths(command)
    quiet.import_tensorflow()
    from tfclust.training import networks  # imports TensorFlow

    if command.workdir:
        trained = networks.of_run(command.workdir)
    else:
        trained = networks.of_saved_model(command.saved_model)
    output = figures_file.path_of(command)
    # Refused before images are opened, which may take minutes.
    if "untrained" in config.baselines and trained.recipe is None:
        raise ValueError(
            "the baseline untrained needs the recipe of the training. "
            f"Received: saved_model={command.saved_model}, whose "
            f"{saved_model.CARD_FILE} has none. Give "
            "--baselines=pixels,colours."
        )
    train, test = open_labelled(command, config, trained.recipe, say)
    config = evaluation.for_images(config, test)
    unseen.check_unseen(
        command.workdir or command.saved_model,
        trained.recipe,
        config,
        test,
        cache_of(command.cache_dir, command.workdir),
        say,
    )
    with figures_file.so_far(output, say, done) as done:
        results = evaluation.evaluate(
            networks.with_baselines(trained, config.baselines),
            train,
            test,
            config,
            image_size=trained.image_size,
            resize_size=trained.resize_size,
            say=say,
            store=store(command.cache_dir, command.workdir, config, say),
            done=done,
        )
        if output is not None:
            figures_file.write_json(output, results)
    return results


def store(cache_dir, workdir, config, say):
    """Where features are kept: in cache_dir, or in the run; None for not.

    Args:
      cache_dir, workdir: as the user gave them, or empty.
      config: `EvaluationConfig`.
      say: as in `FeatureStore`.
    """
    parent = cache_of(cache_dir, workdir)
    limit = round(config.feature_cache_gb * 1e9)
    if not parent or not limit:
        return None
    features = folders.expanded(parent) / folder.FEATURES
    return evaluation.FeatureStore(features, limit, say)


def cache_of(cache_dir, workdir):
    """The folder of what need not be computed again, or "" for none.

    Args: as those of `store`.
    """
    if cache_dir or not workdir:
        return cache_dir
    return str(folders.expanded(workdir) / folder.CACHE)


def _check_paths(command):
    """Refuses missing paths before TensorFlow is imported."""
    if command.workdir:
        folder.check_trained(command.workdir)
    else:
        saved_model.newest_version(command.saved_model)
    for name in ("train_data", "test_data"):
        if getattr(command, name):
            data.check_uri(getattr(command, name), name)


def open_labelled(command, config, recipe, say=None):
    """The sources to learn from and to test on; None if not needed.

    Without images to test on, every fifth of those to learn from is held out;
    all of them are tested on where nothing is learnt and they have no labels.

    Args:
      command: `tfclust.evaluate.EvaluateConfig`.
      config: `EvaluationConfig`.
      recipe: the run's `Recipe` for what `command` leaves out, or None.
      say: called with a line of text if images are held out or have no
        labels, or None.
    """
    run = RunConfig() if recipe is None else recipe.run
    train_uri = command.train_data or run.data
    test_uri = command.test_data or run.eval_data
    learning = not config.protocols or evaluation.learning(config)
    if test_uri and not learning:
        train_uri = ""  # nothing is learnt from other images
    elif train_uri and train_uri == test_uri:
        raise evaluation.overlap_error("all", train_uri, test_uri)
    max_images = command.max_images
    if max_images is None and train_uri == run.data:
        max_images = run.max_images
    cache = cache_of(command.cache_dir or run.cache_dir, command.workdir)

    def opened(argument, uri, **knobs):
        if not uri:
            return None
        source = data.open_source(
            uri,
            cache_dir=cache or None,
            max_bad_share=run.max_bad_share,
            argument=argument,
            **knobs,
        )
        if source.is_stream:
            raise ValueError(
                "evaluation needs images that it can read again. Received: "
                f"{argument}={uri}. Write tfrecord: instead of "
                "tfrecord_stream:, or give other images by --train_data and "
                "--test_data."
            )
        if say is not None:
            source.when_failing(
                lambda name, why: say(f"Another image replaces {name}: {why}")
            )
        return source

    if test_uri:
        # The smaller source first: problems with it show soonest.
        given = "test_data" if command.test_data else "eval_data"
        test = opened(given, test_uri)
        config = _for_images(config, test, say)
        evaluation.check_source(config, "test_data", test)
        if not evaluation.learning(config):
            return None, test
    given = "train_data" if command.train_data else "data"
    knobs: dict = {"max_images": max_images}
    judged = evaluation.learning(config) and not evaluation.answering(config)
    if judged and train_uri == run.data:
        # What is judged is the training: the images that it saw.
        knobs |= {"class_shares": run.class_shares, "imbalance": run.imbalance}
    train = opened(given, train_uri, **knobs)
    if not test_uri:
        config = _for_images(config, train, say)
        train, test = _held_out(config, train, say)
    output = figures_file.path_of(command)
    train = few_labels.chosen(command, config, train, output, say)
    evaluation.check_sources(config, train, test)
    return train, test


def _for_images(config, source, say):
    """`evaluation.for_images`; says so where labels are missing."""
    found = evaluation.for_images(config, source)
    if found != config and source is not None and not source.is_labelled:
        why = "".join(f" ({notice})" for notice in source.notices)
        if say is not None:
            say(
                f"{source.uri} has no labels{why}: measures "
                f"{', '.join(found.protocols)}, which needs none. For kNN, a "
                "linear probe and clusters against labels, give images in "
                "class folders by --train_data and --test_data."
            )
    return found


def _held_out(config, source, say):
    """`source` split in two, to learn from and to test on; says so."""
    evaluation.check_source(config, "test_data", source)
    if source is not None and not source.is_labelled:
        return None, source
    train, test = data.held_out(source)
    left_out: list = []
    if evaluation.learning(config):
        test, left_out = evaluation.known_only(train, test)
    if say is not None:
        say(
            f"No test_data is given: every fifth image of {source.uri} is held "
            f"out to test on, {test.num_images} of {source.num_images}."
        )
        if left_out:
            say(
                "Not tested on, since all images of the class would be held "
                f"out: {', '.join(left_out)}."
            )
    return train, test
