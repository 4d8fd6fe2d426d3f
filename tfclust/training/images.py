"""The images that a run learns from, and those for testing."""

from tfclust import data
from tfclust.runs import folder, skipped
from tfclust.runtime import terminal
from tfclust.runtime.terminal import one_line
from tfclust.training import checks


def open_images(recipe, workdir, say=terminal.say, *, chief=True, told=False):
    """The images to learn from, and those that test the kNN, or None.

    Images left out are listed in the workdir: by the chief, except for later
    failures, which each host meets in its own part of a batch. `told` is
    whether a plan has said which these are.
    """
    run, left_out = recipe.run, []

    def list_left_out(entries):
        left_out.extend(entries)
        if chief:
            skipped.write(workdir, left_out, say)

    def opened(argument, uri, **knobs):
        try:
            source = data.open_source(
                uri,
                cache_dir=run.cache_dir or str(workdir / folder.CACHE),
                max_bad_share=run.max_bad_share,
                argument=argument,
                **knobs,
            )
        except data.UnreadableImages as error:
            list_left_out(error.skipped)
            where = workdir / folder.SKIPPED
            raise ValueError(f"{error} All are listed in {where}.") from error
        list_left_out(source.skipped)
        for sentence in () if told else data.left_out(source):
            say(sentence)
        source.when_failing(
            lambda *failure: _tell_failure(workdir, say, *failure)
        )
        return source

    source = opened(
        "data",
        run.data,
        max_images=run.max_images,
        class_shares=run.class_shares,
        imbalance=run.imbalance,
    )
    checks.check_stream(recipe, source)
    checks.check_count(source)
    if not run.eval_data:
        return source, None
    test = opened("eval_data", run.eval_data)
    checks.check_test_images(source, test)
    return source, test


def _tell_failure(workdir, say, name, reason):
    shown = one_line(name)
    say(f"Replaced by others from now on: {shown}: {reason}")
    try:
        skipped.add(workdir, name, reason)
    except OSError as error:  # a list is not a reason to end a run
        say(f"It could not be listed in {folder.SKIPPED}: {error.strerror}.")


def make_views(recipe, source, say=terminal.say):
    """The `data.Views` of a recipe; says what is kept in memory."""
    run = recipe.run
    views = data.Views(
        source,
        recipe.views,
        batch_size=run.batch_size,
        seed=run.seed,
        image_size=run.image_size,
        resize_size=run.resize_size,
    )
    if views.stored is not None:
        say(views.stored.in_words())
    return views
