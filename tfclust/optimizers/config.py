"""The knobs of an optimizer and its learning rate."""

import dataclasses

from tfclust import options
from tfclust.options import SHAPES, option


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Which optimizer, and how fast it learns at each step."""

    optimizer: str = option(
        "lars",
        "lars scales each tensor's step by its weights' norm; "
        "lars_vectors_plain leaves biases and batch norm plain, as CoKe does; "
        "sgd has L2 inside the momentum; adamw and lamb are Keras's.",
        source="SwAV",
        choices=("lars", "lars_vectors_plain", "sgd", "adamw", "lamb"),
        resume="never",
        why_never=SHAPES,
    )
    learning_rate: float = option(
        0.6,
        "Largest learning rate; used as given, whatever the batch size.",
        source="SwAV, batch 256",
        lower=0.0,
    )
    schedule: str = option(
        "cosine",
        "After the warm-up the rate falls on half a cosine, or stays constant "
        "except for rate_drops.",
        source="SwAV",
        choices=("cosine", "constant"),
    )
    rate_drops: tuple[tuple[float, float], ...] = option(
        (),
        "Pairs epoch:factor; from that epoch on (from 0) the constant rate is "
        "also multiplied by that factor. 150:0.1,300:0.1 in SeLa.",
        source="SeLa, ODC",
        lower=0.0,
    )
    idle_epochs: float = option(
        0.0,
        "First epochs, with rate 0, in which only clusters form; 1 in CoKe.",
        unit="epochs",
        source="CoKe",
        lower=0.0,
    )
    final_learning_rate: float | None = option(
        None,
        "Final rate of the cosine; empty for a thousandth of learning_rate.",
        source="SwAV",
        lower=0.0,
    )
    warmup_epochs: float = option(
        0.0,
        "Length of the linear warm-up; 10 in SwAV at batch 4096.",
        unit="epochs",
        source="SwAV, batch 256",
        lower=0.0,
    )
    start_learning_rate: float = option(
        0.0,
        "Rate of the first step of the warm-up; 0.3 in SwAV at batch 4096.",
        source="SwAV",
        lower=0.0,
    )
    weight_decay: float = option(
        1e-6,
        "L2 inside the momentum (lars, sgd), decoupled (adamw, lamb).",
        source="SwAV",
        lower=0.0,
    )
    final_weight_decay: float | None = option(
        None,
        "Final weight decay of a cosine over the run; empty for constant "
        "weight decay. 0.4 in DINO, from 0.04.",
        source="DINO",
        lower=0.0,
    )
    clip_norm: float | None = option(
        None,
        "Largest norm of a gradient, for each tensor by itself; empty for no "
        "limit. 3.0 in DINO.",
        source="DINO",
        lower=1e-12,
    )
    momentum: float = option(
        0.9,
        "Momentum (lars, sgd); decay of the first moment (adamw, lamb).",
        source="SwAV",
        lower=0.0,
        upper=0.999999,
    )

    def __post_init__(self):
        options.check(self)
        for name in ("final_learning_rate", "start_learning_rate"):
            rate = getattr(self, name)
            if rate is not None and rate > self.learning_rate:
                raise ValueError(
                    f"{name} must be at most learning_rate. Received: "
                    f"{name}={rate}, learning_rate={self.learning_rate}."
                )
        if self.schedule == "constant" and self.final_learning_rate is not None:
            raise ValueError(
                "final_learning_rate is read only by the cosine schedule. "
                f"Received: final_learning_rate={self.final_learning_rate} "
                "with schedule=constant. Leave one of them out."
            )
        if self.schedule != "constant" and self.rate_drops:
            raise ValueError(
                "rate_drops are read only by the constant schedule. Received: "
                f"rate_drops={options.text(self.rate_drops)} with "
                f"schedule={self.schedule}. Add schedule=constant."
            )
