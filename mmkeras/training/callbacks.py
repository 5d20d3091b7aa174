"""Callbacks that Keras lacks."""

import math
import sys

import keras

from mmkeras.training import fitting
from mmkeras.training.diagnosis import diagnose, listed


class StopOnNaN(keras.callbacks.Callback):
    """Stops with an error as soon as the loss is not finite, and says where that came from.

    Keras's `TerminateOnNaN` ends `fit` as if all were well. Of data that `mm.dataset` made, the
    error names the records of the batch and the first tensor that is not finite. The weights are
    spoilt by then, unless the optimizer leaves out such steps, as
    `keras.optimizers.LossScaleOptimizer` does; what `Resume` saved before is whole.

    Args:
        patience: how many steps in a row may be left out before it stops. Their loss counts for
            nothing. With any, `fit` needs a `LossScaleOptimizer`, of `initial_scale=1.0` if it is
            for nothing else.

    Attributes:
        skipped: how many steps were left out.

    Raises:
        FloatingPointError: naming epoch, step and tensor, and what to try.
        ValueError: `patience` is no whole number, or the optimizer takes such steps.

    Example:

    ```python
    import mmkeras as mm

    model.fit(data, callbacks=[mm.StopOnNaN()])
    ```
    """

    def __init__(self, patience=0):
        super().__init__()
        if not isinstance(patience, int) or patience < 0:
            raise ValueError(
                f"`patience` should be a whole number from 0 on. Received: patience={patience!r}"
            )
        self.patience = patience
        self.skipped = 0
        self._in_row = 0

    def on_train_begin(self, logs=None):
        skips = isinstance(self.model.optimizer, keras.optimizers.LossScaleOptimizer)
        if self.patience and not skips:
            raise ValueError(
                "`patience` should be 0 with an optimizer that takes every step; "
                "`keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1.0)` leaves out "
                f"those that are not finite. Received: patience={self.patience}"
            )
        self._loss = None

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._loss = None

    def on_train_batch_end(self, batch, logs=None):
        loss = float((logs or {}).get("loss", 0.0))
        if math.isfinite(loss):
            self._in_row = 0
            if self.patience:
                self._loss = [variable.numpy() for variable in self._tracker().variables]
            return
        self.skipped += 1
        self._in_row += 1
        if self._in_row > self.patience:
            raise FloatingPointError(self._message(loss, batch))
        # Otherwise the mean loss of the epoch would not be finite to its end.
        self._tracker().reset_state()
        for variable, value in zip(self._tracker().variables, self._loss or (), strict=False):
            variable.assign(value)

    def on_train_end(self, logs=None):
        if self.skipped:
            print(f"{self.skipped} steps whose loss was not finite were left out.")

    def _tracker(self):
        return next(metric for metric in self.model.metrics if metric.name == "loss")

    def _message(self, loss, step):
        found = next(fitting.running(sys._getframe()), {})
        records, cause = self._look(found.get("x"), step)
        of = "" if records is None else f", of {listed(records)}"
        row = f", {self._in_row} such steps in a row" if self._in_row > 1 else ""
        return (
            f"The loss is {loss} in epoch {self._epoch + 1}, step {step + 1}{row}{of}. "
            f"{cause or ''}{' ' if cause else ''}Try a lower learning rate, `clipnorm=1.0` in the "
            "optimizer, float32 in place of mixed precision, or look for infinite values in the "
            "features. Go on from the weights that were saved last."
        )

    def _look(self, data, step):
        """The records of the batch and what is not finite, if that can be found out."""
        if not hasattr(data, "records_of"):
            return None, None
        epoch, data.epoch = data.epoch, data.epoch - 1
        records = data.records_of(data.epoch, step)
        try:
            batch = next(iter(data.from_step(step)))
        finally:
            data.epoch = epoch
        return records, diagnose(self.model, batch, records)
