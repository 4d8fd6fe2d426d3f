"""Knobs of SeLa-v2."""

import dataclasses

from tfclust.engine.config import BalanceConfig, BankedConfig
from tfclust.engine.planning import Setting, multi_crop, rates
from tfclust.engine.remedies import harder, softer_codes, with_remedies
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

    def remedies(self, facts, figures):
        return with_remedies(
            super().remedies(facts, figures),
            first=True,
            flat=harder(self.epsilon),
            collapsed=harder(self.epsilon),
            dominated=softer_codes(self.epsilon),
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
