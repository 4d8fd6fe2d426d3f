"""Knobs of CoKe."""

import dataclasses

from tfclust.engine.config import ClusteringConfig
from tfclust.engine.planning import Setting, one_size, rates
from tfclust.engine.remedies import Remedy, rounded, with_remedies
from tfclust.options import SHAPES, option, text

_IDLE_SHARE = 0.05  # of a planned run, at most an epoch
# The rate's rise draws images into few clusters, and duals take so long to even
# them out: 500 to 900 steps on CIFAR-10, Fashion-MNIST and blood cells.
_EVENING_STEPS = 1000


@dataclasses.dataclass(frozen=True)
class CoKeConfig(ClusteringConfig):
    """Knobs of CoKe; defaults are the source's for two views."""

    num_clusters: tuple[int, ...] = option(
        (3000, 4000, 5000),
        "Clusters, one value per head.",
        source="CoKe, table 4",
        lower=2,
        resume="never",
        why_never=SHAPES,
    )
    projection_width: int = option(
        128,
        "Width of projections.",
        source="CoKe",
        lower=1,
        resume="never",
        why_never=SHAPES,
    )
    hidden_width: int = option(
        2048,
        "Width of the hidden layers of projector and prediction head.",
        source="CoKe",
        lower=1,
        resume="never",
        why_never=SHAPES,
    )
    temperature: float = option(
        0.05,
        "Softmax temperature; 0.1 with a single view.",
        source="CoKe",
        lower=1e-6,
    )
    min_share: float = option(
        0.4,
        "Minimum size of a cluster in units of N / K: 1 makes all equal, 0 is "
        "plain k-means.",
        source="CoKe, table 1",
        lower=0.0,
        upper=1.0,
    )
    dual_step: float = option(
        0.02,
        "Change of a cluster's dual per image; eta 20 at batch 1024.",
        source="CoKe",
        lower=0.0,
    )
    label_weight: float = option(
        0.2,
        "Weight of the label relative to the other large views' predictions.",
        source="CoKe, two views",
        lower=0.0,
        upper=1.0,
    )
    prediction_head: bool = option(
        True,
        "Whether two more layers after the projector predict too.",
        resume="never",
        why_never=SHAPES,
    )
    prediction_weight: float = option(
        0.5,
        "Weight of the prediction head relative to the projector; 1 in the "
        "source's script for a single view.",
        source="CoKe",
        lower=0.0,
        upper=1.0,
    )
    local_weight: float = option(
        0.5,
        "Weight of small crops relative to large ones, if there are any.",
        source="CoKe, multi-crop",
        lower=0.0,
        upper=1.0,
    )
    second_stage_epoch: int | None = option(
        None,
        "Epoch (from 0) from which centroids and labels are means over "
        "epochs; 801 of 1001 with a single view, empty for never.",
        unit="epochs",
        source="CoKe, single view",
        lower=1,
        resume="never",
        why_never=SHAPES,
    )
    loss_labels: str = option(
        "last",
        "Labels in the loss: the last epoch's, or this step's.",
        source="CoKe, table 2",
        choices=("last", "current"),
    )
    loss_centroids: str = option(
        "last",
        "Centroids in the loss: the last epoch's, or this step's.",
        source="CoKe, table 2",
        choices=("last", "current"),
    )

    def __post_init__(self):
        super().__post_init__()
        of_loss = (self.loss_labels, self.loss_centroids)
        if self.second_stage_epoch is not None and "current" in of_loss:
            raise ValueError(
                "the second stage averages past epochs: loss_labels and "
                "loss_centroids must be last. Received: loss_labels="
                f"{of_loss[0]}, loss_centroids={of_loss[1]}. Leave "
                "second_stage_epoch out."
            )

    def remedies(self, facts, figures):
        half = text(rounded(self.dual_step / 2))
        slower = Remedy("even sizes out more slowly", "dual_step", half)
        return with_remedies(
            super().remedies(facts, figures),
            first=True,
            restless=(slower,) if self.dual_step else (),
        )

    def settling_steps(self, facts):
        return super().settling_steps(facts) + _EVENING_STEPS

    @classmethod
    def plan(cls, facts):
        few = facts.clusters(images_a_cluster=20)
        epochs = facts.total_steps / facts.steps_per_epoch
        counts = (few, few * 4 // 3, few * 5 // 3)
        return {
            **super().plan(facts),
            "num_clusters": Setting(counts, "3:4:5 as in CoKe, table 4"),
            "temperature": Setting(0.1, "as in CIFAR's recipe"),
            "label_weight": Setting(0.5, "as in CIFAR's recipe"),
            **one_size(facts, 2),
            **rates(facts, 0.3, weight_decay=1e-4),
            "idle_epochs": Setting(
                min(1.0, round(_IDLE_SHARE * epochs, 3)),
                "clusters form first (CoKe), for a twentieth of a short run",
            ),
        }
