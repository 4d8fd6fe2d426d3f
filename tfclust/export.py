"""Writes a run's model for serving, as a SavedModel.

python -m tfclust.export --workdir=runs/mine --output=exports/mine
"""

import dataclasses
import json
import sys

from tfclust import options, saved_model
from tfclust.cli import flags
from tfclust.options import option
from tfclust.runs import recipes
from tfclust.runtime import folders, quiet, terminal
from tfclust.training import checks


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """The export."""

    workdir: str = option("", "Folder of the run.")
    output: str = option(
        "",
        "Folder of the versions: the model is written to output/1, then "
        "output/2 and so on; empty for saved_model in workdir.",
    )
    max_pixels: int = option(
        saved_model.MAX_PIXELS,
        "Height times width, beyond which the model decodes no encoded image: "
        'its status is then "too many pixels".',
        lower=1,
    )

    def __post_init__(self):
        options.check(self)
        if not self.workdir:
            raise ValueError(
                "workdir must be given: the folder of the run, such as "
                "--workdir=runs/first."
            )


def export(config):
    """Writes the next version; returns its path."""
    checks.check_trained(config.workdir)
    quiet.import_tensorflow()
    from tfclust.training import pretraining

    run = pretraining.load_run(config.workdir)
    output = config.output or run.workdir / "saved_model"
    folders.writable("output", output)  # before a minute of tracing
    return saved_model.save(
        run.method,
        output,
        card=model_card(run),
        image_size=run.recipe.run.image_size,
        resize_size=run.recipe.run.resize_size,
        max_pixels=config.max_pixels,
    )


def model_card(run):
    """What the model card tells of a run."""
    from tfclust.runs import metrics  # imports TensorFlow

    history = metrics.read_metrics(run.workdir, run.step)
    return {
        "method": run.recipe.run.method,
        "data": run.recipe.run.data,
        "num_images": run.num_images,
        "step": run.step,
        "recipe": recipes.to_words(run.recipe),
        "metrics": {
            "last_epoch": history[-1] if history else None,
            "evaluation": _figures(run.workdir / "evaluation.json"),
        },
    }


def _figures(path):
    """What was measured of a run; None where that is missing or damaged."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        terminal.say(f"Left out of the card: {path}: {error}", sys.stderr)
        return None


def main():
    """Writes a run's model as a SavedModel, and prints its folder."""
    terminal.say(export(flags.read(ExportConfig)))


if __name__ == "__main__":
    flags.define(ExportConfig)
    flags.run(main)
