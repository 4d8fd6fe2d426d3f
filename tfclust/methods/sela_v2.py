"""SeLa-v2: DeepCluster-v2's training with SeLa's labels (Caron et al. 2020,
arXiv:2006.09882, appendix D).

No code was released; this follows the paper's text. Prototypes are learned by
gradient descent, and once per epoch every image gets the label that
Sinkhorn-Knopp over the whole bank gives it. Unlike in SwAV's batches, the
passes continue until every cluster has its share.
"""

from tfclust.engine.banked import BankedMethod
from tfclust.engine.label_steps import Balance
from tfclust.methods.configs.sela_v2 import SeLaV2Config
from tfclust.ops.clusterer import Clusterer


class SeLaV2(BankedMethod):
    """SeLa-v2 as a Keras model."""

    Config = SeLaV2Config

    def __init__(self, backbone, config=None, **knobs):
        super().__init__(backbone, config, **knobs)
        self.balance = Balance(self.config)

    def label(self, units, head):
        """Balances the bank by the head's prototypes."""
        return self.balance.label(
            head,
            units,
            # The loss's p; the power turns it into exp(cosine / epsilon).
            self.prototypes.kernels[head].value / self.config.temperature,
            power=self.config.temperature / self.config.epsilon,
            strategy=self.distribute_strategy,
        )

    def figures(self):
        return {**super().figures(), **self.balance.figures()}

    def clusterer(self):
        """argmax of cosine / epsilon + log r, all times epsilon."""
        return tuple(
            Clusterer(
                kernel.numpy(),
                bias=self.config.epsilon * self.balance.log_r(head),
            )
            for head, kernel in enumerate(self.prototypes.kernels)
        )
