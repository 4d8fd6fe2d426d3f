"""AdamW and LAMB: Keras's own, with rules by variable."""

import keras

from tfclust.optimizers.rules import Ruled


@keras.saving.register_keras_serializable(package="tfclust")
class AdamW(Ruled, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` with `Rule`s for rate, decay and freezing.

    Source: Loshchilov & Hutter 2019, arXiv:1711.05101.
    """

    slot_lists = ("_momentums", "_velocities")


@keras.saving.register_keras_serializable(package="tfclust")
class Lamb(Ruled, keras.optimizers.Lamb):
    """`keras.optimizers.Lamb` with `Rule`s for rate, decay and freezing.

    Source: You et al. 2020, arXiv:1904.00962. Differs, as Keras does: decay is
    decoupled, outside the trust ratio.
    """

    slot_lists = ("_momentums", "_velocities")
