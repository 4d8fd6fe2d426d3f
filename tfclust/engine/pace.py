"""How long the rest of a run takes, by what its steps and epochs took.

An epoch costs more than its steps: images are regrouped, figures computed,
neighbours looked up, the state is saved. All of that counts once per epoch,
whatever part of one has been trained. What happens once in a command, such as
tracing the step, counts for nothing that is still to come; neither does what
comes before the first epoch's first step, unless later epochs label all images
as that one does.
"""

import math
import time


class Pace:
    """Measures a run between its first step and its last.

    Args:
      facts: `RunFacts`.
      start_step: int, steps done before.
      labels_again: whether later epochs begin by a pass over all images for
        labels, as the first one may.
    """

    def __init__(self, facts, start_step, labels_again=False):
        self.facts, self.step = facts, start_step
        self._labels_again = labels_again
        self._traced = start_step  # the step that is traced
        self._step_seconds = 0.0  # of all timed steps
        self._timed = 0
        self._cycles: list[float] = []  # seconds of whole epochs besides steps
        self._epoch_steps = 0  # of this epoch, without the traced one
        self._once_seconds = 0.0  # in this epoch, for none that comes
        self._began = self._step_began = time.perf_counter()

    def step_begins(self):
        """Called before a step."""
        self._step_began = time.perf_counter()
        if self.step == self._traced and not self._labels_again:
            self._once_seconds = self._step_began - self._began

    def step_ends(self):
        """Called after it."""
        seconds = time.perf_counter() - self._step_began
        # The first step of an epoch also fills the pipeline.
        first = self.step % self.facts.steps_per_epoch == 0
        if self.step == self._traced:
            self._once_seconds += seconds
        else:
            self._epoch_steps += 1
            self._timed += not first
            self._step_seconds += 0.0 if first else seconds
        self.step += 1

    def epoch_ends(self):
        """Called when an epoch's line is due."""
        self._cycles.append(self._besides())
        self._began = time.perf_counter()
        self._epoch_steps, self._once_seconds = 0, 0.0

    def images_per_second(self):
        """Over the timed steps; None before one."""
        if not self._step_seconds:
            return None
        return self.facts.batch_size * self._timed / self._step_seconds

    def seconds_left(self):
        """Until the last step is done; None if nothing has been timed."""
        per_epoch = self.facts.steps_per_epoch
        total = self.facts.total_steps
        ends = math.ceil(total / per_epoch) - self.step // per_epoch
        steps = total - self.step
        if not self._timed and not self._cycles:
            return None
        # The first epoch also traced its figures, and may be part of one.
        known = self._cycles[1:] or self._cycles or [self._besides()]
        return steps * self._mean_step() + ends * sum(known) / len(known)

    def _mean_step(self):
        """Seconds; 0 in epochs of one step, whose time is all besides."""
        return self._step_seconds / max(1, self._timed)

    def _besides(self):
        """Seconds of this epoch that its steps do not account for."""
        passed = time.perf_counter() - self._began - self._once_seconds
        return max(0.0, passed - self._epoch_steps * self._mean_step())
