"""Learning rates over a training, and a picture of them."""

import math

import keras
import numpy as np
from keras import ops


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Of `peak` the share that `share(step)` gives, a float32 of a float32."""

    def __call__(self, step):
        return self.peak * self.share(ops.cast(step, "float32"))

    def get_config(self):
        return dict(vars(self))


@keras.saving.register_keras_serializable("mmkeras")
class WarmupCosine(_Schedule):
    """Rises linearly to `peak`, then falls as half a cosine to `final * peak` at the last step.

    Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts", without
    restarts; Goyal et al. 2017 for the warm-up.

    Args:
        peak: Highest learning rate.
        steps: Of the whole training, such as `epochs * len(data)`.
        warmup: Of these steps, until the peak: a share below 1, or a whole number of steps.
        final: Share of the peak in the end.

    Raises:
        ValueError: an argument is out of its range.

    Example:

    ```python
    import mmkeras as mm

    rate = mm.WarmupCosine(1e-3, steps=10 * len(data))
    mm.compile_task(model, keras.optimizers.AdamW(rate))
    ```
    """

    def __init__(self, peak, steps, warmup=0.05, final=0.0):
        _check(peak=peak, steps=steps, final=final)
        self.peak, self.steps, self.final = peak, steps, final
        self.warmup = _warmup_steps(warmup, steps)

    def share(self, step):
        rising = (step + 1) / max(self.warmup, 1)
        progress = (step - self.warmup) / max(self.steps - self.warmup, 1)
        cosine = 0.5 * (1 + ops.cos(math.pi * ops.clip(progress, 0.0, 1.0)))
        falling = self.final + (1 - self.final) * cosine
        return ops.where(step < self.warmup, rising, falling)


@keras.saving.register_keras_serializable("mmkeras", name="WarmupThenRoot")
class Noam(_Schedule):
    """Rises linearly to `peak` over `warmup_steps`, then falls with the root of the step.

    Vaswani et al. 2017, "Attention Is All You Need", section 5.3, whose peak is
    `(width * warmup_steps) ** -0.5`. It needs no total number of steps, which a builder cannot
    know; with one, `WarmupCosine` usually ends a little better.

    Args:
        peak: Highest learning rate.
        warmup_steps: Until it.

    Raises:
        ValueError: an argument is out of its range.

    Example:

    ```python
    import mmkeras as mm

    rate = mm.Noam((512 * 4000) ** -0.5, warmup_steps=4000)
    ```
    """

    def __init__(self, peak, warmup_steps=4000):
        _check(peak=peak, steps=warmup_steps)
        self.peak, self.warmup_steps = peak, warmup_steps

    def share(self, step):
        step = step + 1
        return ops.minimum(step / self.warmup_steps, (self.warmup_steps / step) ** 0.5)


@keras.saving.register_keras_serializable("mmkeras")
class OneCycle(_Schedule):
    """From `peak / 25` along a cosine up to `peak`, and along another one down to almost nothing.

    Smith and Topin 2019, "Super-Convergence: Very Fast Training of Neural Networks Using Large
    Learning Rates"; the shares are those of PyTorch's `OneCycleLR`.

    Args:
        peak: Highest learning rate.
        steps: Of the whole training.
        warmup: Of these steps, until the peak: a share below 1, or a whole number of steps.
        first, last: Shares of the peak at both ends.

    Raises:
        ValueError: an argument is out of its range.

    Example:

    ```python
    import mmkeras as mm

    rate = mm.OneCycle(1e-2, steps=10 * len(data))
    ```
    """

    def __init__(self, peak, steps, warmup=0.3, first=1 / 25, last=1 / 250_000):
        _check(peak=peak, steps=steps, first=first, last=last)
        self.peak, self.steps, self.first, self.last = peak, steps, first, last
        self.warmup = _warmup_steps(warmup, steps)

    def share(self, step):
        top = max(self.warmup - 1, 1)
        up = _cosine(self.first, 1.0, step / top)
        down = _cosine(1.0, self.last, (step - top) / max(self.steps - 1 - top, 1))
        return ops.where(step < top, up, down)


def draw_schedules(schedules, steps, path):
    """Draw learning rates over the steps of a training.

    Args:
        schedules: `{name: schedule}`, of mmkeras or Keras.
        steps: How many to show.
        path: Of the PNG.

    Returns:
        `path`.

    Example:

    ```python
    import mmkeras as mm

    rates = {"cosine": mm.WarmupCosine(1e-3, 1000), "Noam": mm.Noam(1e-3, 100)}
    mm.draw_schedules(rates, 1000, "rates.png")
    ```
    """
    import matplotlib.figure

    figure = matplotlib.figure.Figure((7, 3.2), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel="learning rate")
    places = np.unique(np.linspace(0, steps - 1, 400).astype(int))
    for name, schedule in schedules.items():
        axes.plot(places, [float(schedule(int(step))) for step in places], label=name)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    return path


def _cosine(start, end, progress):
    share = 0.5 * (1 - ops.cos(math.pi * ops.clip(progress, 0.0, 1.0)))
    return start + (end - start) * share


def _warmup_steps(warmup, steps):
    if not 0 <= warmup < (steps if isinstance(warmup, int) else 1):
        raise ValueError(
            f"`warmup` should be a share below 1, or fewer than the {steps} steps. "
            f"Received: warmup={warmup!r}"
        )
    return warmup if isinstance(warmup, int) else round(warmup * steps)


def _check(peak, steps, **shares):
    if not peak > 0:
        raise ValueError(f"`peak` should be above 0. Received: peak={peak!r}")
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"The steps should be a whole number above 0. Received: {steps!r}")
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"`{name}` should be from 0 to 1. Received: {name}={share!r}")
