"""What a plan settles: knobs that suit the images, the machine and the time."""

from typing import Any, NamedTuple

from tfclust.data.views.sizes import stored_size_needed
from tfclust.engine.planning import VIEWS, PlanFacts, Setting
from tfclust.runs.recipes import Recipe
from tfclust.runtime import cores
from tfclust.training.planning.limits import Limits
from tfclust.training.planning.looking import Look
from tfclust.training.planning.starting import Start

_SMALL_SIDE, _LARGE_SIDE = 32, 224  # pixels, without and with a GPU
_TRAINED_SIDE = 96  # published networks say little of smaller images
_SMALL_BATCH, _LARGE_BATCH = 64, 256
_BLUR_SIDE = 96  # pixels
_STEM_SIDE = 64  # pixels; above it, ResNets are worth their first pooling
_FROZEN_STAGES = 2  # the stem is the first
_MOST_STORED = 50_000  # images


class Machine(NamedTuple):
    """What trains."""

    gpu: bool
    replicas: int = 1  # that share a batch evenly
    most_rows: int | None = None  # of a batch, if memory has been seen to end


class Known(NamedTuple):
    """What is known before anything is settled."""

    draft: Recipe  # of what is given
    given: dict[str, Any]  # by knob
    look: Look  # at the images
    machine: Machine
    start: Start | None = None  # from given weights
    limits: Limits = Limits()


def facts(known, total_steps):
    """The `PlanFacts` of a run of so many steps.

    Args:
      known: `Known`.
      total_steps: int.
    """
    given, look, limits = known.given, known.look, known.limits
    sides = given.get("view_sizes") or (given.get("image_size"),)
    return PlanFacts(
        num_images=look.num_images,
        batch_size=given.get("batch_size", _batch(known)),
        view_size=sides[0] or limits.within(_side(known)),
        total_steps=total_steps,
        accelerated=known.machine.gpu,
        trained=known.start is not None,
        least_size=limits.least,
        one_size=limits.one_size,
        given=given,
    )


def _side(known):
    """Pixels that the images have and the machine carries."""
    gpu, start = known.machine.gpu, known.start
    largest = _SMALL_SIDE
    if gpu or start:
        largest = _LARGE_SIDE if gpu else _TRAINED_SIDE
    if start and start.image_size:
        largest = min(largest, start.image_size)
    return min(largest, max(8, known.look.short_side // 4 * 4))


def _batch(known):
    """Images that the machine carries in a step, a whole number a replica."""
    machine = known.machine
    batch = _LARGE_BATCH if machine.gpu else _SMALL_BATCH
    batch = min(batch, max(2, known.look.num_images // 4))
    batch = min(batch, machine.most_rows or batch)
    return max(1, batch // machine.replicas) * machine.replicas


def settle(known, facts):
    """`{knob: Setting}` of everything but the length.

    Args:
      known: `Known`. facts: `PlanFacts`.
    """
    draft, given, look = known.draft, known.given, known.look
    settings = {
        **_network(facts, known),
        **_given_network(draft.backbone, known.start),
        **_colours(facts, look),
        "on_trouble": Setting(
            "stop", "nobody need watch a run that learns nothing"
        ),
        # A method may settle any of these otherwise.
        **type(draft.method).plan(facts),
    }
    settings |= _beside_given(settings, given)
    return {**settings, **_stored(settings, facts, look)}


def _beside_given(settings, given):
    """Views of fewer sizes, if what is given of them has fewer entries."""
    for name in VIEWS:
        count = max(1, len(given.get(name, ())))  # no sizes are one
        if name in given and count < len(settings["view_sizes"].value):
            why = f"for as many sizes of views as {name} is given for"
            return {n: Setting(settings[n].value[:count], why) for n in VIEWS}
    return {}


def _network(facts, known):
    size, gpu = facts.view_size, facts.accelerated
    where = "a GPU" if gpu else "a CPU"
    short = known.look.short_side
    carried = f"what {where} carries of a short side of {short:,} pixels"
    if size == known.limits.least:
        carried = "the least that the network takes"
    rows = f"{facts.steps_per_epoch:,} steps an epoch"
    if known.machine.most_rows:
        rows += "; more images did not fit into the memory"
    backbone = "small"
    if gpu:
        backbone = "resnet18" if size <= _STEM_SIDE else "resnet50"
    return {
        "backbone": Setting(backbone, f"what {where} trains at {size} pixels"),
        "image_size": Setting(size, carried),
        "batch_size": Setting(facts.batch_size, rows),
        "mixed_precision": _precision(gpu),
    }


def _given_network(config, start):
    if start is None:
        return {}
    why = f"what {config.init_from} holds weights of"
    stages = _FROZEN_STAGES
    if config.init_stages is not None:  # of which the stem is not counted
        stages = min(stages, 1 + config.init_stages)
    return {
        **{name: Setting(value, why) for name, value in start.knobs.items()},
        "frozen_stages": Setting(
            stages, "edges and colours, which given weights know already"
        ),
    }


def _stored(settings, facts, look):
    """Images that are larger than their views need are shrunk once."""
    sizes, scales = (
        facts.given.get(name, settings[name].value)
        for name in ("view_sizes", "view_scales")
    )
    sizes = sizes or (facts.view_size,)
    if len(sizes) != len(scales) or min(map(min, scales)) <= 0:
        return {}  # which a run refuses
    side = stored_size_needed(sizes, scales)
    if look.short_side <= side or look.num_images > _MOST_STORED:
        return {}
    why = "what the smallest crops need; shrunk once and kept in memory"
    return {"stored_size": Setting(side, why)}


def _precision(gpu):
    if gpu or not cores.multiplies_bfloat16():
        return Setting("none", "float32, which every processor computes")
    return Setting(
        "bfloat16", "this processor's matrix units take it: twice as fast"
    )


def _colours(facts, look):
    small, given = facts.view_size < _BLUR_SIDE, facts.given
    settings = {}
    if small:
        settings["antialias_from"] = Setting(2.0, "twice as fast to cut")
    if "augmentation" in given:
        return settings  # changes as they are there
    if small:
        settings["blur_probability"] = Setting(
            (0.0,), f"below {_BLUR_SIDE} pixels nothing is sharp (SimCLR, B.9)"
        )
    if "color_jitter" not in given:  # of which it is a factor
        settings["jitter_strength"] = Setting(
            0.5 if small else 1.0,
            "half of SwAV's at few pixels (SimCLR, B.9)"
            if small
            else "SwAV's own",
        )
    return {
        **settings,
        "flip_probability": Setting(
            0.5,
            "nobody can know from the images whether a mirrored one means "
            "something else, as a letter does: --flip_probability=0 then",
        ),
        "grey_probability": Setting(
            0.0 if look.grey else 0.2,
            "the images are grey"
            if look.grey
            else "SwAV's own; where colours alone tell groups apart: "
            "--grey_probability=0 --jitter_strength=0.2",
        ),
    }
