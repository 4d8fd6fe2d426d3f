"""Looks at images and machine, and settles every knob with its reason.

python -m tfclust.advise --data=/my/images --minutes=30
"""

import dataclasses
import shlex

from tfclust import options
from tfclust.cli import flags, recipe_flags
from tfclust.options import option
from tfclust.runs import folder
from tfclust.runtime import folders, quiet, terminal
from tfclust.training import checks
from tfclust.training.planning.config import MINUTES, PlanConfig


@dataclasses.dataclass(frozen=True)
class AdviseConfig:
    """Where the plan goes."""

    output: str = option("plan.flags", "Flagfile for the plan.")

    def __post_init__(self):
        options.check(self)
        if not self.output:
            raise ValueError("output must be a file, such as plan.flags.")


def main():
    """Looks at images and machine, and settles every knob with its reason.

    Takes the flags of train; those that are given are kept. Writes a flagfile
    that train reads. Its time is measured on a few real steps.
    """
    command, config = flags.read(AdviseConfig), flags.read(PlanConfig)
    given, run = recipe_flags.given(), recipe_flags.draft().run
    checks.check_run(run, needed=("data",))
    checks.check_uris(run)
    config.check_length(run)
    path = folders.writable_file("output", command.output)
    quiet.import_tensorflow()
    from tfclust.training.planning import plan, telling

    made = plan.make(given, minutes=config.minutes or MINUTES)
    for line in telling.in_words(made).splitlines():
        terminal.say(line)
    train = "python -m tfclust.train --flagfile=" + shlex.quote(str(path))
    workdir = shlex.quote(run.workdir or "runs/mine")
    train += f" --workdir={workdir}"
    telling.write(path, made, train)
    terminal.say(f"Written: {path}")
    if path != folders.expanded(run.workdir) / folder.PLAN:  # train goes on
        terminal.say(f"Next, to train by it: {train}")


if __name__ == "__main__":
    recipe_flags.define(AdviseConfig, PlanConfig)
    flags.run(main)
