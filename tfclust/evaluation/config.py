"""Knobs of evaluation."""

import dataclasses

from tfclust.options import check, option

PROTOCOLS = ("knn", "linear", "clusters")
BASELINES = ("untrained", "pixels")


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """Protocols and their settings."""

    protocols: tuple[str, ...] = option(
        PROTOCOLS,
        "What to measure: weighted k nearest neighbours, a linear probe, "
        "agreement of k-means clusters with labels.",
        choices=PROTOCOLS,
    )
    baselines: tuple[str, ...] = option(
        BASELINES,
        "What to measure beside: the same network with fresh weights, and the "
        "images' own pixels; empty for none.",
        choices=BASELINES,
    )
    num_neighbors: int = option(
        20, "Neighbours that vote.", source="SwAV's published kNN", lower=1
    )
    knn_temperature: float = option(
        0.07,
        "A neighbour's vote is exp(cosine / temperature).",
        source="Wu et al. 2018, 3.4; 0.1 in SeLa and VISSL",
        lower=1e-6,
    )
    linear_protocol: str = option(
        "auto",
        "Logistic regression by L-BFGS on features of centre crops, or SwAV's "
        "SGD on random crops; auto: lbfgs below 50,000 training images.",
        choices=("auto", "lbfgs", "sgd"),
    )
    linear_epochs: int = option(
        100, "Of the SGD probe.", unit="epochs", source="SwAV, A.3", lower=1
    )
    linear_rate: float = option(
        0.3,
        "Learning rate of the SGD probe, falling as a cosine to 0.",
        source="SwAV, eval_linear.py",
        lower=0.0,
    )
    linear_weight_decay: float = option(
        1e-6, "Of the SGD probe.", source="SwAV, eval_linear.py", lower=0.0
    )
    linear_batch_size: int = option(
        256, "Of the SGD probe.", source="SwAV, eval_linear.py", lower=1
    )
    evaluation_clusters: int | None = option(
        None, "Clusters of k-means; empty for the number of classes.", lower=2
    )
    cluster_restarts: int = option(
        10,
        "Starts of k-means, of which the one with the least inertia counts.",
        lower=1,
    )
    evaluation_batch_size: int = option(
        256, "Images in a forward pass.", unit="images", lower=1
    )
    evaluation_seed: int = option(
        0,
        "Of k-means' starts, held-out images and probes.",
        lower=0,
        upper=2**32 - 1,
    )

    def __post_init__(self):
        check(self)
        if not self.protocols:
            raise ValueError(
                "protocols needs at least one of "
                f"{', '.join(PROTOCOLS)}. Received: none."
            )
        for name in ("protocols", "baselines"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(
                    f"{name} names each once. Received: {','.join(values)}."
                )
