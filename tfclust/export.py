"""Writes a run's model for serving, as a SavedModel.

python -m tfclust.export --workdir=runs/mine --output=exports/mine
"""

import dataclasses

from tfclust import options, saved_model
from tfclust.cli import flags
from tfclust.options import option
from tfclust.runs import exporting
from tfclust.runtime import terminal


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """The export."""

    workdir: str = option("", "Folder of the run.")
    output: str = option(
        "",
        "Folder of the versions: the model is written to output/1, the next to "
        "output/2 and so on; empty for saved_model in workdir.",
    )
    max_pixels: int = option(
        saved_model.MAX_PIXELS,
        "Height times width above which the model does not decode an encoded "
        'image: its status is then "too many pixels".',
        lower=1,
    )

    def __post_init__(self):
        options.check(self)
        if not self.workdir:
            raise ValueError(
                "workdir must be given: the folder of the run, such as "
                "--workdir=runs/first."
            )


def main():
    """Writes a run's model as a SavedModel, and prints its folder."""
    terminal.say(exporting.export(flags.read(ExportConfig)))


if __name__ == "__main__":
    flags.define(ExportConfig)
    flags.run(main)
