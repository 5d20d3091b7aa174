"""Whether a model can learn at all: one batch by heart, before hours are spent."""

import math

import keras

from mmkeras.training.diagnosis import diagnose

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40
# Of the first loss: what is below has been learnt, what is above has not moved.
_LEARNT, _STILL = 0.5, 0.95


def check(model, data, steps=100, learning_rate=1e-3):
    """Trains a copy of the model on one batch alone, and prints how the loss falls.

    A model that does not learn a single batch by heart will not learn more: a mask, a target or a
    loss is wrong, or a layer gives the same for everything. Model and data stay as they are.

    Args:
        model: a compiled model; its loss counts, its optimizer does not.
        data: what `mm.dataset` returns, or any data set of batches; the first is taken.
        steps: how many at most; fewer if the loss is soon a hundredth of the first.
        learning_rate: of Adam.

    Returns:
        Whether the loss came below half of the first.

    Raises:
        ValueError: `steps` is no whole number above 1, the model is not compiled, or the data has
            no targets.

    Example:

    ```python
    import mmkeras as mm

    if not mm.check(model, data):
        raise SystemExit(1)
    ```
    """
    if not isinstance(steps, int) or steps < 2:
        raise ValueError(f"`steps` should be a whole number above 1. Received: steps={steps!r}")
    if not model.compiled:
        raise ValueError("`model` should be compiled. Received: one that is not")
    batch = _first_batch(data)
    if not isinstance(batch, tuple) or len(batch) < 2:
        raise ValueError("`data` should give inputs and targets. Received: inputs alone")
    copy = _copy(model, learning_rate)
    losses = []
    for _ in range(steps):
        copy.reset_metrics()
        losses.append(float(copy.train_on_batch(*batch, return_dict=True)["loss"]))
        if not math.isfinite(losses[-1]) or losses[-1] < losses[0] / 100:
            break
    last = sum(losses[-3:]) / len(losses[-3:])
    verdict = _verdict(last / losses[0])
    if not math.isfinite(last):
        verdict = diagnose(model, batch, None) or "the loss grows without bound."
    print(
        f"One batch, {len(losses)} steps: loss {losses[0]:.4g} {_curve(losses)} {last:.4g}\n"
        f"{verdict}",
        flush=True,
    )
    return last < _LEARNT * losses[0]


def _first_batch(data):
    epoch = getattr(data, "epoch", None)
    batch = next(iter(data))
    if epoch is not None:
        data.epoch = epoch
    return batch


def _copy(model, learning_rate):
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    optimizer = keras.optimizers.Adam(learning_rate, clipnorm=1.0)
    config = {**model.get_compile_config(), "optimizer": keras.optimizers.serialize(optimizer)}
    copy.compile_from_config(config)
    return copy


def _verdict(share):
    if share < _LEARNT:
        return "The model learns."
    if share < _STILL:
        return "The model learns slowly: give more steps, or a higher learning rate."
    return (
        "The model does NOT learn: see whether targets belong to their inputs, masks are not all "
        "false, layers that should learn are trainable, and the loss is that of the targets."
    )


def _curve(losses):
    """A line of bars, each the mean of some steps."""
    size = -(-len(losses) // _WIDTH)
    parts = [losses[i : i + size] for i in range(0, len(losses), size)]
    means = [sum(part) / len(part) for part in parts]
    top = max((mean for mean in means if math.isfinite(mean)), default=1.0) or 1.0
    return "".join(
        _BARS[round(mean / top * (len(_BARS) - 1))] if 0 <= mean < math.inf else "?"
        for mean in means
    )
