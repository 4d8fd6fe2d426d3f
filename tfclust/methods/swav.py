"""SwAV: predict one view's code from another view (Caron et al. 2020,
arXiv:2006.09882).

Follows facebookresearch/swav `main_swav.py` at 06b1b7c. Differs in three
places: prototypes are normalised after the update, not before the forward pass;
the queue counts its rows instead of looking at the last one; Sinkhorn runs on
the gathered batch, so that codes do not depend on the number of replicas.
"""

import numpy as np
import tensorflow as tf

from tfclust import optimizers
from tfclust.engine.clustering import ClusteringMethod
from tfclust.engine.losses import ExampleLosses
from tfclust.layers import projectors
from tfclust.layers.fitted_epsilon import FittedEpsilon
from tfclust.layers.prototypes import Prototypes
from tfclust.layers.queue import FeatureQueue
from tfclust.methods.configs.swav import (
    LARGEST_EPSILON,
    SHARE_OF_SPREAD,
    SwAVConfig,
)
from tfclust.ops.clusterer import Clusterer
from tfclust.ops.sinkhorn import balanced_codes, hard_codes
from tfclust.runtime import replicas


class SwAV(ClusteringMethod):
    """SwAV as a Keras model.

    Several values of `num_clusters` give several heads whose losses are
    averaged, as in the source's DeepCluster-v2; the source's SwAV has one.
    """

    Config = SwAVConfig
    takes_streams = True

    def __init__(self, backbone, config=None, **knobs):
        super().__init__(backbone, config, **knobs)
        self.prototypes = Prototypes(
            self.projection_width, self.config.num_clusters, learned=True
        )
        if self.config.epsilon is None:
            self.epsilon = FittedEpsilon(
                len(self.config.num_clusters),
                largest=LARGEST_EPSILON,
                share=SHARE_OF_SPREAD,
                name="epsilon",
            )

    def build_projector(self, features_width, synchronized):
        return projectors.projector(
            features_width,
            hidden_width=self.config.hidden_width,
            projection_width=self.config.projection_width,
            hidden_batch_norm=self.config.hidden_batch_norm,
            synchronized=synchronized,
        )

    def build_memories(self, views):
        rows, batch = self.config.queue_rows, views.batch_size
        _check_views(views)
        if rows % batch:
            nearest = max(batch, rows // batch * batch)
            raise ValueError(
                "queue_rows must be a multiple of batch_size, so that a batch "
                f"never straddles the end. Received: queue_rows={rows}, "
                f"batch_size={batch}. Try {nearest}."
            )
        self.code_views = views.num_global_views
        if rows:
            for view in range(self.code_views):
                name = f"queue_{view}"
                queue = FeatureQueue(rows, self.projection_width, name=name)
                setattr(self, name, queue)

    def variable_rules(self):
        rule = optimizers.Rule(frozen_steps=self.config.freeze_steps)
        return {kernel.path: rule for kernel in self.prototypes.kernels}

    def score(self, projections, units):
        return self.prototypes(units)

    def assign(self, outputs, index):
        """Codes `[B, K]` for each global view, in a tuple over heads."""
        codes = [
            self._codes(outputs.units[view], view)
            for view in range(self.code_views)
        ]
        return tuple(zip(*codes, strict=True))

    def example_losses(self, outputs, assignments):
        losses = []
        for scores, codes in zip(outputs.scores, assignments, strict=True):
            log_probs = tf.nn.log_softmax(scores / self.config.temperature)
            losses.append(swapped_loss(log_probs, codes))  # [B]
        loss = tf.add_n(losses) / len(losses)
        return ExampleLosses(loss, tf.ones_like(loss))

    def update_memory(self, outputs, assignments, index):
        if self.config.epsilon is None:
            large = [head[: self.code_views] for head in outputs.scores]
            rows = [tf.reshape(s, [-1, s.shape[-1]]) for s in large]  # [R, K]
            self.epsilon.update(rows, self.step.value)
        if not self.config.queue_rows:
            return
        started = self.epoch >= self.config.queue_start_epoch
        for view in range(self.code_views):
            newest = replicas.all_gather(outputs.units[view])
            self._queue(view).push(newest, when=started)

    def figures(self):
        if self.config.epsilon is not None:
            return super().figures()
        epsilon = float(np.mean(self.epsilon.values.numpy()))
        return {**super().figures(), "epsilon": epsilon}

    def clusterer(self):
        return tuple(
            Clusterer(kernel.numpy()) for kernel in self.prototypes.kernels
        )

    def _codes(self, units, view):
        """Codes of the replica's rows, balanced over the global batch."""
        num_rows = units.shape[0]
        batch = replicas.all_gather(units)  # [B, D]
        if not self.config.queue_rows:
            codes = self._balance(batch)
        else:
            queue = self._queue(view)
            with_queue = tf.concat([queue.features.value, batch], axis=0)
            codes = tf.cond(
                queue.is_full(),
                # The batch comes last; only its rows are needed.
                lambda: self._balance(with_queue, keep=batch.shape[0]),
                lambda: self._balance(batch),
            )
        return tuple(replicas.own_rows(code, num_rows) for code in codes)

    def _balance(self, units, keep=None):
        balance = hard_codes if self.config.hard_codes else balanced_codes
        codes = [
            balance(
                scores,
                epsilon=self._epsilon(head),
                num_iters=self.config.sinkhorn_iters,
            )
            # Of current prototypes.
            for head, scores in enumerate(self.prototypes(units))
        ]
        return tuple(c if keep is None else c[-keep:] for c in codes)

    def _epsilon(self, head):
        """A head's: a float where it is given, else what was fitted so far."""
        if self.config.epsilon is None:
            return self.epsilon.values.value[head]
        return self.config.epsilon

    def _queue(self, view):
        return getattr(self, f"queue_{view}")


def swapped_loss(log_probs, codes):
    """Cross-entropy of every view with the code of every other global view.

    Args:
      log_probs: `[V, B, K]` log-softmax of scores, global views first.
      codes: a sequence of `[B, K]`, one per global view.

    Returns:
      `[B]`: the mean over codes and over the V - 1 views that predict each.

    Source:
      SwAV, eq. 2 and 6; a view never predicts its own code.
    """
    num_views = log_probs.shape[0]
    losses = []
    for code_view, code in enumerate(codes):
        for view in range(num_views):
            if view != code_view:
                entropy = -tf.reduce_sum(code * log_probs[view], axis=-1)
                losses.append(entropy)
    return tf.add_n(losses) / len(losses)


def _check_views(views):
    if views.num_views < 2:
        raise ValueError(
            "SwAV predicts one view's code from another view: num_views must "
            f"sum to at least 2. Received: {views.num_views}."
        )
