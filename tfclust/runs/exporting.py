"""A run's model as a SavedModel, with a card that describes the run."""

import json
import sys

from tfclust import saved_model
from tfclust.backbones.settings import HUB, IMAGENET
from tfclust.runs import clusters_file, folder, recipes
from tfclust.runtime import folders, quiet, terminal


def export(config, backbone_config=None):
    """Writes a run's model, or given weights, as an export's next version.

    Args:
      config: `tfclust.export.ExportConfig`.
      backbone_config: `BackboneConfig` that fits `init_from`'s weights; None
        for a run.

    Returns:
      `pathlib.Path` of the version.

    Raises:
      FileNotFoundError: if `workdir` holds no run, or `init_from` is not there.
      ValueError: if `output` cannot be written, or the weights do not fit.
    """
    _check_extras(config)
    if config.init_from:
        return _export_weights(config, backbone_config)
    folder.check_trained(config.workdir)
    quiet.import_tensorflow()
    from tfclust.runs import loading

    run = loading.load_run(config.workdir)
    output = config.output or run.workdir / folder.SAVED_MODELS
    output = folders.writable("output", output)  # before a minute of tracing
    clusters = _clusters(run)
    extras = extras_of(config)
    version = saved_model.save(
        run.method,
        output,
        card=model_card(run),
        image_size=run.recipe.run.image_size,
        resize_size=run.recipe.run.resize_size,
        max_pixels=config.max_pixels,
        cluster_names=clusters and clusters.model_names,
        write_more=clusters
        and (lambda version: clusters_file.write(_place(version), clusters)),
        extras=extras,
    )
    prune(config, output)
    return version


def extras_of(config):
    """The `saved_model.Extras` that an `ExportConfig` asks for.

    Raises:
      ValueError: if the images to warm up with cannot be read.
    """
    from tfclust import data
    from tfclust.saved_model import warm_up

    images = []
    if config.warmup_images:
        source = data.open_source(
            config.warmup_images, argument="warmup_images"
        )
        images = warm_up.encoded_images(source)
    return saved_model.Extras(tuple(images), config.formats, config.frozen)


def prune(config, output):
    """Removes older versions, if the `ExportConfig` says so."""
    if config.keep_versions is None:
        return
    from tfclust.saved_model import pruning

    gone = pruning.prune(folders.expanded(output), config.keep_versions)
    if gone:
        numbers = ", ".join(map(str, gone))
        terminal.say(f"Removed: version {numbers} of {output}.")


def _check_extras(config):
    """Refuses what is missing before TensorFlow is imported."""
    from tfclust.saved_model import formats, warm_up

    formats.check_installed(config.formats)
    if config.warmup_images:
        from tfclust.data import check_uri

        check_uri(config.warmup_images, "warmup_images")
        quiet.import_tensorflow()
        warm_up.check_installed()


def _place(version):
    return version / saved_model.CLUSTERS_FILE


def _clusters(run):
    """The run's `ClustersFile`, if it tells of its state; None otherwise."""
    path = run.workdir / folder.CLUSTERS_FILE
    found = clusters_file.read(path)
    if found is None or found.about.get("step") == run.step:
        return found
    if found.names:
        terminal.say(
            f"The names in {path} are left out: they belong to step "
            f"{found.about.get('step')}, and the run is at step {run.step}. "
            f"First: python -m tfclust.cluster --workdir={run.workdir} "
            f"--keep_ids={run.workdir}",
            sys.stderr,
        )
    return None


def _export_weights(config, backbone_config):
    """Refuses what is not there before TensorFlow is imported."""
    path = folders.expanded(config.init_from)
    if config.init_from not in (HUB, IMAGENET) and not path.exists():
        raise FileNotFoundError(f"init_from={path} does not exist.")
    if path.is_dir():
        raise ValueError(
            "init_from must be a file of weights: a run is exported with "
            "--workdir, and a SavedModel is an export already. Received: "
            f"init_from={path}, a folder."
        )
    folders.writable("output", config.output)
    quiet.import_tensorflow()
    from tfclust.runs import exporting_weights

    return exporting_weights.export_weights(config, backbone_config)


def model_card(run):
    """What the model card says about a run."""
    from tfclust.runs import metrics  # imports TensorFlow

    history = metrics.read_metrics(run.workdir, run.step)
    return {
        "method": run.recipe.run.method,
        "data": run.recipe.run.data,
        "num_images": run.num_images,
        "step": run.step,
        "recipe": recipes.to_words(run.recipe),
        "metrics": {
            "last_epoch": history[-1] if history else None,
            "evaluation": _figures(run.workdir / folder.EVALUATION),
        },
    }


def _figures(path):
    """What was measured of a run; None if that is missing or damaged."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        terminal.say(f"Left out of the card: {path}: {error}", sys.stderr)
        return None
