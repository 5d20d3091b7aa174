"""Callbacks that Keras lacks."""

import math

import keras


class StopOnNaN(keras.callbacks.Callback):
    """Stops with an error that names the step as soon as the loss is not finite.

    Keras's `TerminateOnNaN` ends `fit` as if all were well.

    Raises:
        FloatingPointError: naming epoch and step, and what to try.

    Example:

    ```python
    import mmkeras as mm

    model.fit(data, callbacks=[mm.StopOnNaN()])
    ```
    """

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss} in epoch {self._epoch + 1}, step {batch + 1}. Try a lower "
                "learning rate, `clipnorm=1.0` in the optimizer, float32 in place of "
                "mixed precision, or look for infinite values in the features. The weights are "
                "spoilt: go on from the last saved ones."
            )
