"""Plans from figures made up here, without training anything."""

from tfclust.engine.planning import draft_of
from tfclust.runs import recipes
from tfclust.training.planning import lengths, settling
from tfclust.training.planning.limits import Limits
from tfclust.training.planning.looking import Look
from tfclust.training.planning.timing import Timing

TIMING = Timing(
    start_seconds=20.0,
    step_seconds=0.2,
    label_seconds=1.0,  # a pass
    knn_seconds=2.0,
    end_seconds=0.0,
    peak_bytes=2**30,
)


ANY_SIZE = Limits()
CPU, GPU = (settling.Machine(gpu=gpu) for gpu in (False, True))


def looked_at(num_images, short_side=100, grey=False):
    return Look(num_images, short_side, 2 * short_side, grey, 0.3)


def given_for(method, **knobs):
    labels = {"pseudo_labels": "source"} if method == "fixed_labels" else {}
    return {"method": method, "data": "digits:", **labels, **knobs}


def planned(look, *args, **given):
    """The recipe of a plan, and its settings, from figures made up here."""
    return planned_with_facts(look, *args, **given)[:2]


def planned_with_facts(
    look,
    minutes=15.0,
    machine=CPU,
    start=None,
    limits=ANY_SIZE,
    timing=TIMING,
    **given,
):
    """The same and the `PlanFacts`."""
    some = {} if {"epochs", "steps"} & set(given) else {"steps": 9}
    draft = recipes.make_recipe(**draft_of(given), **some)
    known = settling.Known(draft, given, look, machine, start, limits)
    facts = settling.facts(known, 2000)
    length = lengths.length(facts, timing, minutes, given, passes=1.0)
    facts = facts._replace(total_steps=length.steps)
    settings = {
        **settling.settle(known, facts),
        **lengths.by_time(facts, timing, length),
    }
    values = {name: setting.value for name, setting in settings.items()}
    return recipes.make_recipe(**{**values, **given}), settings, facts
