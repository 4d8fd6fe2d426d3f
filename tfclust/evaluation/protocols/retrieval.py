"""Retrieval: does an image find those of its class, or of the same object?

The rules are those of `export.retrieval.evaluate` (`tfclust.retrieval`): by
class, each test image looks for the others of its class; with ground truth,
parts of photos look for photos, as on Oxford5k and Paris6k. Descriptors are the
features, or regions of a layer's map of the whole photo, summed.
"""

import dataclasses
import functools

import numpy as np

from tfclust.evaluation import intervals
from tfclust.evaluation.protocols.record import Column, Protocol
from tfclust.options import check, option

_DRAWS = 3  # of random descriptors, for the chance level with ground truth


@dataclasses.dataclass(frozen=True)
class Config:
    """Knobs of retrieval."""

    retrieval_ground_truth: str = option(
        "",
        "Instances instead of classes: the folder of *_query.txt, _good.txt, "
        "_ok.txt and _junk.txt files of Oxford5k or Paris6k, or gnd_<set>.pkl "
        "or .json of the revisited sets. test_data has the photos.",
    )
    retrieval_pooling: str = option(
        "",
        "Descriptor: features of the centre crop, or rmac, gem or spoc of a "
        "layer's map of the whole photo; empty for features, and for rmac "
        "with ground truth.",
        choices=("", "features", "rmac", "gem", "spoc"),
    )
    retrieval_layer: str = option(
        "",
        "Keras layer whose map is pooled, such as stage4_pool of vgg16; empty "
        "for the last map.",
    )
    retrieval_longer_side: int = option(
        1024,
        "Longer side to which photos are resized for the map.",
        unit="pixels",
        source="DeepCluster's evaluation",
        lower=16,
        upper=4096,
    )
    retrieval_whiten_images: str = option(
        "",
        "Images from which PCA whitening of region vectors is learnt; by the "
        "papers' rule those of the other set. Empty for none.",
    )
    retrieval_whiten_width: int = option(
        512,
        "Directions that whitening keeps.",
        source="DeepCluster's evaluation",
        lower=1,
    )

    def __post_init__(self):
        check(self)
        pooling = pooling_of(self)
        if pooling == "features" and self.retrieval_ground_truth:
            raise ValueError(
                "retrieval_pooling must be rmac, gem or spoc with "
                "retrieval_ground_truth, whose queries are parts of photos. "
                "Received: retrieval_pooling=features."
            )
        for name in ("retrieval_layer", "retrieval_whiten_images"):
            if pooling == "features" and getattr(self, name):
                raise ValueError(
                    f"{name} is for rmac, gem and spoc. Received: {name}="
                    f"{getattr(self, name)} with features. Add "
                    "--retrieval_pooling=rmac."
                )


def pooling_of(config):
    """`retrieval_pooling`, or what its empty value stands for."""
    if config.retrieval_pooling:
        return config.retrieval_pooling
    return "rmac" if config.retrieval_ground_truth else "features"


def run(subject, config):
    """Figures of a `Subject`; none of pixels where maps are pooled."""
    from tfclust.retrieval import landmarks, ranking, tasks

    truth = config.retrieval_ground_truth
    task = tasks.task(subject.test, None, truth and landmarks.read(truth))
    describe = _by_features(subject)
    if pooling_of(config) != "features":
        if subject.network.keras_model is None:
            return {}
        describe = _by_regions(subject.network.keras_model(), config)
    judged = task.judged(describe)
    found = judged.figures()
    if truth:
        chance = _random_figures(task, config.evaluation_seed)
    else:
        chance = ranking.chance_figures(subject.test.labels)
    figures: dict = {"figures": [name for name in found if name in chance]}
    if task.notices:
        figures["notices"] = list(task.notices)
    for name, value in found.items():
        figures[name] = value / 100 if name in chance else value
    for name, value in chance.items():
        figures[f"{name}_chance"] = value / 100
    # The images that are searched stay the same: other queries are drawn.
    shares = {name: judged.values[name] / 100 for name in figures["figures"]}
    return figures | intervals.of_means(shares, **config.intervals)


def _by_features(subject):
    """A function of a source and boxes to unit rows of centre crops."""
    from tfclust.ops.units import unit_rows

    def describe(source, boxes):
        del source, boxes  # of the test images, all of them
        return unit_rows(subject.test_features)

    return describe


def _by_regions(backbone, config):
    """The same, of regions of a layer's map."""
    from tfclust.retrieval import describing, maps, pooling

    to_map, _ = maps.map_function(backbone, config.retrieval_layer)
    pool = pooling.POOLINGS[pooling_of(config)]
    return describing.by_regions(
        lambda image: pool(to_map(image)),
        longer_side=config.retrieval_longer_side,
        whiten_source=_whiten_source(config),
        whiten_width=config.retrieval_whiten_width,
    )


def _whiten_source(config):
    uri = config.retrieval_whiten_images
    return _opened(uri) if uri else None


@functools.lru_cache(maxsize=1)  # the checks and each network ask for it
def _opened(uri):
    from tfclust import data

    return data.open_source(uri, argument="retrieval_whiten_images")


def _random_figures(task, seed):
    """Mean figures of random descriptors, in percent."""
    random = np.random.default_rng(seed)

    def describe(source, boxes):
        count = source.num_images if boxes is None else len(boxes)
        return random.normal(size=[count, 64]).astype(np.float32)

    draws = [task.figures(describe) for _ in range(_DRAWS)]
    return {
        name: float(np.mean([of[name] for of in draws])) for name in draws[0]
    }


def check_network(config, network, train):
    """Refuses a function of images where maps are pooled."""
    del train  # nothing is learnt
    if pooling_of(config) == "features":
        return
    if network.keras_model is None:
        raise ValueError(
            f"retrieval_pooling={pooling_of(config)} pools a network's map. "
            "Received: a function of images. Give "
            "evaluation.keras_network(model), or features."
        )
    from tfclust.retrieval import maps

    maps.map_function(network.keras_model(), config.retrieval_layer)  # raises


def check_source(config, test):
    """Refuses test images without truth, or that whitening would learn."""
    from tfclust.runtime import folders

    if config.retrieval_ground_truth:
        truth = folders.expanded(config.retrieval_ground_truth)
        if not truth.exists():
            raise FileNotFoundError(
                "retrieval_ground_truth must be a folder of *_query.txt files, "
                f"or gnd_<set>.pkl or .json. Found nothing at {truth}."
            )
    elif test.labels is None:
        raise ValueError(
            "the protocol retrieval compares with labels, and test_data has "
            f"none. Received: test_data={test.uri}. Give images in class "
            "folders, or --retrieval_ground_truth, or leave retrieval out of "
            "protocols."
        )
    learnt_from = _whiten_source(config)
    if learnt_from is not None:
        from tfclust.retrieval import whitening

        whitening.check_others("retrieval_whiten_images", learnt_from, test)


def columns(figures):
    """Each figure in its order; mean average precision first."""
    return tuple(
        Column(
            f"retrieval, {name} %",
            name,
            percent=True,
            short=name if not place else "",
            said=not place,
            chance=f"{name}_chance",
        )
        for place, name in enumerate(figures.get("figures", ()))
    )


PROTOCOL = Protocol(
    run,
    Config,
    learns=False,
    columns=columns,
    words="retrieval of images by class or by instance",
    labels=False,
    default_for=(),
    check_network=check_network,
    check_test=check_source,
)
