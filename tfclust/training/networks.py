"""A run, an export and the baselines, as evaluation measures them."""

import functools
import hashlib
from typing import NamedTuple

from tfclust import evaluation, saved_model
from tfclust.engine.inference import Inference
from tfclust.evaluation import Network, PseudoLabels
from tfclust.runs import loading, recipes
from tfclust.runtime import devices

# Another number where a baseline gives other features: they are kept on disk.
_VERSION = 1
_BLOCK = 1 << 24  # bytes read at once


class Trained(NamedTuple):
    """A network with what is known about its training."""

    network: Network
    image_size: int
    resize_size: int | None
    recipe: recipes.Recipe | None  # None for a SavedModel without one


def of_run(workdir):
    """The `Trained` network of a run's newest checkpoint.

    Raises:
      FileNotFoundError: if there is none.
    """
    strategy = devices.over_gpus()
    run = loading.load_run(workdir, strategy)
    with strategy.scope():
        infer = Inference(run.method, run.method.backbone)
    network = evaluation.keras_network(
        run.method.backbone,
        head=infer.variables(),
        words=repr(run.recipe.method),
        strategy=strategy,
    )
    if run.final_labels is not None:
        network = network._replace(
            clusters=lambda images: infer(images)["cluster"],
            pseudo_labels=PseudoLabels(run.final_labels, run.data_digest),
        )
    run_config = run.recipe.run
    return Trained(
        network, run_config.image_size, run_config.resize_size, run.recipe
    )


def of_saved_model(path):
    """The `Trained` network of a SavedModel.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if it is damaged.
    """
    # On one device: loaded in a strategy's scope, its functions refuse to run.
    loaded = saved_model.load(path)
    words = loaded.card["recipe"]
    signature = getattr(loaded.model, "signatures", {}).get("images")
    clusters = None
    if signature is not None and "cluster" in signature.structured_outputs:

        def clusters(images):
            return signature(images=images)["cluster"]

    @functools.cache
    def graph():
        model = saved_model.load_graph(loaded.path).backbone
        evaluation.check_weights(model)
        return model

    network = Network(
        lambda images: loaded.model(images, training=False),
        digest=_of_files(loaded.path),
        keras_model=graph,
        clusters=clusters,
    )
    return Trained(
        network,
        loaded.image_size,
        loaded.resize_size,
        None if words is None else recipes.from_words(words),
    )


def with_baselines(trained, baselines):
    """`{name: Network}` of a trained network and what it is compared with.

    Args:
      trained: `Trained`.
      baselines: names; "untrained" needs the recipe.
    """
    networks = {"trained": trained.network}
    if "untrained" in baselines:
        networks["untrained"] = untrained(trained.recipe)
    for name in ("pixels", "colours"):
        if name in baselines:
            networks[name] = Network(
                getattr(evaluation, name),
                digest=f"{name} {_VERSION}",
                strategy=devices.over_gpus(),
            )
    return networks


def untrained(recipe):
    """The `Network` of a run at its start, with its seed's random weights."""
    strategy = devices.over_gpus()
    with strategy.scope():
        backbone = loading.untrained_backbone(recipe)
    return evaluation.keras_network(backbone, strategy=strategy)


def _of_files(version):
    """SHA-256 of what a SavedModel computes with; hex."""
    digest = hashlib.sha256()
    found = [version / "saved_model.pb", *version.glob("variables/*")]
    for path in sorted(found):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()
