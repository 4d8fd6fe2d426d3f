"""When a run saves: at ends of epochs, at steps, and when asked to stop."""

import keras

from tfclust.runs import checkpoints
from tfclust.runtime import devices
from tfclust.training.callbacks import stopping


class Saver(keras.callbacks.Callback):
    """Saves at ends of epochs, at steps, and when asked to stop.

    Args:
      session: the `Session` to save; hosts that are not the chief write
        nothing.
      stop: a `StopRequest`.
    """

    def __init__(self, session, stop):
        super().__init__()
        self.session, self.stop = session, stop
        self.rate, self.losses = session.learning_rate(), stopping.Losses()
        self.steps_per_epoch = session.views.steps_per_epoch
        self.total_steps = session.total_steps
        self.saved_step = session.start_step

    def on_train_batch_end(self, batch, logs=None):
        done, every_steps = batch + 1, self.session.run.checkpoint_steps
        time_to_look = self.losses.add(done, logs["loss"])
        if time_to_look or self._epoch_ends(done):
            self._refuse_bad_losses()
        if self._epoch_ends(done):
            return  # the epoch's figures come first
        if self._must_stop():
            self.model.stop_training = True
            self._save(done)
        elif every_steps and done % every_steps == 0:
            self._save(done)

    def on_epoch_end(self, epoch, logs=None):
        done = int(logs["step"])
        if self._must_stop():
            self.model.stop_training = True
        due = (epoch + 1) % self.session.run.checkpoint_epochs == 0
        if due or self.model.stop_training or done == self.total_steps:
            self._save(done)

    def _epoch_ends(self, done):
        return done % self.steps_per_epoch == 0 or done == self.total_steps

    def _must_stop(self):
        strategy = self.model.distribute_strategy
        return devices.any_host(strategy, self.stop.asked)

    def _save(self, done):
        self._refuse_bad_losses()
        arrays = self.model.state()
        self._refuse_broken(arrays, done)
        session = self.session
        if session.chief:
            checkpoints.save(
                session.workdir,
                done,
                arrays,
                about=session.about,
                keep=session.run.keep_checkpoints,
                say=session.say,
            )
        self.saved_step = done
        if self.model.stop_training:
            # A launcher may end all hosts as soon as one has ended.
            devices.any_host(self.model.distribute_strategy, False)

    def _refuse_bad_losses(self):
        bad = self.losses.first_bad()
        if bad is not None:
            step, loss = bad
            self._refuse(f"the loss is {loss} at step {step:,}", step)

    def _refuse_broken(self, arrays, done):
        name = stopping.broken_array(arrays, self.model.unknown_as_nan)
        if name is not None:
            told = f"{name} holds NaN or infinity after step {done:,}"
            way = "Look for images that are all alike; l"
            self._refuse(told, done, way)

    def _refuse(self, told, step, way="L"):
        rate = float(self.rate(step - 1))
        saved = f"step {self.saved_step:,}" if self.saved_step else "none"
        again = ""
        if self.saved_step:
            again = " --allow_config_change then resumes from there."
        raise ValueError(
            f"{told}, with a learning rate of {rate:.4g}; nothing can be "
            f"learnt from here. Last good checkpoint: {saved}. {way}ower "
            f"learning_rate, or warm up longer (warmup_epochs).{again}"
        )
