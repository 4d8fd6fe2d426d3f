"""Knobs of SeLa-v2."""

import dataclasses

from tfclust.engine.config import BalanceConfig, BankedConfig, with_remedies
from tfclust.engine.planning import Setting, multi_crop, rates
from tfclust.options import option


@dataclasses.dataclass(frozen=True)
class SeLaV2Config(BankedConfig, BalanceConfig):
    """Knobs of SeLa-v2; defaults are the paper's for ImageNet."""

    epsilon: float = option(
        0.05,
        "Entropy weight of the soft labels before rounding, in units of "
        "cosine; smaller gives harder labels.",
        source="SwAV's own, A.1; none is given for SeLa-v2",
        lower=1e-3,
    )

    def remedies(self):
        return with_remedies(
            super().remedies(),
            first=True,
            flat="lower --epsilon (0.03; 0.01 for small images)",
            collapsed="lower --epsilon",
            dominated="raise --epsilon a little",
        )

    @classmethod
    def plan(cls, facts):
        return {
            **super().plan(facts),
            "num_clusters": facts.heads(3, images_a_cluster=10),
            "epsilon": Setting(0.02, "as in CIFAR's recipe"),
            **multi_crop(facts, 2, 3),
            **rates(facts, 0.2, weight_decay=1e-6),
        }
