"""Knobs of SwAV."""

import dataclasses

from tfclust.engine.config import ClusteringConfig
from tfclust.options import option


@dataclasses.dataclass(frozen=True)
class SwAVConfig(ClusteringConfig):
    """Knobs of SwAV; defaults are the paper's for ImageNet at batch 4096."""

    temperature: float = option(
        0.1,
        "Softmax temperature of predictions.",
        source="SwAV, A.1",
        lower=1e-6,
    )
    epsilon: float = option(
        0.05,
        "Entropy weight of the codes, in units of cosine; smaller is harder.",
        source="SwAV, A.1",
        lower=1e-3,
    )
    sinkhorn_iters: int = option(
        3, "Sinkhorn iterations.", source="SwAV, A.1", lower=1
    )
    hard_codes: bool = option(
        False, "Round codes to one cluster an image.", source="SwAV, sec. 3"
    )
    freeze_steps: int = option(
        313,
        "Steps in which prototypes do not move; one epoch at batch 4096.",
        unit="steps",
        source="swav scripts",
        lower=0,
    )
    hidden_batch_norm: bool = option(
        True,
        "Batch norm behind the projector's hidden layer; the network of five "
        "times the width has none.",
        source="swav, src/resnet50.py",
    )
    queue_rows: int = option(
        0,
        "Projections of past batches that help to balance small batches; a "
        "multiple of the batch size, at most as many as images.",
        unit="rows",
        source="SwAV, sec. 4.1",
        lower=0,
    )
    queue_start_epoch: int = option(
        15,
        "First epoch (from 0) in which the queue is filled.",
        unit="epochs",
        source="swav scripts",
        lower=0,
    )
