"""A plan in words, and as a flagfile."""

import textwrap

from tfclust import options
from tfclust.engine.console import duration
from tfclust.runtime import files

_WIDTH = 80
_TOLD_SECONDS = 60  # after training; fewer need no words
FEW_IMAGES = 1000  # 320 photos of clothes taught less than pixels tell


def in_words(plan):
    """The plan for a terminal: what was seen, settled, and what it costs."""
    lines = [_images(plan), ""]
    lines += [_line(name, of) for name, of in plan.settings.items()]
    given = _given(plan)
    if given:
        told = f"As given: {', '.join(given)}."
        lines += ["", textwrap.fill(told, _WIDTH)]
    for notice in plan.notices:
        lines += ["", textwrap.fill(notice, _WIDTH)]
    return "\n".join([*lines, "", *_few(plan), expected(plan)])


def expected(plan):
    """A sentence on the time and memory that the run will take."""
    timing, last = plan.timing, ""
    if timing.end_seconds > _TOLD_SECONDS:
        took = duration(timing.end_seconds)
        last = f", {took} of it at the end for the clusters of all images,"
    speed = plan.recipe.run.batch_size / timing.step_seconds
    return (
        f"Expected: {duration(plan.seconds)}{last} for "
        f"{plan.total_steps:,} steps at {speed:,.0f} images/s as just "
        f"measured, and {timing.peak_bytes / 2**30:.1f} GiB of memory."
    )


def write(path, plan, command):
    """Writes the plan as a flagfile with its reasons.

    Args:
      path: of the file; replaced as a whole or not at all.
      plan: `Plan`.
      command: str, how to train by it.
    """
    lines = [f"# {line}" for line in (_images(plan), expected(plan), command)]
    lines += ["", *_given(plan)]
    for name, setting in plan.settings.items():
        lines += ["", f"# {setting.why}", _flag(name, setting.value)]
    files.write_text(path, "\n".join(lines) + "\n")


def _few(plan):
    """A sentence, with an empty line, on images that are too few; or none."""
    count = plan.look.num_images
    if count >= FEW_IMAGES or plan.recipe.backbone.init_from:
        return []
    told = (
        f"{count:,} images are few to learn from nothing: on less than "
        f"{FEW_IMAGES:,}, do not expect more than pixels give. A network that "
        "somebody has published is a better start (--init_from, "
        "docs/backbones.md)."
    )
    return [textwrap.fill(told, _WIDTH), ""]


def _images(plan):
    return f"{plan.recipe.run.data}: {plan.look.in_words()}."


def _given(plan):
    """Flags that the user has settled; a plan is for any workdir."""
    return [_flag(n, v) for n, v in plan.given.items() if n != "workdir"]


def _flag(name, value):
    return f"--{name}={options.text(value)}"


def _line(name, setting):
    flag = _flag(name, setting.value)
    return textwrap.fill(
        f"{flag:<32} {setting.why}",
        _WIDTH,
        subsequent_indent=" " * 33,
        break_on_hyphens=False,
    )
