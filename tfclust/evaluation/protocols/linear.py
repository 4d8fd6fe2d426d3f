"""The linear probe: how well one linear layer classifies frozen features.

There are two: `lbfgs`, for data sets that fit in memory (`probes/logistic.py`),
and `sgd`, with the papers' settings (`probes/sgd.py`, `probes/recipe.py`).
"""

import dataclasses

from tfclust.evaluation.intervals import of_shares
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
        **of_shares(figures, ("top1", "top5"), subject.test.num_images),
        **chance_of(subject.test.labels),
        "protocol": kind,
    }


def columns(figures):
    """The shares classified correctly; the best epoch's for comparison."""
    title = f"linear probe ({_TITLES[figures['protocol']]})"
    return columns_of(title, figures, short="linear")


def columns_of(title, figures, prefix="", short=""):
    """The `Column`s of a probe's shares in figures `<prefix><name>`."""

    def column(words, name, chance="chance", **others):
        return Column(
            f"{title}, {words} %", name, percent=True, chance=chance, **others
        )

    found = (
        column("top-1", f"{prefix}top1", short=short),
        column("top-5", f"{prefix}top5", "top5_chance", said=False),
        column(
            "top-1 of the best epoch by test images",
            f"{prefix}best_epoch_top1",
            said=False,
        ),
    )
    return tuple(of for of in found if of.figure in figures)


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
    found = {"top1": fitted.top1, "penalty": fitted.penalty}
    return found if fitted.top5 is None else {**found, "top5": fitted.top5}


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
