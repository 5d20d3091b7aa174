"""Augmentation of spectrograms within the model, in training only."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("mmkeras")
class SpecAugment(keras.layers.Layer):
    """Hides bands and stretches of time of each utterance while training.

    Park et al. 2019, "SpecAugment"; time masks grow with the utterance as in Park et al. 2020,
    "SpecAugment on Large Scale Datasets". What is hidden takes each band's mean over its own
    utterance, which is the paper's zero where features are normalised. Its seed is part of the
    model's state, as Dropout's is, so training resumes with the same draws.

    Args:
        frequency_masks: How many runs of bands are hidden.
        frequency_share: The widest of them, as a share of the bands.
        time_masks: How many runs of frames are hidden.
        time_share: The longest of them, as a share of the utterance's own length.
        warp: By up to how many frames a random point of time is moved; 0 for no time warp.
        seed: Of the draws; random if None.

    Shapes: `x` `(batch, frames, bands)`, `padding_mask` `(batch, frames)` -> like `x`.

    Example:

    ```python
    import numpy as np
    from mmkeras.layers import SpecAugment

    frames, mask = np.random.rand(2, 50, 80), np.ones((2, 50), bool)
    augmented = SpecAugment(time_share=0.1)(frames, mask, training=True)
    ```
    """

    def __init__(
        self,
        frequency_masks=2,
        frequency_share=0.33,
        time_masks=5,
        time_share=0.05,
        warp=0,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        for argument, share in {
            "frequency_share": frequency_share,
            "time_share": time_share,
        }.items():
            if not 0 <= share <= 1:
                raise ValueError(
                    f"`{argument}` should be between 0 and 1. Received: {argument}={share}"
                )
        self.frequency_masks = frequency_masks
        self.frequency_share = frequency_share
        self.time_masks = time_masks
        self.time_share = time_share
        self.warp = warp
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x, padding_mask, training=None):
        if not training:
            return x
        lengths = ops.sum(ops.cast(padding_mask, "float32"), axis=1)
        if self.warp:
            x = self._warped(x, lengths)
        bands = ops.full_like(lengths, x.shape[-1])
        hidden = ops.logical_or(
            self._runs(self.frequency_masks, self.frequency_share, bands, x.shape[-1])[:, None],
            self._runs(self.time_masks, self.time_share, lengths, ops.shape(x)[1])[..., None],
        )
        return ops.where(hidden, _mean(x, padding_mask, lengths), x)

    def _runs(self, count, share, lengths, total):
        """`(batch, total)`: true in `count` random runs within each first `lengths`."""
        draws = keras.random.uniform((2, ops.shape(lengths)[0], count), seed=self.seed_generator)
        lengths = lengths[:, None]
        widths = ops.floor(draws[0] * (ops.floor(share * lengths) + 1))
        starts = ops.floor(draws[1] * (lengths - widths + 1))[..., None]
        steps = ops.cast(ops.arange(total), "float32")
        inside = ops.logical_and(steps >= starts, steps < starts + widths[..., None])
        return ops.any(inside, axis=1)

    def _warped(self, x, lengths):
        """Moves a point of each utterance and stretches what is before and after it to fit."""
        batch, total, bands = ops.shape(x)
        draws = keras.random.uniform((2, batch, 1), seed=self.seed_generator)
        last = lengths[:, None] - 1
        centre = self.warp + draws[0] * (last - 2 * self.warp)
        moved = centre + (2 * draws[1] - 1) * self.warp
        steps = ops.cast(ops.arange(total), "float32")[None]
        before = steps * centre / moved
        after = centre + (steps - moved) * (last - centre) / (last - moved)
        source = ops.where(steps < moved, before, after)
        warpable = ops.logical_and(last > 2 * self.warp, steps <= last)
        source = ops.where(warpable, ops.clip(source, 0, ops.maximum(last, 0)), steps)
        low = ops.floor(source)
        share = ops.cast(source - low, x.dtype)[..., None]
        offsets = ops.arange(batch)[:, None] * total
        rows = ops.reshape(x, (-1, bands))

        def at(index):
            index = ops.minimum(ops.cast(index, "int32"), total - 1)
            return ops.take(rows, offsets + index, axis=0)

        return at(low) * (1 - share) + at(low + 1) * share

    def compute_output_shape(self, x_shape, padding_mask_shape=None):
        return x_shape

    def get_config(self):
        return {
            **super().get_config(),
            "frequency_masks": self.frequency_masks,
            "frequency_share": self.frequency_share,
            "time_masks": self.time_masks,
            "time_share": self.time_share,
            "warp": self.warp,
            "seed": self.seed,
        }


def _mean(x, padding_mask, lengths):
    """Of each band over its own utterance, `(batch, 1, bands)`."""
    total = ops.sum(x * ops.cast(padding_mask, x.dtype)[..., None], axis=1)
    return (total / ops.cast(ops.maximum(lengths, 1), x.dtype)[:, None])[:, None]
