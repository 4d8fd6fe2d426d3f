"""The figures of a run's epochs, kept once for all who read them."""

import keras

from tfclust.engine.figures import epoch_figures


class EpochHistory(keras.callbacks.Callback):
    """Turns an epoch's logs into figures; comes before the callbacks that read.

    Args:
      before: figures of the epochs before, the latest last.
    """

    def __init__(self, before=()):
        super().__init__()
        self.epochs = list(before)

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(epoch_figures(logs))
