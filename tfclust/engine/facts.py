"""What is known of a run before its first step."""

from typing import NamedTuple


class RunFacts(NamedTuple):
    """What a method's config may use to judge its knobs and its figures."""

    num_images: int
    batch_size: int
    total_steps: int  # optimizer steps of the run
    steps_per_epoch: int
    warmup_steps: int = 0  # in which the learning rate is 0 or still rises
    learning_rate: float | None = None  # the largest; None if unknown
    jitter_strength: float | None = None  # 0 without colours; None if unknown
    stored_size: int | None = None  # pixels; None if images are not stored
    antialias_from: float | None = None  # None if unknown

    def counted_steps(self, figures):
        """Steps of the epoch that an epoch's figures sum up."""
        return (figures["step"] - 1) % self.steps_per_epoch + 1

    def counted_images(self, figures):
        """Images that an epoch's counts of clusters sum up."""
        return self.counted_steps(figures) * self.batch_size


def facts_of(views, total_steps, **more):
    """`RunFacts` of `data.Views`; `more` are fields that views do not know."""
    return RunFacts(
        num_images=views.num_images,
        batch_size=views.batch_size,
        total_steps=total_steps,
        steps_per_epoch=views.steps_per_epoch,
        **more,
    )
