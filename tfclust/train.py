"""Trains a method on unlabelled images.

python -m tfclust.train --flagfile=configs/quickstart.flags \\
    --data=folder:/my/images --workdir=runs/mine
"""

from tfclust.cli import flags, recipe_flags
from tfclust.runs import flagfile, folder
from tfclust.runtime import folders, quiet
from tfclust.training import checks, resuming


def main():
    """Trains a method on unlabelled images.

    Writes into --workdir: config.flags, which repeats the run; checkpoints/,
    from which the same command resumes; metrics.jsonl; tensorboard/.
    """
    recipe = recipe_flags.read()
    checks.check_alone(recipe)
    quiet.import_tensorflow()
    from tfclust.training import pretraining

    def write_config():
        workdir = folders.expanded(recipe.run.workdir)
        flagfile.write(
            workdir / folder.CONFIG,
            resuming.lasting(recipe),
            f"python -m tfclust.train --flagfile={folder.CONFIG}",
        )

    trained = pretraining.pretrain(recipe, accepted=write_config)
    return flags.INTERRUPTED if trained.interrupted else flags.DONE


if __name__ == "__main__":
    recipe_flags.define()
    flags.run(main)
