"""Knobs of SwAV."""

import dataclasses
import math

from tfclust.engine.config import ClusteringConfig, with_remedies
from tfclust.engine.planning import Setting, multi_crop, rates
from tfclust.options import option

LARGEST_EPSILON = 0.05  # of a fitted one: SwAV's own
SHARE_OF_SPREAD = 0.2  # fitted epsilon in standard deviations of the scores
_FREEZE_SHARE, _FREEZE_STEPS = 0.08, 313
_STALLED_EPOCHS = 3  # after the prototypes' release


@dataclasses.dataclass(frozen=True)
class SwAVConfig(ClusteringConfig):
    """Knobs of SwAV; defaults are the paper's for ImageNet at batch 4096."""

    temperature: float = option(
        0.1,
        "Softmax temperature of predictions.",
        source="SwAV, A.1",
        lower=1e-6,
    )
    epsilon: float | None = option(
        LARGEST_EPSILON,
        "Entropy weight of the codes, in units of cosine; smaller gives harder "
        "codes. Empty fits it to the spread of the scores, for images that are "
        "alike.",
        source="SwAV, A.1",
        lower=1e-3,
    )
    sinkhorn_iters: int = option(
        3, "Sinkhorn iterations.", source="SwAV, A.1", lower=1
    )
    hard_codes: bool = option(
        False,
        "Whether to round codes to one cluster per image.",
        source="SwAV, sec. 3",
    )
    freeze_steps: int = option(
        313,
        "First steps in which prototypes are fixed; one epoch at batch 4096.",
        unit="steps",
        source="swav scripts",
        lower=0,
    )
    hidden_batch_norm: bool = option(
        True,
        "Whether batch norm follows the projector's hidden layer; the network "
        "of five times the width has none.",
        source="swav, src/resnet50.py",
    )
    queue_rows: int = option(
        0,
        "Projections of past batches that help to balance small batches; a "
        "multiple of the batch size, and at most the number of images.",
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

    def check_images(self, num_images, batch_size):
        super().check_images(num_images, batch_size)
        if self.queue_rows > num_images:
            whole = num_images // batch_size * batch_size
            raise ValueError(
                "queue_rows must be at most the number of images, or the queue "
                f"holds an image twice. Received: queue_rows={self.queue_rows}"
                f", {num_images} images. Try {whole}."
            )

    def remedies(self):
        freeze = "freeze prototypes longer (--freeze_steps)"
        remedies = with_remedies(
            super().remedies(), first=True, flat=freeze, collapsed=freeze
        )
        return with_remedies(
            remedies,
            first=True,
            flat="lower --epsilon (0.03; 0.01 for small images)",
            collapsed="lower --epsilon",
            dominated="raise --epsilon a little, or --sinkhorn_iters",
            empty="help small batches with --queue_rows",
        )

    def explain(self, symptom, seen, history):
        if symptom == "rising" and self._queue_comes_in(history[-1]["epoch"]):
            return (
                f"{seen} when the queue started; a good queue makes it fall. "
                "Start it later (--queue_start_epoch), or shorten it "
                "(--queue_rows)."
            )
        return super().explain(symptom, seen, history)

    def symptoms(self, history):
        """Whether the loss fell only while the prototypes were frozen."""
        frozen = [f for f in history if f["step"] <= self.freeze_steps]
        since = history[len(frozen) :]
        if len(frozen) < 2 or len(since) < _STALLED_EPOCHS:
            return []
        last = frozen[-1]["loss"]
        if last >= frozen[0]["loss"] or min(f["loss"] for f in since) < last:
            return []
        return [
            "The loss has not fallen since the prototypes were released at "
            f"step {self.freeze_steps}. Freeze them longer (--freeze_steps), "
            "or lower --learning_rate."
        ]

    def notices(self, facts):
        found = []
        largest, batch = max(self.num_clusters), facts.batch_size
        if batch + self.queue_rows < largest:
            rows = math.ceil((largest - batch) / batch) * batch
            found.append(
                f"A batch of {batch} images cannot fill {largest} clusters "
                f"equally. Lower --num_clusters, or add --queue_rows={rows} "
                "with an early --queue_start_epoch."
            )
        if self.freeze_steps >= facts.total_steps:
            found.append(
                "The prototypes stay as they start: --freeze_steps="
                f"{self.freeze_steps} covers all {facts.total_steps} steps. "
                f"An epoch has {facts.steps_per_epoch}."
            )
        return found

    @classmethod
    def plan(cls, facts):
        steps = min(_FREEZE_STEPS, round(_FREEZE_SHARE * facts.total_steps))
        return {
            **super().plan(facts),
            "num_clusters": facts.heads(1, images_a_cluster=10),
            "epsilon": Setting(None, "fitted to the spread of the scores"),
            "freeze_steps": Setting(
                steps, f"{_FREEZE_SHARE:.0%} of the steps, at most SwAV's epoch"
            ),
            **multi_crop(facts, 2, 4),
            **rates(facts, 0.4, weight_decay=3e-4),
        }

    def _queue_comes_in(self, epoch):
        """Whether it started to fill in this epoch (from 1) or the last."""
        since = epoch - 1 - self.queue_start_epoch
        return bool(self.queue_rows) and since in (0, 1)
