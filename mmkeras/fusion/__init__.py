"""Fusion: several (sequence, mask) become one."""

import keras

from mmkeras.fusion.aligned import Alignment, side_by_side
from mmkeras.fusion.attention import (
    BottleneckFusion,
    CoAttentionFusion,
    CrossAttentionFusion,
    CrossBlock,
    EarlyFusion,
    PerceiverFusion,
)
from mmkeras.fusion.inputs import (
    Fusion,
    ModalityDropout,
    NullEmbedding,
    Presence,
    Projection,
)
from mmkeras.fusion.late import HybridFusion, LateFusion, LateHead
from mmkeras.fusion.pooled import (
    AttentionFusion,
    BilinearFusion,
    GatedFusion,
    MeanFusion,
    PooledConcatenateFusion,
    SumFusion,
    WeightedFusion,
)
from mmkeras.fusion.sequences import ConcatenateFusion, FiLMFusion, RecurrentFusion, concatenate

FUSIONS = {
    "concatenate": ConcatenateFusion,
    "concatenate_pooled": PooledConcatenateFusion,
    "mean": MeanFusion,
    "sum": SumFusion,
    "weighted": WeightedFusion,
    "attention": AttentionFusion,
    "gated": GatedFusion,
    "bilinear": BilinearFusion,
    "film": FiLMFusion,
    "recurrent": RecurrentFusion,
    "cross_attention": CrossAttentionFusion,
    "co_attention": CoAttentionFusion,
    "bottleneck": BottleneckFusion,
    "perceiver": PerceiverFusion,
    "early": EarlyFusion,
    "late": LateFusion,
    "hybrid": HybridFusion,
}

__all__ = [
    "FUSIONS",
    "Alignment",
    "AttentionFusion",
    "BilinearFusion",
    "BottleneckFusion",
    "CoAttentionFusion",
    "ConcatenateFusion",
    "CrossAttentionFusion",
    "CrossBlock",
    "EarlyFusion",
    "FiLMFusion",
    "Fusion",
    "GatedFusion",
    "HybridFusion",
    "LateFusion",
    "LateHead",
    "MeanFusion",
    "ModalityDropout",
    "NullEmbedding",
    "PerceiverFusion",
    "PooledConcatenateFusion",
    "Presence",
    "Projection",
    "RecurrentFusion",
    "SumFusion",
    "WeightedFusion",
    "aligned",
    "concatenate",
    "fuse",
    "side_by_side",
]


def fuse(encoded, width, dropout=0.0, fusion="concatenate", modality_dropout=0.0):
    """Make one context of what the encoders gave.

    Args:
        encoded: `{name: (sequence, mask)}`, each `(batch, length, any)` and `(batch, length)` or
            None for a mask that hides nothing. A mask all false says that the input is missing.
        width: Of the context.
        dropout: Rate on the projected modalities.
        fusion: A name in `FUSIONS`; a layer, which has a width and dropout of its own; or a
            function as `concatenate`.
        modality_dropout: Probability that training hides an input of an example, see
            `ModalityDropout`.

    Returns:
        The sequence `(batch, length, width)` and its mask `(batch, length)`, or None.

    Raises:
        ValueError: if there is no fusion of that name, or it needs more inputs.
    """
    if isinstance(fusion, str) and fusion not in FUSIONS:
        raise ValueError(
            f"`fusion` should be one of {list(FUSIONS)}, a layer or a function. "
            f"Received: fusion={fusion!r}"
        )
    if modality_dropout:
        encoded = ModalityDropout(modality_dropout, name="modality_dropout")(encoded)
    if fusion == "concatenate":
        return concatenate(encoded, width, dropout)
    if isinstance(fusion, str):
        fusion = FUSIONS[fusion](width, dropout, name="fusion")
    if isinstance(fusion, keras.layers.Layer):
        return fusion(encoded)
    return fusion(encoded, width, dropout)


def aligned(fusion, names, weight=0.1, loss="info_nce", width=128):
    """A fusion with an auxiliary beside it: in training, two of its inputs are drawn together.

    Args:
        fusion: As in `fuse`.
        names: Of the two inputs.
        weight, loss, width: As in `Alignment`.

    Returns:
        A function, to be given as `fusion=` to a builder or to `assemble`.

    Raises:
        ValueError: when it is used, if there are no inputs of these names.

    Example:

    ```python
    fusion = mm.aligned("gated", ("image", "audio"), weight=0.2)
    model = mm.multimodal_question_answering(words, answers, room, fusion=fusion)
    ```
    """

    def fuse_aligned(encoded, joined_width, dropout):
        if len(set(names)) != 2 or not set(names) <= set(encoded):
            raise ValueError(f"`names` should be two of {list(encoded)}. Received: names={names!r}")
        (v, v_mask), (w, w_mask) = (encoded[name] for name in names)
        layer = Alignment(weight, loss, width, name="alignment")
        v = layer(v, w, v_mask=v_mask, w_mask=w_mask)
        return fuse({**encoded, names[0]: (v, v_mask)}, joined_width, dropout, fusion)

    return fuse_aligned
