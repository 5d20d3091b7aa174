"""Audio encoders: frames of a spectrogram to a shorter sequence, whole or as a stream."""

import keras
from keras import ops

from mmkeras.encoders.image import check_size
from mmkeras.layers import LayerNorm
from mmkeras.layers.bidirectional import RecurrentBlock
from mmkeras.layers.conformer import ConformerBlock, RotaryBlock
from mmkeras.layers.spec_augment import SpecAugment
from mmkeras.layers.subsampling import Subsampling, hide

LSTM_SIZES = {
    "nano": (64, 2, 32),
    "tiny": (128, 3, 16),
    "small": (256, 3, 32),
    "base": (512, 4, 32),
}
TRANSFORMER_SIZES = {
    "nano": (80, 2, 4, 32),
    "tiny": (128, 4, 4, 16),
    "small": (192, 8, 4, 32),
    "base": (384, 10, 6, 32),
}
CONFORMER_SIZES = {
    "nano": (80, 2, 4, 32),
    "tiny": (96, 4, 4, 16),
    "small": (144, 8, 4, 32),
    "base": (256, 12, 4, 32),
}


def conv_lstm(
    size="small", subsampling=4, dropout=0.1, chunk=None, spec_augment=True, name="conv_lstm"
):
    """Convolutions over time and frequency, then a stack of LSTMs.

    Amodei et al. 2016, "Deep Speech 2", with layer normalisation in place of batch normalisation.

    Args:
        size: `"nano"` (2 layers of 64 units each way), `"tiny"` (3 of 128), `"small"` (3 of 256)
            or `"base"` (4 of 512).
        subsampling: How many frames become one: 2, 4 or 8.
        dropout: Rate after each layer.
        chunk: None for an encoder of whole utterances, whose LSTMs read both ways. A number makes
            it one of streams, which reads forward only, in chunks of so many frames after
            subsampling.
        spec_augment: Whether to hide bands and times while training; a `SpecAugment` to say how.
        name: Of the encoder's layer, and prefix of the others'.

    Returns:
        A function: frames `(batch, frames, bands)` and mask `(batch, frames)`, or None if all are
        there -> sequence `(batch, ceil(frames / subsampling), 2 * units, or units of a stream)`
        and its mask.

    Example:

    ```python
    import keras
    import mmkeras as mm

    sequence, mask = mm.conv_lstm("tiny")(keras.Input((None, 80)))   # (None, None, 256)
    ```
    """
    units, depth, channels = check_size(size, LSTM_SIZES)
    blocks = [RecurrentBlock(units, chunk is None, dropout, name=f"block{i}") for i in range(depth)]
    front = Subsampling(units, channels, subsampling, dropout, name="subsampling")
    return _encoder(name, spec_augment, front, blocks, chunk, normalise=True)


def conv_transformer(
    size="small",
    subsampling=4,
    dropout=0.1,
    chunk=None,
    left=4,
    spec_augment=True,
    name="conv_transformer",
):
    """Convolutional subsampling, then a Transformer over rotary positions.

    Dong et al. 2018, "Speech-Transformer"; chunks as in Zhang et al. 2020, "Unified Streaming and
    Non-streaming Two-pass End-to-end Model for Speech Recognition".

    Args:
        size: `"nano"` (width 80, 2 blocks, 4 heads), `"tiny"` (128, 4, 4), `"small"` (192, 8, 4)
            or `"base"` (384, 10, 6).
        subsampling: How many frames become one: 2, 4 or 8.
        dropout: Rate in the blocks.
        chunk: None for an encoder of whole utterances. A number makes it one of streams: a frame
            sees its own chunk of so many frames after subsampling, and `left` chunks before.
        left: How many chunks before its own a frame of a stream sees.
        spec_augment: Whether to hide bands and times while training; a `SpecAugment` to say how.
        name: Of the encoder's layer, and prefix of the others'.

    Returns:
        A function: frames `(batch, frames, bands)` and mask `(batch, frames)`, or None if all are
        there -> sequence `(batch, ceil(frames / subsampling), width)` and its mask.

    Example:

    ```python
    import keras
    import mmkeras as mm

    sequence, mask = mm.conv_transformer("tiny")(keras.Input((None, 80)))   # (None, None, 128)
    ```
    """
    width, depth, heads, channels = check_size(size, TRANSFORMER_SIZES)
    blocks = [
        RotaryBlock(heads, dropout=dropout, chunk=chunk, left=left, name=f"block{i}")
        for i in range(depth)
    ]
    front = Subsampling(width, channels, subsampling, dropout, name="subsampling")
    return _encoder(name, spec_augment, front, blocks, chunk, normalise=True)


def conformer(
    size="small",
    subsampling=4,
    dropout=0.1,
    chunk=None,
    left=4,
    spec_augment=True,
    name="conformer",
):
    """Convolutional subsampling, then blocks of attention and convolution.

    Gulati et al. 2020, "Conformer: Convolution-augmented Transformer for Speech Recognition", over
    rotary positions and with layer normalisation in place of batch normalisation.

    Args:
        size: `"nano"` (width 80, 2 blocks, 4 heads), `"tiny"` (96, 4, 4), `"small"` (144, 8, 4)
            or `"base"` (256, 12, 4).
        subsampling: How many frames become one: 2, 4 or 8.
        dropout: Rate in the blocks.
        chunk: None for an encoder of whole utterances. A number makes it one of streams: a frame
            sees its own chunk of so many frames after subsampling, and `left` chunks before; its
            convolutions see no frame ahead.
        left: How many chunks before its own a frame of a stream sees.
        spec_augment: Whether to hide bands and times while training; a `SpecAugment` to say how.
        name: Of the encoder's layer, and prefix of the others'.

    Returns:
        A function: frames `(batch, frames, bands)` and mask `(batch, frames)`, or None if all are
        there -> sequence `(batch, ceil(frames / subsampling), width)` and its mask.

    Example:

    ```python
    import keras
    import mmkeras as mm

    sequence, mask = mm.conformer("tiny")(keras.Input((None, 80)))   # (None, None, 96)
    ```
    """
    width, depth, heads, channels = check_size(size, CONFORMER_SIZES)
    blocks = [
        ConformerBlock(heads, dropout=dropout, chunk=chunk, left=left, name=f"block{i}")
        for i in range(depth)
    ]
    front = Subsampling(width, channels, subsampling, dropout, name="subsampling")
    return _encoder(name, spec_augment, front, blocks, chunk)


def _encoder(name, spec_augment, front, blocks, chunk, normalise=False):
    layer = AudioEncoder(front, blocks, chunk, normalise, name=name)
    if spec_augment is True:
        spec_augment = SpecAugment(name=f"{name}_augment")

    def encoder(sequence, mask=None):
        if mask is None:
            mask = ops.ones_like(sequence[:, :, 0], dtype="bool")
        if spec_augment:
            sequence = spec_augment(sequence, mask)
        return layer(sequence, mask)

    return encoder


@keras.saving.register_keras_serializable("mmkeras")
class AudioEncoder(keras.layers.Layer):
    """Subsampling and a stack of blocks, over whole utterances or step by step.

    One `forward` does both, so a stream gives what the whole utterance gives.

    Args:
        subsampling: A `Subsampling`.
        blocks: Layers with `forward(x, padding_mask, state=None) -> (x, state)` and
            `initial_state(batch)`.
        chunk: Frames after subsampling in a chunk of a stream; None if the blocks need the whole
            utterance.
        normalise: Whether the sequence ends in a layer normalisation.

    Shapes: `x` `(batch, frames, bands)`, `padding_mask` `(batch, frames)` -> the sequence
    `(batch, ceil(frames / factor), width)`, zero where its mask `(batch, ceil(frames / factor))`
    is false.

    Example:

    ```python
    import keras
    import numpy as np
    import mmkeras as mm

    frames = keras.Input((None, 80))
    model = keras.Model(frames, mm.conformer("tiny", chunk=8)(frames))
    encoder = model.get_layer("conformer")
    state = encoder.initial_state(batch=1)
    for piece in np.random.rand(3, 1, encoder.chunk_frames, 80):
        sequence, mask, state = encoder.step(piece, state)   # (1, 8, 96)
    ```
    """

    def __init__(self, subsampling, blocks, chunk=None, normalise=False, **kwargs):
        super().__init__(**kwargs)
        self.subsampling = subsampling
        self.blocks = blocks
        self.chunk = chunk
        self.normalise = normalise

    @property
    def chunk_frames(self):
        """Frames that a step takes, or a multiple of them; only the last step may take fewer."""
        return None if self.chunk is None else self.chunk * self.subsampling.factor

    def build(self, x_shape, padding_mask_shape=None):
        shape = (x_shape[0], None, self.subsampling.width)
        self.subsampling.build(x_shape)
        for block in self.blocks:
            block.build(shape)
            shape = block.compute_output_shape(shape)
        if self.normalise:
            self.norm = LayerNorm(name="norm")
            self.norm.build(shape)

    def initial_state(self, batch):
        """What stands before the first frame: a nest of tensors, each `(batch, ...)`."""
        if self.chunk is None:
            raise ValueError("An encoder of streams is made with `chunk`. Received: chunk=None")
        return {
            "subsampling": self.subsampling.initial_state(batch),
            "blocks": [block.initial_state(batch) for block in self.blocks],
        }

    def step(self, x, state, padding_mask=None):
        """The frames that come next.

        Args:
            x: `(batch, frames, bands)`: a multiple of `chunk_frames`, or fewer at the end.
            state: As `initial_state` or the step before gave it.
            padding_mask: `(batch, frames)`; None if all are there.

        Returns:
            Their sequence, its mask, and the state after them.
        """
        if padding_mask is None:
            padding_mask = ops.ones_like(x[:, :, 0], dtype="bool")
        return self.forward(x, padding_mask, state)

    def forward(self, x, padding_mask, state=None, training=None):
        past = state or {"subsampling": None, "blocks": [None] * len(self.blocks)}
        x, mask, front = self.subsampling.forward(
            x, padding_mask, past["subsampling"], training=training
        )
        after = []
        for block, before in zip(self.blocks, past["blocks"], strict=True):
            x, now = block.forward(x, mask, before, training=training)
            after.append(now)
        if self.normalise:
            x = self.norm(x)
        return hide(x, mask), mask, state and {"subsampling": front, "blocks": after}

    def call(self, x, padding_mask, training=None):
        return self.forward(x, padding_mask, training=training)[:2]

    def get_config(self):
        return {
            **super().get_config(),
            "subsampling": _config_of(self.subsampling),
            "blocks": [_config_of(block) for block in self.blocks],
            "chunk": self.chunk,
            "normalise": self.normalise,
        }

    @classmethod
    def from_config(cls, config):
        revive = keras.saving.deserialize_keras_object
        parts = {
            "subsampling": revive(config["subsampling"]),
            "blocks": [revive(block) for block in config["blocks"]],
        }
        return cls(**{**config, **parts})


def _config_of(part):
    config = keras.saving.serialize_keras_object(part)
    # With it Keras would build the part before the encoder does.
    config.pop("build_config", None)
    return config
