"""The linear probe: how well one linear layer classifies frozen features.

There are two: `lbfgs`, for data sets that fit in memory (`probes/logistic.py`),
and `sgd`, that of SwAV and DeepCluster-v2 (`probes/sgd.py`).
"""

import dataclasses

from tfclust.evaluation.protocols.record import Column, Protocol
from tfclust.evaluation.rows import largest_class_share
from tfclust.options import check, option

# From this size on `auto` means SGD: the features of all images and their
# copies would need many gigabytes.
LARGE_SET = 50_000
_TITLES = {"lbfgs": "L-BFGS", "sgd": "SGD"}


@dataclasses.dataclass(frozen=True)
class Config:
    """Knobs of the linear probe."""

    linear_protocol: str = option(
        "auto",
        "Logistic regression by L-BFGS on features of centre crops, or SwAV's "
        "SGD on random crops; auto uses lbfgs below 50,000 training images.",
        choices=("auto", "lbfgs", "sgd"),
    )
    linear_epochs: int = option(
        100,
        "Epochs of the SGD probe.",
        unit="epochs",
        source="SwAV, A.3",
        lower=1,
    )
    linear_rate: float = option(
        0.3,
        "Learning rate of the SGD probe, falling as a cosine to 0.",
        source="SwAV, eval_linear.py",
        lower=0.0,
    )
    linear_weight_decay: float = option(
        1e-6,
        "Weight decay of the SGD probe.",
        source="SwAV, eval_linear.py",
        lower=0.0,
    )
    linear_batch_size: int = option(
        256,
        "Batch size of the SGD probe.",
        source="SwAV, eval_linear.py",
        lower=1,
    )

    def __post_init__(self):
        check(self)


def run(subject, config):
    """Figures of a `Subject`."""
    kind = config.linear_protocol
    if kind == "auto":
        kind = "lbfgs" if subject.train.num_images < LARGE_SET else "sgd"
    probe = _by_regression if kind == "lbfgs" else _by_sgd
    chance = largest_class_share(subject.test.labels)
    return {**probe(subject, config), "chance": chance, "protocol": kind}


def columns(figures):
    """The share classified correctly."""
    title = f"linear probe ({_TITLES[figures['protocol']]}), top-1 %"
    return (
        Column(title, "top1", percent=True, short="linear", chance="chance"),
    )


PROTOCOL = Protocol(
    run, Config, learns=True, columns=columns, words="a linear probe"
)


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
    from tfclust.evaluation.probes.sgd import sgd_probe

    trained = sgd_probe(
        subject.backbone,
        subject.train,
        subject.test_features,
        subject.test.labels,
        image_size=subject.image_size,
        epochs=config.linear_epochs,
        learning_rate=config.linear_rate,
        weight_decay=config.linear_weight_decay,
        batch_size=config.linear_batch_size,
        seed=config.evaluation_seed,
    )
    return {
        "top1": trained.top1,
        "best_epoch_top1": trained.best_epoch_top1,
        "epochs": config.linear_epochs,
    }
