"""Damaged files, told in a sentence."""

import contextlib


@contextlib.contextmanager
def telling_damage(what, way_out):
    """Turns whatever a loader raises into one ValueError.

    Args:
      what: str, what is loaded, as the user gave it. way_out: str, sentences.

    Raises:
      ValueError: if anything but a lack of memory is in the way.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # damaged files raise many classes
        lines = str(error).strip().splitlines() or [repr(error)]
        raise ValueError(
            f"{what} cannot be loaded: {lines[0]}. {way_out}"
        ) from error
