"""Where `fit` of Keras stands, and how it begins in the middle of an epoch.

Keras tells a callback neither the data nor the other callbacks (keras #14862), and has no words for
a step to begin at; so this reads the local variables of `fit` and sets what is private. It is all
of that in one place, as Keras 3.15 has it.
"""

import sys
import warnings

import keras
from keras.src.backend.common.global_state import get_global_attribute
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR, global_seed_generator

VERIFIED = "3.15."


class Fit:
    """The `fit` that has called a callback.

    Attributes:
        callbacks: its `keras.callbacks.CallbackList`.
        data: its `x`, what `mm.dataset` returns.
        validation: its `validation_data`.
        steps: batches in an epoch.
        cluster: the strategy, if there are several workers; else None.

    Raises:
        RuntimeError: no `fit` has called, or one that this does not know.
        ValueError: `data` is something else, or an epoch is not one pass over it.
    """

    def __init__(self, model):
        found = next(running(sys._getframe()), None)
        if found is None:
            raise RuntimeError(
                f"`Resume` knows `fit` of Keras {VERIFIED}x. Received: Keras {keras.__version__}, "
                "which does not call it the same way"
            )
        if not keras.__version__.startswith(VERIFIED):
            warnings.warn(
                f"`Resume` was verified with Keras {VERIFIED}x, and this is {keras.__version__}: "
                "compare a run that was stopped with one that was not.",
                stacklevel=4,
            )
        self.model = model
        strategy = model.distribute_strategy
        self.cluster = strategy if hasattr(strategy, "leads") else None
        self.callbacks = found["callbacks"]
        self.data = found["x"]
        self.validation = found["validation_data"]
        self._iterator = found["epoch_iterator"]
        self.steps = self._iterator.num_batches
        if not hasattr(self.data, "from_step"):
            raise ValueError(
                "`fit` should be given what `mm.dataset` returns, as it is, to be resumed in the "
                f"middle of an epoch. Received: x={self.data!r:.200}"
            )
        if found["steps_per_epoch"] is not None:
            raise ValueError(
                "`fit` should be without `steps_per_epoch` to be resumed: an epoch is one pass "
                f"over the data. Received: steps_per_epoch={found['steps_per_epoch']}"
            )

    def is_running(self, frame):
        """Whether this `fit` is what a frame was called from."""
        return any(found["callbacks"] is self.callbacks for found in running(frame))

    def begin_at_epoch(self, epoch):
        """To be called before the first epoch; `None` afterwards, or the next `fit` would too."""
        self.model._initial_epoch = epoch

    def begin_at_step(self, step):
        """To be called when the epoch begins; its first batches are neither read nor counted."""
        iterator, model = self._iterator, self.model

        def rest():
            del iterator._enumerate_iterator
            size = iterator.steps_per_execution
            strategy = model.distribute_strategy
            left = self.data.from_step(min(step, self.steps))
            batches = iter(strategy.experimental_distribute_dataset(left))
            for begin in range(step, self.steps, size):
                yield begin, begin + size - 1, batches

        def whole(logs):
            del model._get_metrics_result_or_logs
            return model.get_metrics_result()

        iterator._enumerate_iterator = rest
        if step >= self.steps:
            # No step is left, so none gives the logs of the epoch, nor reads the data.
            model._get_metrics_result_or_logs = whole
            self.data.epoch += 1

    def build(self, midway):
        """Makes the variables that `fit` would make in its first step, metrics if it is midway."""
        with self.model.distribute_strategy.scope():
            if midway:
                self.model._symbolic_build(data_batch=self.data.element_spec)
            elif not self.model.optimizer.built:
                self.model.optimizer.build(self.model.trainable_variables)


def running(frame):
    """The local variables of each `fit` that a frame was called from, the innermost first."""
    while frame is not None:
        code = frame.f_code
        if code.co_name == "fit" and {"epoch_iterator", "callbacks"} <= {*code.co_varnames}:
            yield frame.f_locals
        frame = frame.f_back


def random_state(make=False):
    """The variable of `keras.random` for what has no seed of its own; None if there is none yet."""
    generator = global_seed_generator() if make else get_global_attribute(GLOBAL_SEED_GENERATOR)
    return generator and generator.state
