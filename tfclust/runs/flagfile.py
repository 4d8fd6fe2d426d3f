"""The flagfile that repeats a run."""

from tfclust import options
from tfclust.runtime import files


def write(path, configs, header=""):
    """Writes a flagfile that gives the same configs again.

    Every knob is written, even with its default value, so that a later change
    of defaults does not matter.

    Args:
      path: of the file; replaced as a whole or not at all.
      configs: dataclass instances.
      header: text for the comment at the top.

    Raises:
      ValueError: if a value cannot be written on one line.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    if lines:
        lines.append("")
    written: dict[str, str] = {}
    for config in configs:
        for name in options.about(type(config)):
            words = options.text(getattr(config, name))
            if words != words.strip() or len(words.splitlines()) > 1:
                raise ValueError(
                    f"{name} must not start or end with a space or contain "
                    f"a line break. Received: {name}={words!r}."
                )
            if written.setdefault(name, words) != words:
                raise ValueError(
                    f"{name} must be the same in all configs. Received: "
                    f"{written[name]} and {words}."
                )
    lines += [f"--{name}={words}" for name, words in written.items()]
    files.write_text(path, "\n".join(lines) + "\n")
