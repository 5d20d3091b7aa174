"""Fusions by attention."""

import keras
from keras import ops

from mmkeras.fusion.inputs import Fusion, check_name
from mmkeras.fusion.sequences import along_time
from mmkeras.layers.attention import Attention, mask_bias
from mmkeras.layers.linear import LayerNorm
from mmkeras.layers.transformer import FeedForward, TransformerBlock


@keras.saving.register_keras_serializable("mmkeras")
class CrossBlock(keras.layers.Layer):
    """Attention to a context and feed-forward, each normalised first and added to what came in.

    Args:
        heads: Attention heads; divides the width.
        dropout: Rate on what each part adds.

    Shapes: `x` `(batch, length, width)`, `context` `(batch, context length, any)`, its mask
    `(batch, context length)` -> as `x`.
    """

    def __init__(self, heads, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads
        self.dropout = dropout

    def build(self, x_shape, context_shape=None, context_mask_shape=None):
        context_shape = context_shape or x_shape
        self.attention_norm, self.feed_norm = LayerNorm(name="norm"), LayerNorm(name="feed_norm")
        self.context_norm = LayerNorm(name="context_norm")
        self.attention = Attention(self.heads, cross=True, name="attention")
        self.feed = FeedForward(4 * x_shape[-1], name="feed")
        for layer in (self.attention_norm, self.feed_norm, self.feed):
            layer.build(x_shape)
        self.context_norm.build(context_shape)
        self.attention.build(x_shape, context_shape)
        self.drop = keras.layers.Dropout(self.dropout)

    def call(self, x, context, context_mask, training=None):
        added = self.attention(*self._normed(x, context, context_mask))
        x = x + self.drop(added, training=training)
        return x + self.drop(self.feed(self.feed_norm(x)), training=training)

    def attention_weights(self, x, context, context_mask):
        """Where each place looks, `(batch, length, context length)`."""
        return self.attention.attention_weights(*self._normed(x, context, context_mask))

    def _normed(self, x, context, context_mask):
        bias = ops.expand_dims(mask_bias(context_mask, x.dtype), 1)
        return self.attention_norm(x), self.context_norm(context), bias

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout}


class BlocksFusion(Fusion):
    """Blocks of attention, and a normalisation after the last.

    A subclass writes `run(sequences, masks, step)` as `Fusion.fuse`, where a block is called as
    `step(block, x, ...)`.

    Args:
        width: Of the result.
        dropout: Rate on the projected modalities and on what each block adds.
        heads: Attention heads; divides the width.
        blocks: Number of blocks, one after the other.
    """

    def __init__(self, width, dropout=0.0, heads=4, blocks=2, **kwargs):
        super().__init__(width, dropout, **kwargs)
        self.heads = heads
        self.blocks = blocks

    def build_parts(self, names):
        self.norm = LayerNorm(name="norm")
        self.build_blocks(names)
        self.built_parts([self.norm])

    def run(self, sequences, masks, step):
        raise NotImplementedError

    def fuse(self, sequences, masks, training):
        def step(block, *args, **kwargs):
            return block(*args, **kwargs, training=training)

        sequence, mask = self.run(sequences, masks, step)
        return self.norm(sequence), mask

    def attention(self, encoded):
        """How much each place of the result rests on each place of what is fused.

        Attention rollout (Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers"):
        in every block, what comes in and what attention adds count half each.

        Args:
            encoded: As in a call.

        Returns:
            `{name: (batch, length of the result, length of the modality)}`, weights that sum to 1
            over all modalities, or to less where learned tokens have a part.
        """
        sequences, masks = self.projected(encoded)
        lengths = [ops.shape(x)[1] for x in sequences]
        ends = [sum(lengths[: i + 1]) for i in range(len(lengths) - 1)]
        # What a place rests on goes through the same blocks behind its channels; at first that is
        # the place itself.
        itself = ops.split(ops.eye(sum(lengths), dtype=sequences[0].dtype), ends)
        sequences = [
            ops.concatenate([x, ops.repeat(each[None], ops.shape(x)[0], axis=0)], axis=-1)
            for x, each in zip(sequences, itself, strict=True)
        ]
        x, _ = self.run(sequences, masks, self._carry)
        parts = ops.split(self._parted(x)[1], ends, axis=-1)
        return dict(zip(encoded, parts, strict=True))

    def _carry(self, block, x, *context, **bias):
        """A step of a block that takes along what each place rests on."""
        x, rests = self._parted(x)
        theirs = rests
        if context:
            sequence, mask = context
            sequence, theirs = self._parted(sequence)
            context = sequence, mask
        rests = 0.5 * (rests + ops.matmul(block.attention_weights(x, *context, **bias), theirs))
        return ops.concatenate([block(x, *context, **bias), rests], axis=-1)

    def _parted(self, x):
        return x[:, :, : self.width], x[:, :, self.width :]

    def stack(self, block, copies=1):
        """`blocks` lists of so many blocks of a kind, built."""
        return [
            self.built_parts([block(self.heads, dropout=self.dropout) for _ in range(copies)])
            for _ in range(self.blocks)
        ]

    def tokens_weight(self, tokens):
        return self.add_weight(
            (1, tokens, self.width), keras.initializers.RandomNormal(stddev=0.02), name="tokens"
        )

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "blocks": self.blocks}


@keras.saving.register_keras_serializable("mmkeras")
class EarlyFusion(BlocksFusion):
    """One Transformer over all modalities, joined along time.

    As Chen et al. 2020, "UNITER"; what tells the modalities apart is in their projections.

    Args:
        width, dropout, heads, blocks: As in `BlocksFusion`.
    """

    def build_blocks(self, names):
        self.layers = self.stack(TransformerBlock)

    def run(self, sequences, masks, step):
        x, mask = along_time(sequences, masks)
        bias = ops.expand_dims(mask_bias(mask, x.dtype), 1)
        for (block,) in self.layers:
            x = step(block, x, bias=bias)
        return x, mask


@keras.saving.register_keras_serializable("mmkeras")
class CrossAttentionFusion(BlocksFusion):
    """One modality asks the others: its places attend to theirs, and it is the result.

    Args:
        width, dropout, heads, blocks: As in `BlocksFusion`.
        query: Name of the modality that asks; None for the last one.
    """

    fewest = 2

    def __init__(self, width, dropout=0.0, heads=4, blocks=2, query=None, **kwargs):
        super().__init__(width, dropout, heads, blocks, **kwargs)
        self.query = query

    def build_blocks(self, names):
        self.place = check_name("query", self.query, names)
        self.layers = self.stack(CrossBlock)

    def run(self, sequences, masks, step):
        sequences, masks = list(sequences), list(masks)
        x, mask = sequences.pop(self.place), masks.pop(self.place)
        context, context_mask = along_time(sequences, masks)
        for (block,) in self.layers:
            x = step(block, x, context, context_mask)
        return x, mask

    def get_config(self):
        return {**super().get_config(), "query": self.query}


@keras.saving.register_keras_serializable("mmkeras")
class CoAttentionFusion(BlocksFusion):
    """Every modality asks the others and then itself, block by block; all are joined along time.

    Lu et al. 2019, "ViLBERT".

    Args:
        width, dropout, heads, blocks: As in `BlocksFusion`.
    """

    fewest = 2

    def build_blocks(self, names):
        self.across = self.stack(CrossBlock, len(names))
        self.within = self.stack(TransformerBlock, len(names))

    def run(self, sequences, masks, step):
        for across, within in zip(self.across, self.within, strict=True):
            sequences = [
                self._turn(place, sequences, masks, blocks, step)
                for place, blocks in enumerate(zip(across, within, strict=True))
            ]
        return along_time(sequences, masks)

    def _turn(self, place, sequences, masks, blocks, step):
        across, within = blocks
        others = [i for i in range(len(masks)) if i != place]
        context = along_time([sequences[i] for i in others], [masks[i] for i in others])
        x = step(across, sequences[place], *context)
        bias = ops.expand_dims(mask_bias(masks[place], x.dtype), 1)
        return step(within, x, bias=bias)


@keras.saving.register_keras_serializable("mmkeras")
class BottleneckFusion(BlocksFusion):
    """A Transformer per modality; what they tell each other passes through a few shared tokens.

    Nagrani et al. 2021, "Attention Bottlenecks for Multimodal Fusion". The result is all
    modalities and the tokens, joined along time.

    Args:
        width, dropout, heads, blocks: As in `BlocksFusion`.
        tokens: Number of shared tokens.
    """

    def __init__(self, width, dropout=0.0, heads=4, blocks=2, tokens=4, **kwargs):
        super().__init__(width, dropout, heads, blocks, **kwargs)
        self.tokens = tokens

    def build_blocks(self, names):
        self.shared = self.tokens_weight(self.tokens)
        self.layers = self.stack(TransformerBlock, len(names))

    def run(self, sequences, masks, step):
        shared = _for_each_example(self.shared, sequences[0])
        visible = ops.ones_like(shared[:, :, 0], "bool")
        biases = [
            ops.expand_dims(mask_bias(ops.concatenate([visible, mask], axis=1), shared.dtype), 1)
            for mask in masks
        ]
        for blocks in self.layers:
            both = [
                step(block, ops.concatenate([shared, x], axis=1), bias=bias)
                for block, x, bias in zip(blocks, sequences, biases, strict=True)
            ]
            shared = sum(x[:, : self.tokens] for x in both) / len(both)
            sequences = [x[:, self.tokens :] for x in both]
        return along_time([*sequences, shared], [*masks, visible])

    def get_config(self):
        return {**super().get_config(), "tokens": self.tokens}


@keras.saving.register_keras_serializable("mmkeras")
class PerceiverFusion(BlocksFusion):
    """A fixed number of learned tokens ask all modalities, and are the result.

    Jaegle et al. 2021, "Perceiver", as the resampler of Alayrac et al. 2022, "Flamingo", has it:
    the tokens also see themselves.

    Args:
        width, dropout, heads, blocks: As in `BlocksFusion`.
        tokens: Length of the result.
    """

    def __init__(self, width, dropout=0.0, heads=4, blocks=2, tokens=16, **kwargs):
        super().__init__(width, dropout, heads, blocks, **kwargs)
        self.tokens = tokens

    def build_blocks(self, names):
        self.latents = self.tokens_weight(self.tokens)
        self.layers = self.stack(CrossBlock)

    def run(self, sequences, masks, step):
        x = _for_each_example(self.latents, sequences[0])
        visible = ops.ones_like(x[:, :, 0], "bool")
        for (block,) in self.layers:
            context, mask = along_time([x, *sequences], [visible, *masks])
            x = step(block, x, context, mask)
        return x, visible

    def get_config(self):
        return {**super().get_config(), "tokens": self.tokens}


def _for_each_example(tokens, like):
    """`(1, tokens, width)` -> `(batch, tokens, channels of like)`, of which the last are zero."""
    tokens = ops.repeat(ops.cast(tokens, like.dtype), ops.shape(like)[0], axis=0)
    return ops.pad(tokens, [[0, 0], [0, 0], [0, like.shape[-1] - tokens.shape[-1]]])
