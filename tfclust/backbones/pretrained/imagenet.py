"""The weights that Keras publishes for its own networks."""

import warnings

from tfclust.backbones import applications
from tfclust.backbones.settings import IMAGENET


def trained_application(name):
    """A network of `keras.applications` with ImageNet's weights.

    Keras keeps them in `~/.keras/models` (or below `KERAS_HOME`), and fetches
    them once.

    Args:
      name: one of `settings.APPLICATIONS`.

    Returns:
      What `applications.application` returns.

    Raises:
      ValueError: if they are not kept yet and cannot be fetched.
    """
    try:
        # Keras warns that 224 pixels are assumed where any size is taken.
        with warnings.catch_warnings(action="ignore"):
            return applications.application(name, weights=IMAGENET)
    except MemoryError:
        raise
    except Exception as error:  # `get_file` raises plain ones
        lines = str(error).strip().splitlines() or [repr(error)]
        raise ValueError(
            f"init_from={IMAGENET} for backbone {name}: Keras could not fetch "
            f"its weights: {lines[0]}. Connect this machine to the network "
            "once, or copy the file that is named there into ~/.keras/models "
            "from a machine that has it."
        ) from error
