"""Writes an index and its model as one SavedModel, for any server.

python -m export.retrieval.serve --index=idx --output=exports/search
"""

import dataclasses

from tfclust import options
from tfclust.cli import flags
from tfclust.options import option
from tfclust.runtime import quiet, terminal


@dataclasses.dataclass(frozen=True)
class ServeConfig:
    """What is served."""

    index: str = option("", "Folder of the index.")
    output: str = option(
        "",
        "Folder of the versions: the model is written to output/1, the next to "
        "output/2 and so on.",
    )
    top: int = option(
        10, "Images to find for each query.", lower=1, upper=1_000
    )
    saved_model: str = option(
        "",
        "Where the index's model is now; empty for where it was when the "
        "index was built.",
    )

    def __post_init__(self):
        options.check(self)
        for name in ("index", "output"):
            if not getattr(self, name):
                raise ValueError(
                    f"{name} must be given, such as --index=idx "
                    "--output=exports/search."
                )


def main():
    """Writes an index and its model as one SavedModel, for any server."""
    config = flags.read(ServeConfig)
    quiet.import_tensorflow()
    from export.retrieval import serving

    terminal.say(serving.write(config, terminal.say))


if __name__ == "__main__":
    flags.define(ServeConfig)
    flags.run(main)
