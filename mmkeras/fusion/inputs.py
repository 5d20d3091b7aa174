"""What happens to every modality before it is fused: dropped, stood in for, projected."""

import keras
from keras import ops

from mmkeras.layers.linear import LayerNorm, Linear


@keras.saving.register_keras_serializable("mmkeras")
class NullEmbedding(keras.layers.Layer):
    """A learned vector in the first place of a sequence of which nothing is visible.

    What stands in hidden places becomes zero, so nothing that comes after can depend on it.

    Shapes: sequence `(batch, length, width)`, padding mask `(batch, length)` -> the same, and at
    least one place of every example is visible.

    Example:

    ```python
    import keras
    import mmkeras as mm

    sequence, mask = keras.random.normal((2, 5, 8)), keras.ops.zeros((2, 5), "bool")
    sequence, mask = mm.NullEmbedding()(sequence, mask)
    ```
    """

    def build(self, sequence_shape, padding_mask_shape=None):
        self.null = self.add_weight(
            (sequence_shape[-1],), keras.initializers.RandomNormal(stddev=0.02), name="null"
        )

    def call(self, sequence, padding_mask):
        return stand_in(sequence, padding_mask, self.null)


@keras.saving.register_keras_serializable("mmkeras")
class Presence(keras.layers.Layer):
    """The mask of a sequence, all false in examples that lack it.

    Shapes: sequence `(batch, length, width)`, present `(batch, 1)` bool, mask `(batch, length)` or
    None -> mask `(batch, length)`.
    """

    def call(self, sequence, present, padding_mask=None):
        return ops.logical_and(mask_of(sequence, padding_mask), present)

    def compute_output_spec(self, sequence, present, padding_mask=None):
        return keras.KerasTensor(sequence.shape[:2], "bool")


@keras.saving.register_keras_serializable("mmkeras")
class ModalityDropout(keras.layers.Layer):
    """Hides whole modalities of single examples in training, never all that an example has.

    Neverova et al. 2016, "ModDrop". Trained so, a model answers from whatever is there.

    Args:
        rate: Probability that a modality of an example is hidden.
        seed: Of the draws.

    Shapes: `{name: (sequence, mask)}` -> the same, every mask `(batch, length)` and none None.

    Example:

    ```python
    encoded = mm.ModalityDropout(0.2)({"image": (grid, None), "question": (words, mask)})
    ```
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"`rate` should be at least 0 and below 1. Received: rate={rate}")
        self.rate = rate
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def build(self, encoded_shape):
        check_encoded(encoded_shape)

    def call(self, encoded, training=None):
        masks = {name: mask_of(*pair) for name, pair in encoded.items()}
        if training and self.rate:
            keep = self._draw(_any_visible(masks.values()))
            parts = ops.split(keep, len(masks), axis=1)
            masks = {
                name: ops.logical_and(mask, part)
                for (name, mask), part in zip(masks.items(), parts, strict=True)
            }
        return {name: (sequence, masks[name]) for name, (sequence, _) in encoded.items()}

    def _draw(self, here):
        """Which modalities stay: `(batch, modalities)`, of each example's own the luckiest does."""
        luck = keras.random.uniform(ops.shape(here), seed=self.generator)
        luckiest = ops.max(ops.where(here, luck, -1.0), axis=1, keepdims=True)
        return ops.logical_or(luck >= self.rate, luck >= luckiest)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable("mmkeras")
class Projection(keras.layers.Layer):
    """A modality brought to the common width, with a `NullEmbedding` where it may be missing.

    The shift of its normalisation tells the modalities apart, as a modality embedding does.

    Args:
        width: Of the result.
        dropout: Rate on the result.

    Shapes: sequence `(batch, length, any)`, padding mask `(batch, length)` or None -> sequence
    `(batch, length, width)` and mask.
    """

    def __init__(self, width, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.dropout = dropout

    def build(self, sequence_shape, padding_mask_shape=None):
        # What has no mask cannot be missing.
        self.null = None if padding_mask_shape is None else NullEmbedding(name="null")
        if self.null is not None:
            self.null.build(sequence_shape)
        self.linear = Linear(self.width, name="linear")
        self.linear.build(sequence_shape)
        self.norm = LayerNorm(name="norm")
        self.norm.build((*sequence_shape[:-1], self.width))
        self.drop = keras.layers.Dropout(self.dropout)

    def call(self, sequence, padding_mask=None, training=None):
        if self.null is not None:
            sequence, padding_mask = self.null(sequence, padding_mask)
        sequence = self.norm(self.linear(sequence))
        return self.drop(sequence, training=training), mask_of(sequence, padding_mask)

    def get_config(self):
        return {**super().get_config(), "width": self.width, "dropout": self.dropout}


class Fusion(keras.layers.Layer):
    """Several `(sequence, mask)` become one. A subclass writes two methods:

    - `build_parts(names)`: makes and builds its layers, from the names of the modalities.
    - `fuse(sequences, masks, training)`: from lists in the order of the names, every sequence
      `(batch, length, width)` with at least one visible place, to `(sequence, mask)`.

    Args:
        width: Of the result.
        dropout: Rate on the projected modalities.

    Shapes: `{name: (sequence, mask)}`, each `(batch, length, any)` and `(batch, length)` or None
    -> `(sequence, mask)`, `(batch, length, width)` and `(batch, length)`.

    Raises:
        ValueError: if there are fewer modalities than it needs, or one has no width.
    """

    fewest = 1

    def __init__(self, width, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.dropout = dropout

    def build(self, encoded_shape):
        check_encoded(encoded_shape, self.fewest, type(self).__name__)
        self.projections = []
        for name, (sequence_shape, mask_shape) in encoded_shape.items():
            projection = Projection(self.width, self.dropout, name=f"{name}_projection")
            projection.build(tuple(sequence_shape), mask_shape)
            self.projections.append(projection)
        self.build_parts(list(encoded_shape))

    def build_parts(self, names):
        pass

    def fuse(self, sequences, masks, training):
        raise NotImplementedError

    def call(self, encoded, training=None):
        return self.fuse(*self.projected(encoded, training), training)

    def projected(self, encoded, training=None):
        """The sequences at the common width, and their masks: two lists."""
        pairs = [
            projection(sequence, padding_mask=mask, training=training)
            for projection, (sequence, mask) in zip(self.projections, encoded.values(), strict=True)
        ]
        return tuple(map(list, zip(*pairs, strict=True)))

    def built_parts(self, layers, shape=None):
        """The layers, each built for `(batch, length, width)` or another shape."""
        for layer in layers:
            layer.build(shape or (None, None, self.width))
        return layers

    def get_config(self):
        return {**super().get_config(), "width": self.width, "dropout": self.dropout}


def check_encoded(encoded_shape, fewest=1, receiver="Fusion"):
    """Refuse what is not `{name: (sequence, mask)}` of at least so many."""
    if not isinstance(encoded_shape, dict) or len(encoded_shape) < fewest:
        received = list(encoded_shape) if isinstance(encoded_shape, dict) else encoded_shape
        raise ValueError(
            f"`encoded` should hold at least {fewest} inputs for {receiver}, as "
            f"{{name: (sequence, mask)}}. Received: {received}"
        )
    for name, (sequence_shape, _) in encoded_shape.items():
        if len(sequence_shape) != 3 or sequence_shape[-1] is None:
            raise ValueError(
                f"The sequence of {name!r} should be (batch, length, width) of a known width. "
                f"Received: shape={tuple(sequence_shape)}"
            )


def check_name(argument, value, names):
    """Refuse a name that is none of the modalities'; None is the last one."""
    if value is not None and value not in names:
        raise ValueError(f"`{argument}` should be one of {names}. Received: {argument}={value!r}")
    return len(names) - 1 if value is None else names.index(value)


def stand_in(sequence, mask, null):
    """Put `null`, `(width,)`, in the first place where nothing is visible, zero where hidden."""
    mask = ops.cast(mask, "bool")
    missing = ops.logical_not(ops.any(mask, axis=1, keepdims=True))
    null_here = ops.logical_and(missing, ops.arange(ops.shape(mask)[1]) == 0)
    null = ops.cast(null, sequence.dtype)
    other = ops.where(ops.expand_dims(null_here, -1), null, ops.zeros_like(null))
    sequence = ops.where(ops.expand_dims(mask, -1), sequence, other)
    return sequence, ops.logical_or(mask, null_here)


def mask_of(sequence, mask):
    """The mask, or one that hides nothing."""
    return ops.ones_like(sequence[:, :, 0], "bool") if mask is None else ops.cast(mask, "bool")


def present(encoded):
    """Which modalities each example has, `(batch, modalities)`; all of them if it has none."""
    here = _any_visible(mask_of(*pair) for pair in encoded.values())
    return ops.logical_or(here, ops.logical_not(ops.any(here, axis=1, keepdims=True)))


def _any_visible(masks):
    return ops.stack([ops.any(mask, axis=1) for mask in masks], axis=1)
