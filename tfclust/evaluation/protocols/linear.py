"""The linear probe: how well one linear layer classifies frozen features.

There are two: `lbfgs`, for data sets that fit in memory (`probes/logistic.py`),
and `sgd`, with the papers' settings (`probes/sgd.py`, `probes/recipe.py`).
"""

import dataclasses

from tfclust.evaluation.intervals import of_share
from tfclust.evaluation.probes.recipe import ProbeConfig
from tfclust.evaluation.protocols.record import Column, Protocol
from tfclust.evaluation.rows import chance_of
from tfclust.options import check, option

# From this size on `auto` means SGD: 2,048 features of each image and their
# four copies would need 4 GB. The small sets of the papers, CIFAR's 50,000 and
# MNIST's 60,000, are below: SGD's 100 epochs pass the network 100 times.
LARGE_SET = 100_000
_TITLES = {"lbfgs": "L-BFGS", "sgd": "SGD"}


@dataclasses.dataclass(frozen=True)
class _Kind:
    linear_protocol: str = option(
        "auto",
        "Logistic regression by L-BFGS on features of centre crops, or SGD on "
        "crops with the knobs below; auto uses lbfgs below 100,000 training "
        "images.",
        choices=("auto", "lbfgs", "sgd"),
    )


# A dataclass takes the fields of its last base first.
@dataclasses.dataclass(frozen=True)
class Config(ProbeConfig, _Kind):
    """Knobs of the linear probe; those of SGD hold for `layers` too."""

    def __post_init__(self):
        check(self)
        ProbeConfig.__post_init__(self)


def run(subject, config):
    """Figures of a `Subject`."""
    kind = config.linear_protocol
    if kind == "auto":
        kind = "lbfgs" if subject.train.num_images < LARGE_SET else "sgd"
    probe = _by_regression if kind == "lbfgs" else _by_sgd
    figures = probe(subject, config)
    return {
        **figures,
        "top1_interval": of_share(figures["top1"], subject.test.num_images),
        **chance_of(subject.test.labels),
        "protocol": kind,
    }


def columns(figures):
    """The share classified correctly."""
    title = f"linear probe ({_TITLES[figures['protocol']]})"
    found = [
        Column(
            f"{title}, top-1 %",
            "top1",
            percent=True,
            short="linear",
            chance="chance",
        )
    ]
    if figures.get("top5") is not None:
        found.append(
            Column(
                f"{title}, top-5 %",
                "top5",
                percent=True,
                said=False,
                chance="top5_chance",
            )
        )
    return tuple(found)


PROTOCOL = Protocol(
    run, Config, learns=True, columns=columns, words="a linear probe"
)


def figures_of(result, config):
    """The figures of an `SGDResult`, without those that are not known."""
    found = {
        "top1": result.top1,
        "top5": result.top5,
        "best_epoch_top1": result.best_epoch_top1,
        "best_epoch": result.best_epoch,
        "epochs": config.linear_epochs,
    }
    return {name: of for name, of in found.items() if of is not None}


def _by_regression(subject, config):
    from tfclust.evaluation.probes.logistic import logistic_regression

    fitted = logistic_regression(
        subject.train_features,
        subject.train.labels,
        subject.test_features,
        subject.test.labels,
        seed=config.evaluation_seed,
    )
    return {"top1": fitted.top1, "penalty": fitted.penalty}


def _by_sgd(subject, config):
    from tfclust.evaluation.probes.sgd import probe_subject
    from tfclust.evaluation.probes.testing import FeatureTest

    def layers(images):
        return {"features": subject.backbone(images)}

    test = None
    if config.linear_test_crops == 1:
        test = FeatureTest(
            "features", subject.test_features, subject.test.labels
        )
    found = probe_subject(subject, layers, config, test)
    return figures_of(found["features"], config)
