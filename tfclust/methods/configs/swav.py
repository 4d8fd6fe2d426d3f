"""Knobs of SwAV."""

import dataclasses

from tfclust.engine.config import ClusteringConfig
from tfclust.engine.health import JUDGED_STEPS, enough, loss_of_steps
from tfclust.engine.planning import Setting, multi_crop, rates
from tfclust.engine.remedies import (
    Remedy,
    in_a_sentence,
    slower,
    softer_codes,
    with_remedies,
)
from tfclust.options import SHAPES, option

LARGEST_EPSILON = 0.05  # of a fitted one: SwAV's own
SHARE_OF_SPREAD = 0.2  # fitted epsilon in standard deviations of the scores
_FREEZE_SHARE, _FREEZE_STEPS = 0.08, 313
# Prototypes for each row of a batch and its queue. CIFAR's recipe has three;
# with 23 a network learnt nothing in 15 epochs (lightly#1010).
_CROWDED = 8
_FALLING_SHARE = 0.2  # of a run; so long the loss may stand after the release
_QUEUE_EPOCHS = 100  # a run in which a queue helps; in one of 12 it did harm


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
        resume="never",
        why_never=SHAPES,
    )
    queue_rows: int = option(
        0,
        "Projections of past batches that help to balance small batches; a "
        "multiple of the batch size, and at most the number of images.",
        unit="rows",
        source="SwAV, sec. 4.1",
        lower=0,
        resume="never",
        why_never=SHAPES,
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

    def remedies(self, facts, figures):
        balance = 2 * self.sinkhorn_iters
        even = Remedy(
            "balance codes more exactly", "sinkhorn_iters", str(balance)
        )
        softer = () if self.epsilon is None else softer_codes(self.epsilon)
        clear = (*self._fitted(), *self._frozen_longer(facts))
        return with_remedies(
            super().remedies(facts, figures),
            first=True,
            flat=clear,
            collapsed=clear,
            dominated=(*softer, even),
        )

    def _fitted(self):
        """Codes as hard as the images ask for; empty if they are."""
        if self.epsilon is None:
            return ()
        words = "let codes be as hard as these images need"
        return (Remedy(words, "epsilon", ""),)

    def _frozen_longer(self, facts):
        """Prototypes fixed twice as long; empty beyond half of the run."""
        longer = 2 * self.freeze_steps or facts.steps_per_epoch
        if longer > facts.total_steps // 2:
            return ()
        words = "freeze prototypes longer"
        return (Remedy(words, "freeze_steps", str(longer)),)

    def settling_steps(self, facts):
        return max(super().settling_steps(facts), self.freeze_steps)

    def watched(self, facts):
        first = super().watched(facts)
        if self._queue_starts(facts):
            # Until then, small batches may learn next to nothing.
            first["flat"] = max(first["flat"], self._queue_starts(facts))
        return first

    def explain(self, symptom, seen, history, facts):
        if symptom == "rising" and self._queue_came_in(history[-1], facts):
            return (
                f"{seen} when the queue started; a good queue makes it fall. "
                "Start it later (--queue_start_epoch), or shorten it "
                "(--queue_rows)."
            )
        return super().explain(symptom, seen, history, facts)

    def symptoms(self, history, facts):
        """Whether the loss fell only while the prototypes were frozen."""
        frozen = [f for f in history if f["step"] <= self.freeze_steps]
        since = history[len(frozen) :]
        released = history[-1]["step"] - self.freeze_steps
        soon = released < _FALLING_SHARE * facts.total_steps
        if len(frozen) < 2 or soon or not enough(since, facts):
            return []
        last = frozen[-1]["loss"]
        if last >= frozen[0]["loss"] or loss_of_steps(since, facts) < last:
            return []
        ways = (*self._frozen_longer(facts), *slower(facts))
        return [
            "The loss has not fallen since the prototypes were released at "
            f"step {self.freeze_steps}. {in_a_sentence(ways)}"
        ]

    def notices(self, facts):
        found = []
        largest = max(self.num_clusters)
        rows = facts.batch_size + self.queue_rows
        if largest > _CROWDED * rows:
            found.append(self._crowded(largest, rows, facts))
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
        rows = facts.batch_size + facts.given.get("queue_rows", 0)
        most = _CROWDED * rows
        return {
            **super().plan(facts),
            "num_clusters": facts.heads(1, images_a_cluster=10, most=most),
            "epsilon": Setting(None, "fitted to the spread of the scores"),
            "queue_rows": Setting(
                0,
                "a queue helps where a batch is well below K and a run has a "
                "hundred epochs; it harms short ones (docs/methods/swav.md)",
            ),
            "freeze_steps": Setting(
                steps, f"{_FREEZE_SHARE:.0%} of the steps, at most SwAV's epoch"
            ),
            **multi_crop(facts, 2, 4),
            **rates(facts, 0.4, weight_decay=3e-4),
        }

    def _crowded(self, largest, rows, facts):
        batch, way = facts.batch_size, "."
        if facts.total_steps >= _QUEUE_EPOCHS * facts.steps_per_epoch:
            most = min(largest, facts.num_images)
            queue = max(1, (most - 1) // batch) * batch
            way = f", or, in a run as long as this, add --queue_rows={queue}."
        return (
            f"Codes spread {rows} rows over {largest} clusters, too few to "
            f"tell clusters apart. Lower --num_clusters to {_CROWDED * rows} "
            f"or fewer (ten per kind of image are ample){way}"
        )

    def _queue_starts(self, facts):
        """The step from which the queue is filled; 0 without one."""
        return bool(self.queue_rows) * (
            self.queue_start_epoch * facts.steps_per_epoch
        )

    def _queue_came_in(self, figures, facts):
        """Whether it started to fill in the steps whose loss is compared."""
        since = figures["step"] - self._queue_starts(facts)
        span = 2 * max(facts.steps_per_epoch, JUDGED_STEPS)
        return bool(self.queue_rows) and 0 < since <= span
