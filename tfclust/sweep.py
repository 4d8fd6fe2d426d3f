"""Trains and measures one recipe with several values of its knobs.

python -m tfclust.sweep --flagfile=configs/sweeps/coke_min_share.flags \\
    --data=tfrecord:/cifar10/train.tfrecord --max_images=10000 \\
    --test_data=tfrecord:/cifar10/test.tfrecord --workdir=runs/min_share
"""

import dataclasses

from tfclust import options
from tfclust.cli import flags, recipe_flags
from tfclust.options import option
from tfclust.reporting.config import ReportConfig
from tfclust.runs import folder
from tfclust.runtime import folders, terminal
from tfclust.training.sweeps import running


@dataclasses.dataclass(frozen=True)
class SweepConfig:
    """The sweep: which knobs take which values, besides the flags of train."""

    vary: str = option(
        "",
        "Knobs and their values: 'min_share=1|0.4|0 epochs=5|10' trains all "
        "six combinations.",
    )
    test_data: str = option(
        "",
        "Labelled images on which figures are measured; empty for the run's "
        "eval_data, or every fifth image of data.",
    )
    runs_at_once: int = option(
        1, "Number of processes at a time.", unit="processes", lower=1
    )

    def __post_init__(self):
        options.check(self)
        if not self.vary:
            raise ValueError(
                "vary must name a knob and its values, such as "
                "--vary='min_share=1|0.4|0'. Received: nothing."
            )


def main():
    """Trains and measures one recipe with several values of its knobs.

    Takes the flags of train, and --vary. Each run has a folder in --workdir,
    with sweep.log; table.md has the figures, report.html the runs side by side.
    Called again, it does what is not done yet.
    """
    config, recipe = flags.read(SweepConfig), recipe_flags.read()
    swept = running.sweep(recipe, config)
    print(swept.table)
    if swept.workdirs:
        from tfclust.reporting import compared

        page = folders.expanded(recipe.run.workdir) / folder.REPORT
        workdirs = tuple(map(str, swept.workdirs))
        config = ReportConfig(workdirs=workdirs, output=str(page))
        terminal.say(f"Side by side: {compared.write(config)}")
    return flags.BAD_INPUT if swept.failed else flags.DONE


if __name__ == "__main__":
    recipe_flags.define(SweepConfig)
    flags.run(main)
