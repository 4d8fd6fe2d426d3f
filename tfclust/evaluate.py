"""Measures a trained backbone beside ones that have learnt nothing.

python -m tfclust.evaluate --workdir=runs/mine \\
    --test_data=folder:/my/labelled_images
"""

import dataclasses
import sys

from tfclust import evaluation, options
from tfclust.cli import flags
from tfclust.evaluation import EvaluationConfig
from tfclust.options import option
from tfclust.runs import folder
from tfclust.runtime import terminal
from tfclust.training import comparing, figures_file, measuring, next_steps


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """What is measured, and on which images."""

    workdir: str = option(
        "", "Folder of the run to measure; this, saved_model or compare."
    )
    saved_model: str = option(
        "",
        "SavedModel to measure: a version, or the folder of versions, for the "
        "newest of them.",
    )
    compare: tuple[str, ...] = option(
        (),
        "Folders of runs and SavedModels to measure side by side on the same "
        "images, a,b,c, instead of workdir or saved_model.",
    )
    supervised: str = option(
        "",
        "With compare: a run of --method=fixed_labels, which has learnt from "
        "labels in the same loop.",
    )
    train_data: str = option(
        "",
        "Labelled images that protocols learn from; empty for the run's data.",
    )
    test_data: str = option(
        "",
        "Images on which figures are measured, with labels for all but the "
        "protocol unlabelled; empty for the run's eval_data, or every fifth "
        "of train_data if the run has none.",
    )
    max_images: int | None = option(
        None,
        "Use only this many of train_data's images; empty for the run's "
        "number if they are the run's own images, and for all otherwise. A "
        "run's class_shares and imbalance are not applied but by pseudo_labels "
        "without protocols that learn.",
        lower=1,
    )
    label_share: float | None = option(
        None,
        "Share of train_data's labelled images to use, drawn class by class by "
        "evaluation_seed, at least one a class; 0.01 and 0.1 in SwAV's "
        "semi-supervised table. The names are written to label_list.",
        source="SimCLR, 4.1",
        lower=1e-9,
        upper=1.0,
    )
    label_list: str = option(
        "",
        "File with the names of train_data's images to use, one a line, as "
        "SimCLR's lists of 1 % and 10 % of ImageNet; empty for all. With "
        "label_share it is written, beside the figures if it is empty.",
        source="SimCLR, 4.1",
    )
    cache_dir: str = option(
        "",
        "Folder for the results of checking the images, if they cannot be kept "
        "beside them; empty for one in workdir.",
    )
    output: str = option(
        "",
        "JSON file for the figures; empty for evaluation.json in workdir. With "
        "compare it must be given, and the table (.md, .csv) and its plot "
        "(.html) are written beside it.",
    )

    def __post_init__(self):
        options.check(self)
        if self.compare:
            self._check_compared()
            return
        options.check_one_of(
            self, "workdir", "saved_model", "--workdir=runs/first"
        )
        if self.supervised:
            raise ValueError(
                "supervised is shown beside the runs in compare. Received: "
                f"supervised={self.supervised} without. Give --compare=a,b."
            )

    def _check_compared(self):
        given = self.workdir or self.saved_model
        if given:
            raise ValueError(
                "compare takes the place of workdir and saved_model. Received: "
                f"{given} beside compare={','.join(self.compare)}. Put all "
                "into compare."
            )
        if len(set(self.compare)) < len(self.compare):
            raise ValueError(
                "compare must name each folder once. Received: "
                f"compare={','.join(self.compare)}."
            )
        if not self.output:
            raise ValueError(
                "output must be given with compare, such as "
                "--output=comparison.json. Received: none."
            )


def main():
    """Measures a trained backbone beside ones that have learnt nothing.

    Prints a table and writes the figures as JSON. Labels come from class
    folders, or TFRecords with image/class/label; without labels it tells how
    steady the clusters are. --compare=a,b measures several side by side.
    """
    command = flags.read(EvaluateConfig)
    config = flags.read(EvaluationConfig)

    def say(line):
        terminal.say(line, sys.stderr)

    filters = _Filters(command, config)
    if command.compare:
        _compare(command, config, say, filters)
        return
    results = measuring.measure(command, config, say, filters.add)
    print(evaluation.format_table(results))
    for sentence in evaluation.verdicts(results):
        terminal.say(sentence)
    output = figures_file.path_of(command)
    if output is not None:
        for path in (output, *filters.write(output)):
            terminal.say(f"Written: {path}")
    if command.workdir:
        terminal.say(next_steps.after_evaluation(command.workdir))


class _Filters:
    """The page of the protocol `filters`, for which images are at hand now."""

    def __init__(self, command, config):
        where = command.output or command.workdir
        if "filters" in config.protocols and not where:
            raise ValueError(
                "the protocol filters writes a page beside the figures. "
                f"Received: saved_model={command.saved_model} without output. "
                "Give --output=figures.json, or leave filters out of "
                "protocols."
            )
        self._networks: list = []

    def add(self, name, protocol, subject, figures):
        """`done` of `evaluation.evaluate`."""
        if protocol == "filters" and figures:
            from tfclust.reporting import filters  # imports much

            self._networks.append(filters.network(name, subject, figures))

    def write(self, output):
        """Writes the page beside the figures, if there is one; its paths."""
        if not self._networks:
            return []
        from tfclust.reporting import filters

        page = output.with_name(f"{output.stem}_{folder.FILTERS}")
        return [filters.write(self._networks, page)]


def _compare(command, config, say, filters):
    output = figures_file.path_of(command)  # refused before hours of work
    with figures_file.so_far(output, say, filters.add) as done:
        results = comparing.compare(command, config, say, done)
        written = comparing.write(results, output)
    from tfclust.reporting import comparison  # imports much

    written.append(comparison.write(results, output.with_suffix(".html")))
    written += filters.write(output)
    print(evaluation.markdown(results))
    for path in written:
        terminal.say(f"Written: {path}")


if __name__ == "__main__":
    flags.define(EvaluateConfig, EvaluationConfig)
    flags.run(main)
