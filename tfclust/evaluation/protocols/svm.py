"""Linear SVMs on frozen features, one a class, as for VOC07.

Classification of VOC07 with all images, and low-shot with a few of each class,
as Goyal et al. 2019 (arXiv:1905.01235) have them. Features are those of centre
crops. The cost of each class is chosen by cross-validation on training images,
in the low-shot case it is `svm_low_shot_cost`: the published best cost by test
images would be a selection on the test set.
"""

import dataclasses

import numpy as np

from tfclust.evaluation.protocols.record import Column, Protocol
from tfclust.evaluation.targets import chance, of_sources
from tfclust.options import check, option


@dataclasses.dataclass(frozen=True)
class Config:
    """Knobs of the SVMs."""

    svm_costs: tuple[float, ...] = option(
        (0.01, 0.1, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 50.0, 100.0, 1000.0),
        "Costs C of the SVMs, from which each class chooses by "
        "cross-validation on its training images.",
        source="VISSL, VOC07",
        lower=1e-9,
    )
    svm_folds: int = option(
        3,
        "Folds of the SVMs' cross-validation.",
        source="Goyal et al. 2019",
        lower=2,
    )
    svm_shots: tuple[int, ...] = option(
        (),
        "Training images of each class for low-shot SVMs, such as "
        "1,2,4,8,16,32,64,96; empty for SVMs on all images.",
        source="Goyal et al. 2019",
        lower=1,
    )
    svm_samplings: int = option(
        5,
        "Independent draws of the low-shot images; figures are their means.",
        source="Goyal et al. 2019",
        lower=1,
    )
    svm_low_shot_cost: float = option(
        1.0,
        "Cost C of low-shot SVMs: a few images are too few to choose by.",
        lower=1e-9,
    )

    def __post_init__(self):
        check(self)
        for name in ("svm_costs", "svm_shots"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(
                    f"{name} must name each value once. Received: {values}."
                )
        if not self.svm_costs:
            raise ValueError(
                "svm_costs must hold at least one cost. Received: none. Give "
                "--svm_costs=1."
            )


def run(subject, config):
    """Figures of a `Subject`."""
    from tfclust.evaluation import scores
    from tfclust.evaluation.probes import svm

    targets = of_sources(subject.train, subject.test)
    sets = _sets(targets)
    rows, queries = subject.train_features, subject.test_features
    found = chance(targets)
    if not config.svm_shots:
        fitted = svm.fit(rows, sets, queries, _settings(config))
        return {
            **scores.figures(fitted.scores, targets, **config.intervals),
            **found,
            "costs": list(fitted.costs),
            "num_not_converged": fitted.num_not_converged,
        }
    settings = svm.Settings((config.svm_low_shot_cost,), seed=0)
    for shots in config.svm_shots:
        draws = [
            scores.figures(
                svm.fit(
                    rows,
                    svm.low_shot(sets, shots, config.evaluation_seed + draw),
                    queries,
                    settings,
                ).scores,
                targets,
            )
            for draw in range(config.svm_samplings)
        ]
        name = "map_area" if targets.are_sets else "top1"
        values = [draw[name] for draw in draws]
        found[f"{name}_{shots}_shots"] = float(np.mean(values))
        found[f"{name}_{shots}_shots_std"] = float(np.std(values))
    return {**found, "samplings": config.svm_samplings}


def columns(figures):
    """Accuracy or mean average precision; a column each number of shots."""
    shots = [
        name
        for name in figures
        if name.endswith("_shots") and not name.startswith("num")
    ]
    if shots:
        return tuple(
            _column(name, f", {name.split('_')[-2]} images a class", i == 0)
            for i, name in enumerate(shots)
        )
    names = [
        name
        for name in ("map_area", "map_11", "top1", "top5")
        if name in figures
    ]
    return tuple(_column(name, "", i == 0) for i, name in enumerate(names))


_TITLES = {
    "map_area": "mAP (area) %",
    "map_11": "mAP (11 points) %",
    "top1": "top-1 %",
    "top5": "top-5 %",
}


def _column(name, more, first):
    kind = next(k for k in _TITLES if name.startswith(k))
    return Column(
        f"linear SVMs{more}, {_TITLES[kind]}",
        name,
        percent=True,
        short="svm" if first else "",
        said=first,
        chance="top5_chance" if kind == "top5" else "chance",
    )


def check_images(config, train, test):
    """Refuses classes that test images alone have, or that are too small."""
    targets = of_sources(train, test)
    settings = _settings(config)
    if config.svm_shots:
        settings = settings._replace(costs=(config.svm_low_shot_cost,))
    from tfclust.evaluation.probes import svm

    svm.check_sizes(_sets(targets), settings, targets.classes)


def _settings(config):
    from tfclust.evaluation.probes import svm

    return svm.Settings(config.svm_costs, config.svm_folds)


def _sets(targets):
    from tfclust.evaluation.probes import svm

    if targets.are_sets:
        return targets.train
    return svm.one_hot(targets.train, len(targets.classes))


PROTOCOL = Protocol(
    run,
    Config,
    learns=True,
    columns=columns,
    words="linear SVMs, for one label an image or several",
    check=check_images,
    label_sets=True,
    default_for=("label sets",),
)
