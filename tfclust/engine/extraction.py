"""A distributed pass over all images, for `Method.extract`."""

import numpy as np
import tensorflow as tf

from tfclust.engine import batch_statistics
from tfclust.runtime import replicas, sharing


class Extractor:
    """Runs a method over all its images; each kind of pass is traced once."""

    def __init__(self, method):
        self._method = method
        self._functions = {}

    def __call__(self, what, views, training):
        """Arguments and result are those of `Method.extract`."""
        method = self._method
        data = method.views
        batches = sharing.distribute(
            method.distribute_strategy,
            lambda **shards: data.extraction_batches(
                views,
                batch_size=data.batch_size,
                draw=int(method.step.numpy()),
                # Sources shuffle such passes: self-label `data.py`, swav
                # `main_deepclusterv2.py`.
                shuffle=training,
                **shards,
            ),
        )
        extract_rows = self._function(what, views, training)
        found = None
        for batch in batches:
            rows, index, mask = (x.numpy() for x in extract_rows(batch))
            if found is None:
                shape = (data.num_images, *rows.shape[1:])
                found = np.zeros(shape, np.float32)
            found[index[mask]] = rows[mask]
        return found

    def _function(self, *kind):
        if kind not in self._functions:
            strategy = self._method.distribute_strategy

            def extract_rows(batch):
                results = strategy.run(self._step, args=(batch, *kind))
                return replicas.first_replica(strategy, results)

            self._functions[kind] = tf.function(extract_rows, autograph=False)
        return self._functions[kind]

    def _step(self, batch, what, views, training):
        images = self._method.views.on_device(batch)
        outputs = self._method.forward(images, training=training)
        if training:
            batch_statistics.join(self._method, self._method.config.batch_norm)
        rows = tf.transpose(getattr(outputs, what), [1, 0, 2])  # [B, V, width]
        if views == "eval":
            rows = rows[:, 0]
        parts = (rows, batch["index"], batch["mask"])
        return tuple(replicas.all_gather(part) for part in parts)
