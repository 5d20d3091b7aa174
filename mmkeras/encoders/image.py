"""Image encoders that are trained from nothing."""

import keras

from mmkeras.layers import FlattenGrid, LearnedPositions, TransformerBlock
from mmkeras.layers.linear import LayerNorm

CONV_SIZES = {"tiny": (16, 1), "small": (32, 2), "base": (64, 2)}
PATCH_SIZES = {"tiny": (128, 4, 4), "small": (256, 6, 8), "base": (512, 8, 8)}


def check_size(size, sizes):
    if size not in sizes:
        raise ValueError(f"`size` should be one of {sorted(sizes)}. Received: size={size!r}")
    return sizes[size]


def conv(size="small", stages=4, name="conv"):
    """A residual Conv2D network that halves the picture `stages` times.

    He et al. 2016, "Identity Mappings in Deep Residual Networks".

    Args:
        size: `"tiny"`, `"small"` or `"base"`: channels 16, 32 or 64 in the first stage, doubled
            in each further one, and 1, 2 or 2 residual blocks a stage.
        stages: How often height and width are halved; one sequence element then covers
            `2 ** stages` pixels each way.
        name: Prefix of the layers' names.

    Returns:
        A function: image `(batch, height, width, 3)` with values 0 to 255 -> sequence
        `(batch, height * width / 4 ** stages, channels)` and no mask (None).

    Example:

    ```python
    import keras
    import mmkeras as mm

    sequence, mask = mm.conv("tiny")(keras.Input((64, 64, 3)))   # (None, 16, 128), None
    ```
    """
    channels, blocks = check_size(size, CONV_SIZES)

    def encoder(image):
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name=f"{name}_scale")(image)
        for stage in range(stages):
            width = channels * 2**stage
            x = keras.layers.Conv2D(
                width, 3, 2, padding="same", use_bias=False, name=f"{name}_{stage}_down"
            )(x)
            for block in range(blocks):
                x = _residual(x, width, f"{name}_{stage}_{block}")
        x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
        x = keras.layers.Activation("relu", name=f"{name}_relu")(x)
        return FlattenGrid(name=f"{name}_grid")(x), None

    return encoder


def conv_rows(size="small", stages=4, name="conv"):
    """The network of `conv`, and an LSTM over the rows of what it gives, from top to bottom.

    As text recognition reads the columns of a line (Shi et al. 2017, "An End-to-End Trainable
    Neural Network for Image-based Sequence Recognition"), here whole rows are read, both ways.

    Args:
        size, stages, name: As in `conv`; the LSTM is as wide as the last stage.

    Returns:
        A function: image `(batch, height, width, 3)` with values 0 to 255 -> sequence
        `(batch, height / 2 ** stages, channels)` and no mask (None).

    Example:

    ```python
    import keras
    import mmkeras as mm

    sequence, mask = mm.conv_rows("tiny")(keras.Input((64, 64, 3)))   # (None, 4, 128), None
    ```
    """
    convolutions = conv(size, stages, name)

    def encoder(image):
        x, _ = convolutions(image)
        rows = -(-image.shape[1] // 2**stages)
        x = keras.layers.Reshape((rows, -1), name=f"{name}_rows")(x)
        lstm = keras.layers.LSTM(CONV_SIZES[size][0] * 2 ** (stages - 2), return_sequences=True)
        return keras.layers.Bidirectional(lstm, name=f"{name}_lstm")(x), None

    return encoder


def _residual(x, width, name):
    y = x
    for i in range(2):
        y = keras.layers.BatchNormalization(name=f"{name}_norm{i}")(y)
        y = keras.layers.Activation("relu", name=f"{name}_relu{i}")(y)
        y = keras.layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"{name}_conv{i}")(y)
    return keras.layers.Add(name=f"{name}_add")([x, y])


def patch(size="small", patch_size=16, dropout=0.1, name="patch"):
    """A Vision Transformer: the picture's patches as a sequence.

    Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words".

    Args:
        size: `"tiny"` (width 128, 4 blocks, 4 heads), `"small"` (256, 6, 8) or `"base"`
            (512, 8, 8).
        patch_size: Side of a patch in pixels.
        dropout: Rate in the blocks.
        name: Prefix of the layers' names.

    Returns:
        A function: image `(batch, height, width, 3)` with values 0 to 255 -> sequence
        `(batch, height * width / patch_size ** 2, width)` and no mask (None).

    Example:

    ```python
    import keras
    import mmkeras as mm

    sequence, mask = mm.patch("tiny")(keras.Input((64, 64, 3)))   # (None, 16, 128), None
    ```
    """
    width, depth, heads = check_size(size, PATCH_SIZES)

    def encoder(image):
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name=f"{name}_scale")(image)
        x = keras.layers.Conv2D(width, patch_size, patch_size, name=f"{name}_patches")(x)
        x = FlattenGrid(name=f"{name}_grid")(x)
        x = LearnedPositions(x.shape[1], name=f"{name}_positions")(x)
        for i in range(depth):
            x = TransformerBlock(heads, dropout=dropout, name=f"{name}_block{i}")(x)
        return LayerNorm(name=f"{name}_norm")(x), None

    return encoder


def grid_transformer(size="small", depth=2, stages=4, dropout=0.1, name="grid"):
    """The network of `conv`, and blocks of a Transformer over the places of what it gives.

    Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words", section 3.1, "Hybrid Architecture":
    every place can learn of all others before anything is asked of it.

    Args:
        size, stages: As in `conv`; the blocks are as wide as its last stage.
        depth: Number of blocks, of 4 heads.
        dropout: Rate in the blocks.
        name: Prefix of the layers' names.

    Returns:
        A function as that of `conv`.

    Example:

    ```python
    import keras
    import mmkeras as mm

    sequence, mask = mm.grid_transformer("tiny")(keras.Input((64, 64, 3)))   # (None, 16, 128), None
    ```
    """
    network = conv(size, stages, f"{name}_conv")

    def encoder(image):
        x, mask = network(image)
        x = LearnedPositions(x.shape[1], name=f"{name}_positions")(x)
        for i in range(depth):
            x = TransformerBlock(4, dropout=dropout, name=f"{name}_block{i}")(x)
        return LayerNorm(name=f"{name}_norm")(x), mask

    return encoder
