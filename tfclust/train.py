"""Trains a method on unlabelled images.

python -m tfclust.train --flagfile=configs/quickstart.flags \\
    --data=folder:/my/images --workdir=runs/mine
"""

from tfclust import flags  # isort: skip (imports TensorFlow quietly)
import pathlib

from tfclust import methods, pretraining, recipes


def read_recipe():
    """The `Recipe` of the command line."""
    run = flags.read(pretraining.RunConfig)
    return pretraining.Recipe(
        run=run,
        method=flags.read(methods.METHODS[run.method].Config),
        **{
            part: flags.read(config_class)
            for part, config_class in recipes.CONFIGS.items()
            if part != "run"
        },
    )


def main():
    """Trains a method on unlabelled images.

    Writes into --workdir: config.flags, which repeats the run; checkpoints/,
    from which the same command goes on; metrics.jsonl; tensorboard/.
    """
    recipe = read_recipe()

    def write_config():
        workdir = pathlib.Path(recipe.run.workdir).expanduser()
        flags.write(
            workdir / "config.flags",
            recipe,
            "python -m tfclust.train --flagfile=config.flags",
        )

    trained = pretraining.pretrain(recipe, accepted=write_config)
    return flags.INTERRUPTED if trained.interrupted else flags.DONE


if __name__ == "__main__":
    flags.define(
        *recipes.CONFIGS.values(), method_configs=recipes.METHOD_CONFIGS
    )
    flags.run(main)
