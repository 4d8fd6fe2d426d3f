"""Whether a run may go on from a checkpoint, and with which flags.

A run goes on only as itself: with the flags and the images that it began with,
but for those of the machine. `allow_config_change` lets other flags through
where the state still fits them; other images never pass.
"""

import dataclasses

from tfclust.backbones.settings import APPLICATIONS
from tfclust.runs import recipes
from tfclust.runtime import terminal

_ANOTHER = "give another workdir; --init_from takes over this one's backbone."


def check(recipe, about, saved, say=terminal.say):
    """Refuses to go on with another run's state; says what may differ.

    Args:
      recipe: the `Recipe` now.
      about: dict of the run now; gets `changes`, those of the run so far, an
        object with `step` and `knobs` each.
      saved: the `Checkpoint`.
      say: called with a sentence on changed flags, and one where results may
        differ in rounding.

    Returns:
      list of `(name, value then, value now)`: the knobs that changed.

    Raises:
      ValueError: if the images are others; if a flag is another and
        `allow_config_change` is off, or the flag cannot change.
    """
    changes = recipes.differences(recipe, saved.about["recipe"])
    _check_flags(recipe, changes)
    _check_images(recipe, about, saved)
    about["changes"] = list(saved.about.get("changes", []))
    if changes:
        knobs = {name: [was, now] for name, was, now in changes}
        about["changes"].append({"step": saved.step, "knobs": knobs})
        say(f"Other flags from step {saved.step:,} on: {told(changes)}.")
    _tell_machine(recipe, about, saved, changes, say)
    return changes


def load_state(method, recipe, saved, changes):
    """Gives the method the checkpoint's state.

    Args:
      method: the `Method`, prepared.
      recipe: the `Recipe` now. saved: the `Checkpoint`.
      changes: what `check` returned.

    Raises:
      ValueError: if the state does not fit the changed flags.
    """
    try:
        method.load_state(saved.arrays)
    except ValueError as error:
        if not changes:
            raise
        raise ValueError(
            f"workdir={recipe.run.workdir} holds a state that does not fit the "
            f"changed flags. Received: {told(changes)}: {error} Leave what "
            f"gives weights or memories their shape as it was, or {_ANOTHER}"
        ) from error


def lasting(recipe):
    """The recipe without what holds for one start alone."""
    run = dataclasses.replace(
        recipe.run, allow_config_change=False, start_anew=False
    )
    return recipe._replace(run=run)


def _check_flags(recipe, changes):
    where = f"workdir={recipe.run.workdir}"
    about = recipes.knobs_of(recipe)
    for name, was, now in changes:
        if about[name].resume == "never":
            raise ValueError(
                f"{where} holds a run whose {name} cannot change: "
                f"{about[name].why_never}. Received: {name}={now} (was "
                f"{was}). Leave it as it was, or {_ANOTHER}"
            )
    if changes and not recipe.run.allow_config_change:
        raise ValueError(
            f"{where} holds another run. Received: {told(changes)}. To go on "
            "with these flags add --allow_config_change; to keep that run, "
            + _ANOTHER
        )


def _check_images(recipe, about, saved):
    if about["data_digest"] == saved.about["data_digest"]:
        return
    raise ValueError(
        f"workdir={recipe.run.workdir} holds a run on other images: "
        f"{saved.about['views']['num_images']} then, "
        f"{about['views']['num_images']} now, or changed files. Its memories "
        "have a row for each image, so that no flag allows it. "
        + _ANOTHER.capitalize()
    )


def _tell_machine(recipe, about, saved, changes, say):
    now, then = about["machine"], saved.about["machine"]
    changed = [
        f"{name} {was} then, {now.get(name)} now"
        for name, was in then.items()
        if now.get(name) != was
    ]
    if not changed:
        return
    but = ", but for these flags" if changes else ""
    sentence = (
        f"Goes on elsewhere: {'; '.join(changed)}. Images, their order and "
        f"crops stay the run's{but}. Sums may be taken in another order, so "
        "the next steps can differ in their last digits, and a long run may "
        "end a little elsewhere."
    )
    other_shares = now.get("replicas") != then.get("replicas")
    if other_shares and recipe.backbone.backbone in APPLICATIONS:
        sentence += (
            " Layers of keras.applications that drop units drop others on "
            "another number of replicas."
        )
    say(sentence)


def told(changes):
    """The knobs that changed, in words, for a sentence."""
    return ", ".join(f"{name}={now} (was {was})" for name, was, now in changes)
