"""Trains a method on unlabelled images.

python -m tfclust.train --flagfile=configs/quickstart.flags \\
    --data=folder:/my/images --workdir=runs/mine
"""

from tfclust import flags  # isort: skip (imports TensorFlow quietly)

from tfclust import folders, pretraining, recipe_flags, resuming


def main():
    """Trains a method on unlabelled images.

    Writes into --workdir: config.flags, which repeats the run; checkpoints/,
    from which the same command goes on; metrics.jsonl; tensorboard/.
    """
    recipe = recipe_flags.read()

    def write_config():
        workdir = folders.expanded(recipe.run.workdir)
        flags.write(
            workdir / "config.flags",
            resuming.lasting(recipe),
            "python -m tfclust.train --flagfile=config.flags",
        )

    trained = pretraining.pretrain(recipe, accepted=write_config)
    return flags.INTERRUPTED if trained.interrupted else flags.DONE


if __name__ == "__main__":
    recipe_flags.define()
    flags.run(main)
