"""Whether a run may resume from a checkpoint, and with which flags.

A run resumes only as itself: with the flags and the images with which it
started, except for flags of the machine. `allow_config_change` allows other
flags if the state still fits them; other images are never allowed.
"""

import dataclasses

from tfclust.backbones.settings import is_from_keras
from tfclust.runs import recipes
from tfclust.runtime import terminal

_ANOTHER = "give another workdir; --init_from loads this one's backbone."


def check(recipe, about, saved, say=terminal.say):
    """Refuses to resume from another run's state; says what may differ.

    Args:
      recipe: the `Recipe` now.
      about: dict on the run now; gets `changes`, those of the run so far, each
        an object with `step` and `knobs`.
      saved: the `Checkpoint`.
      say: called with a sentence on changed flags, and one if results may
        differ in rounding.

    Returns:
      list of `(name, value then, value now)`: the knobs that changed.

    Raises:
      ValueError: if the images differ; if a flag differs and
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
            f"changed flags. Received: {told(changes)}: {error} Keep the flags "
            f"that set the shapes of weights or memories, or {_ANOTHER}"
        ) from error


def lasting(recipe):
    """The recipe without what applies only to one start."""
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
                f"{was}). Keep the old value, or {_ANOTHER}"
            )
    if changes and not recipe.run.allow_config_change:
        raise ValueError(
            f"{where} holds another run. Received: {told(changes)}. To resume "
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
        "have a row for each image, so no flag allows this. Train anew on "
        "these, from what this run has learnt: give another workdir and "
        f"--init_from={recipe.run.workdir}."
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
    but = ", except for these flags" if changes else ""
    sentence = (
        f"Resumes on a different setup: {'; '.join(changed)}. Images, their "
        f"order and crops are the same{but}. Sums may be taken in another "
        "order, so the next steps can differ in their last digits, and a long "
        "run may end with slightly different figures."
    )
    other_shares = now.get("replicas") != then.get("replicas")
    if other_shares and is_from_keras(recipe.backbone.backbone):
        sentence += (
            " Dropout layers of Keras's networks drop other units on another "
            "number of replicas."
        )
    say(sentence)


def told(changes):
    """The knobs that changed, in words, for a sentence."""
    return ", ".join(f"{name}={now} (was {was})" for name, was, now in changes)
