"""What a source has left out, in sentences."""

_SHOWN = 10


def left_out(source):
    """Sentences on images and files that a source does not have.

    Args:
      source: `Source`.

    Returns:
      list of str, for images that cannot be read, files passed over by their
      ending, and the source's notices; empty if nothing is missing.
    """
    said = [
        f"Left out: {name}: {reason}"
        for name, reason in source.skipped[:_SHOWN]
    ]
    if len(source.skipped) > _SHOWN:
        said.append(f"Left out: {len(source.skipped) - _SHOWN} more images.")
    said += passed_over(source)
    return said + [f"{source.uri}: {notice}." for notice in source.notices]


def passed_over(source):
    """The sentence on files passed over by their ending, in a list."""
    words = source.passed_over
    return [f"Passed over by their ending: {words}."] if words else []
