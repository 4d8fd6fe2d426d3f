"""Knobs of SeLa-v2."""

import dataclasses

from tfclust.engine.config import BalanceConfig, with_remedies
from tfclust.options import option


@dataclasses.dataclass(frozen=True)
class SeLaV2Config(BalanceConfig):
    """Knobs of SeLa-v2; defaults are the paper's for ImageNet."""

    num_clusters: tuple[int, ...] = option(
        (3000, 3000, 3000),
        "Clusters of each head.",
        source="SwAV, appendix D",
        lower=2,
    )
    temperature: float = option(
        0.1,
        "Softmax temperature of predictions.",
        source="SwAV, appendix D",
        lower=1e-6,
    )
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
