"""Knobs that several methods share."""

import dataclasses

from tfclust.options import check, option

# Why no step is made of several smaller batches.
WHOLE_BATCH = (
    "codes or labels, batch norm and memories are those of a whole batch, so "
    "that summing gradients over parts of it would be another algorithm."
)
BATCH_NORM_GROUPS = ("global", "replica")
HEAD_STARTS = ("uniform", "normal")  # first weights, `heads.Classifier`'s start


@dataclasses.dataclass(frozen=True)
class MethodConfig:
    """Knobs of every method; a method's own config adds to them."""

    projection_width: int = option(
        128,
        "Width of projections; 0 takes the features as they are.",
        source="SwAV, A.1",
        lower=0,
    )
    hidden_width: int = option(
        2048,
        "Width of the projector's hidden layer; 0 for none.",
        source="SwAV, A.1",
        lower=0,
    )
    batch_norm: str = option(
        "global",
        "Rows that batch norm takes its statistics of under several replicas: "
        "the whole batch, or each replica's own, as runs do that leave it to "
        "each GPU.",
        choices=BATCH_NORM_GROUPS,
    )

    def __post_init__(self):
        check(self)


@dataclasses.dataclass(frozen=True)
class ClusteringConfig(MethodConfig):
    """Knobs of every method that has clusters."""

    num_clusters: tuple[int, ...] = option(
        (3000,),
        "Clusters, one value a head; about ten times the classes expected.",
        source="SwAV, A.1",
        lower=2,
    )

    def __post_init__(self):
        super().__post_init__()
        if not self.num_clusters:
            raise ValueError(
                "num_clusters needs one value a head. Received: none."
            )


@dataclasses.dataclass(frozen=True)
class BalanceConfig(ClusteringConfig):
    """Knobs of a label step."""

    label_tolerance: float = option(
        1e-4,
        "Change of an image's factor, on average, at which the passes of a "
        "label step end. The source's bound is the sum over images: 8e-8 "
        "each at ImageNet, 2e-7 at CIFAR.",
        lower=0.0,
    )
    label_iters: int = option(
        2000, "Passes of a label step and head at most.", lower=1
    )


def configured(config_class, config, knobs):
    """An instance of `config_class`, given as such or by its knobs."""
    if config is not None and knobs:
        raise TypeError(
            "give either config or knobs. Received: a config and "
            f"{', '.join(knobs)}."
        )
    if config is not None:
        return config
    known = {field.name for field in dataclasses.fields(config_class)}
    unknown = sorted(set(knobs) - known)
    if unknown:
        raise ValueError(
            f"unknown: {', '.join(unknown)}. {config_class.__name__} has "
            f"{', '.join(sorted(known))}."
        )
    if isinstance(knobs.get("num_clusters"), int):
        knobs["num_clusters"] = (knobs["num_clusters"],)
    return config_class(**knobs)
