"""Training that goes on where it was, whatever stopped it."""

import signal
import sys
import time
import warnings

import keras

from mmkeras.training import fitting, snapshot
from mmkeras.training.checkpoint import Checkpoints, Reader
from mmkeras.training.identity import GROUPS, check_same, differences, identify
from mmkeras.training.signals import Signals

# As in sysexits.h: EX_TEMPFAIL, "the user is invited to retry", and EX_IOERR.
STOPPED, NOT_SAVED = 75, 74
RETRY_SECONDS = 60


class Resume(keras.callbacks.Callback):
    """Makes `fit` go on where it was when the same script is run again.

    A run that was stopped at any moment, by `kill -9` too, and run again ends with the same
    weights, bit for bit, and the same history as one that was never stopped, where the operations
    are deterministic: on a CPU after `tf.config.experimental.enable_op_determinism()`. Kept are
    weights, the optimizer's variables (slots, steps, averages), seeds of dropout, metrics in the
    middle of an epoch, the history, and what other callbacks have changed of their attributes
    (early stopping, plateaus) as far as it is plain values. A run that is complete returns at once,
    with its history.

    Args:
        directory: of this `fit` alone, on a local disk or any file system with `rename` and
            `flock`; made if there is none.
        every_steps: save whenever so many steps were taken since the last time.
        every_minutes: save whenever so many minutes have gone by. With neither, every epoch is
            saved at its end. The end of training always is.
        keep: how many checkpoints stay; two, should the disk damage one.
        background: whether training goes on while a checkpoint is written. Its values are copied
            at their step, and there is never more than one at a time.
        allow: what may differ from the run in the checkpoint, then taken from this one: a list of
            `"model"`, `"compile"`, `"data"`, `"validation"`, `"callbacks"`, or longer names as the
            error says them, such as `"compile.optimizer.config.learning_rate"`.

    Ends:
        `SIGINT` (Ctrl-C) or `SIGTERM` finishes the step, saves and leaves with exit code 75
        (`EX_TEMPFAIL`: run it again), or 74 if it could not save; a second one leaves at once, with
        128 and its number. Weights that are not finite are not saved, with a warning. A disk that
        is full, or any other fault of writing, is a warning; it is tried again a minute later.

    Several workers:
        All are given the same `directory`, which all must see; the first one writes it. They save
        at the same steps, so that `every_minutes` is not for them. None can save without the
        others: one that gets a signal leaves with 75 and what was saved before, and the others,
        for want of it, with an error.

    Relies on:
        `mm.dataset`, given to `fit` as it is, without `steps_per_epoch`: its batches follow from
        seed, epoch and step, and those before the step are not read. Keras 3.15: a callback is told
        neither the data nor the other callbacks, so it looks at the local variables of `fit`. With
        another Keras it warns. Files that data or callbacks read or write are their own affair
        (`CSVLogger` needs `append=True`), as is randomness from elsewhere than Keras layers.

    Raises:
        ValueError: an argument is wrong; `directory` cannot be written to, or holds checkpoints of
            which none verifies; or model, compilation, data or callbacks differ from those in the
            checkpoint, saying how.
        RuntimeError: another process is training in `directory`.

    Example:

    ```python
    import mmkeras as mm

    data = mm.dataset(train, model.preprocessor, 64, shuffle=True)
    model.fit(data, epochs=20, callbacks=[mm.Resume("runs/captions", every_minutes=10)])
    ```
    """

    def __init__(
        self,
        directory,
        every_steps=None,
        every_minutes=None,
        keep=2,
        background=False,
        allow=(),
    ):
        super().__init__()
        for name, value in {"every_steps": every_steps, "keep": keep}.items():
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(
                    f"`{name}` should be a whole number above 0. Received: {name}={value!r}"
                )
        if every_minutes is not None and not every_minutes > 0:
            raise ValueError(
                f"`every_minutes` should be above 0. Received: every_minutes={every_minutes!r}"
            )
        if isinstance(allow, str) or not all(str(n).split(".")[0] in GROUPS for n in allow):
            raise ValueError(
                f"`allow` should be a list of names that begin with one of {list(GROUPS)}. "
                f"Received: allow={allow!r}"
            )
        self.directory = directory
        self.every_steps = every_steps
        self.every_minutes = every_minutes
        self.keep = keep
        self.background = background
        self.allow = allow

    def on_train_begin(self, logs=None):
        fit = fitting.Fit(self.model)
        keeper = _Keeper(self, fit)
        keeper.set_params(self.params)
        keeper.set_model(self.model)
        # Last in the list, so that it sees what all others did, and they do not what it does.
        fit.callbacks.callbacks.append(keeper)


class _Keeper(keras.callbacks.Callback):
    """Restores a run once all other callbacks have begun, and saves what they have all done.

    A place in a run is an epoch and how many of its steps were taken; all of them, if it was
    stopped in validation.
    """

    def __init__(self, options, fit):
        super().__init__()
        self.options = options
        self.fit = fit
        kinds = (Resume, keras.callbacks.ProgbarLogger)
        self.others = [each for each in fit.callbacks.callbacks if not isinstance(each, kinds)]
        self.signals = Signals(fit)
        self.found = None
        self.epoch, self.step, self.data_epoch = 0, 0, 0
        self.before_validation = None
        self.unsaved, self.saved_at, self.retry_at = 0, time.monotonic(), None

    def on_train_begin(self, logs=None):
        self.cluster = self.fit.cluster
        self.checkpoints = self._open()
        try:
            data, validation = self.fit.data, self.fit.validation
            self.identity = identify(self.model, data, validation)
            self.fresh = [snapshot.attributes(each) for each in self.others]
            self.found = self.checkpoints.read()
            self._agree()
            if self.found is not None:
                self._go_on()
        except BaseException:
            self.checkpoints.close()
            raise
        self.signals.watch()

    def _open(self):
        if self.cluster is None:
            return Checkpoints(self.options.directory, self.options.keep)
        if self.options.every_minutes is not None:
            raise ValueError(
                "`every_minutes` should be None with several workers, whose clocks differ: say "
                f"`every_steps`. Received: every_minutes={self.options.every_minutes}"
            )
        if self.cluster.leads:
            return Checkpoints(self.options.directory, self.options.keep)
        return Reader(self.options.directory)

    def _agree(self):
        """Whether all workers have found the same checkpoint."""
        if self.cluster is None:
            return
        state = {"epoch": 0, "step": 0} if self.found is None else self.found[1]
        places = self.cluster.all_of([state["epoch"], state["step"]])
        if (places != places[0]).any():
            raise ValueError(
                "`directory` should be one that all workers see, such as a shared disk. Received: "
                f"directory={str(self.options.directory)!r}, where they find checkpoints of these "
                f"epochs and steps: {places.tolist()}"
            )

    def _go_on(self):
        _, state = self.found
        self.fit.build(midway=state["step"] > 0)
        other = differences(state["identity"], self.identity)
        _, missing = snapshot.match(self.others, state["callbacks"])
        other |= {f"callbacks.{name}": "in the checkpoint, nothing now" for name in missing}
        faults = snapshot.compare_variables(self._groups(state), state["variables"])
        check_same(other, faults, self.options.allow)
        self.rate_is_new = any(name.endswith("learning_rate") for name in other)
        self._put_back()
        epochs = self.params["epochs"]
        is_over = state["epoch"] >= epochs or (state["stopped"] and not state["step"])
        self.fit.begin_at_epoch(epochs if is_over else state["epoch"])
        self.epoch, self.step = state["epoch"], state["step"]
        if self.params["verbose"]:
            text = "the training is complete" if is_over else f"going on at {self._place()}"
            print(f"{self.options.directory}: {text}", flush=True)

    def _groups(self, state):
        groups = snapshot.variables(self.model, midway=state["step"] > 0)
        made = bool(state["variables"]["random"])
        return {**groups, "random": [fitting.random_state(make=True)] if made else []}

    def _put_back(self):
        arrays, state = self.found
        snapshot.put_variables(self._groups(state), state["variables"], arrays, self.rate_is_new)
        for callback, taken in snapshot.match(self.others, state["callbacks"])[0]:
            snapshot.put_attributes(callback, taken, arrays)
        if hasattr(self.fit.validation, "epoch"):
            self.fit.validation.epoch = state["validation_epoch"]
        self.fit.data.epoch = state["data_epoch"]  # which may be the same data

    def on_epoch_begin(self, epoch, logs=None):
        self.fit.begin_at_epoch(None)
        self.epoch, self.step = epoch, 0
        if self.found is not None and self.found[1]["step"]:
            # Once more: `fit` has cleared the metrics, and callbacks may have begun the epoch anew.
            self._put_back()
            self.step = self.found[1]["step"]
            self.fit.begin_at_step(self.step)
            self.model.stop_training = self.found[1]["stopped"]
            self.data_epoch = self.found[1]["data_epoch"]
        else:
            self.data_epoch = self.fit.data.epoch
        self.found = None

    def on_train_batch_begin(self, batch, logs=None):
        self._advance(batch)
        self._pause()

    def on_test_begin(self, logs=None):
        self._advance(self.fit.steps)
        self.before_validation = self._volatile(snapshot.volatile(self.model))

    def on_test_batch_begin(self, batch, logs=None):
        if self.signals.received:
            self.model.stop_evaluating = True

    def on_test_end(self, logs=None):
        if self.signals.received:
            self._leave()
        self.before_validation = None

    def on_epoch_end(self, epoch, logs=None):
        self._advance(self.fit.steps)
        self.epoch, self.step, self.data_epoch = epoch + 1, 0, self.fit.data.epoch
        self._pause(
            epoch_over=True, last=self.model.stop_training or self.epoch == self.params["epochs"]
        )

    def on_train_end(self, logs=None):
        self._end()
        if self.signals.received:  # since the last epoch was saved
            self._exit(saved=self.retry_at is None)

    def _volatile(self, some):
        """The values of variables and the epoch of the validation data, which it will change."""
        return snapshot.copy(some), getattr(self.fit.validation, "epoch", None)

    def _advance(self, step):
        self.unsaved += step - self.step
        self.step = step

    def _pause(self, epoch_over=False, last=False):
        """Between two steps: saves or leaves if it is time to."""
        if not self.checkpoints.busy:
            self._settle()
        if self.signals.received:
            self._leave()
        elif last or self._is_due(epoch_over):
            self._save(wait=last or not self.options.background)

    def _is_due(self, epoch_over):
        steps, minutes = self.options.every_steps, self.options.every_minutes
        # Of several workers each has to come to the same answer.
        if self.retry_at is not None and self.cluster is None:
            return time.monotonic() >= self.retry_at
        if steps is None and minutes is None:
            return epoch_over
        if self.checkpoints.busy and self.cluster is None:
            return False
        past = time.monotonic() - self.saved_at
        return (steps is not None and self.unsaved >= steps) or (
            minutes is not None and past >= 60 * minutes
        )

    def _save(self, wait):
        self._settle()
        spoilt = self._spoilt()
        if spoilt is not None:
            warnings.warn(
                f"{self.options.directory}: not saved at {self._place()}, because {spoilt!r} is "
                "not finite. The checkpoint before stays.",
                stacklevel=2,
            )
            return False
        arrays = {}
        earlier, validation_epoch = self.before_validation or self._volatile([])
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "stopped": bool(self.model.stop_training),
            "data_epoch": self.data_epoch,
            "validation_epoch": validation_epoch,
            "variables": snapshot.take_variables(
                snapshot.variables(self.model, midway=self.step > 0), arrays, earlier
            ),
            "callbacks": [
                (type(each).__name__, snapshot.take_attributes(each, fresh, arrays))
                for each, fresh in zip(self.others, self.fresh, strict=True)
            ],
            "identity": self.identity,
        }
        self.checkpoints.start(arrays, state)
        self.unsaved, self.saved_at, self.retry_at = 0, time.monotonic(), None
        return not wait or self._settle()

    def _spoilt(self):
        """The path of a weight with NaN or infinity, None if all are good."""
        for weight in self.model.trainable_weights:
            if not bool(keras.ops.all(keras.ops.isfinite(weight))):
                return weight.path
        return None

    def _settle(self):
        """Waits for what is being written; whether it could be."""
        try:
            self.checkpoints.wait()
        except OSError as error:
            self.retry_at = time.monotonic() + RETRY_SECONDS
            warnings.warn(
                f"{self.options.directory}: no checkpoint could be written before {self._place()}. "
                f"Training goes on, and tries again in {RETRY_SECONDS} seconds. {error}",
                stacklevel=2,
            )
            return False
        return True

    def _leave(self):
        saved = self.cluster is None and self._save(wait=True)
        self._end()
        self._exit(saved)

    def _exit(self, saved):
        name = signal.Signals(self.signals.received).name
        done = "saved" if saved else "NOT saved" if self.cluster is None else "as last saved"
        place = f"stopped at {self._place()}, {done} in {self.options.directory}"
        print(f"\n{name}: {place}.", file=sys.stderr, flush=True)
        raise SystemExit(STOPPED if saved or self.cluster else NOT_SAVED)

    def _place(self):
        return f"epoch {self.epoch + 1}, step {self.step} of {self.fit.steps}"

    def _end(self):
        self._settle()
        self.signals.forget()
        self.checkpoints.close()
        self.fit.begin_at_epoch(None)
        self.fit.callbacks.callbacks.remove(self)
