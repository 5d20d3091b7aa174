"""A neural language model: the next token from those before it, added to a search as it writes."""

import keras
import tensorflow as tf
from keras import ops

from mmkeras.decoders.prefix_search import BLANK_ID
from mmkeras.layers.bidirectional import RecurrentBlock
from mmkeras.layers.linear import LayerNorm, Linear, tied_logits
from mmkeras.losses import TokenCrossentropy

_AT_ONCE = 64


@keras.saving.register_keras_serializable("mmkeras")
class LSTMLanguageModel(keras.layers.Layer):
    """How likely each token is after those before it, by LSTMs on top of each other.

    Zaremba et al. 2014, "Recurrent Neural Network Regularization". What it carries from token to
    token is a few vectors, however long the text, so that a beam is reordered and a stream goes on
    at little cost. `mm.language_model` makes one with all that it takes to train it.

    Args:
        vocabulary_size: Number of ids, special ones included.
        width: Of the LSTMs and the embedding.
        depth: Number of LSTMs.
        dropout: Rate between them.
        tied: Whether the output uses the embedding's weights (Press and Wolf 2017).
        start_id, end_id: The special ids; 0 is padding.

    Shapes: ids `(batch, length)`, from START on -> logits `(batch, length, vocabulary_size)`.

    Example:

    ```python
    import mmkeras as mm

    letters = mm.train_tokenizer(["a dog runs"], kind="character")
    model = mm.language_model(letters, size="tiny")
    model.fit(mm.dataset({"text": ["a dog runs"]}, model.preprocessor, 1), epochs=20)
    model.get_layer("text").perplexity(["a dog runs"], letters)
    ```
    """

    def __init__(
        self,
        vocabulary_size,
        width=256,
        depth=2,
        dropout=0.3,
        tied=True,
        start_id=1,
        end_id=2,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.width = width
        self.depth = depth
        self.dropout = dropout
        self.tied = tied
        self.start_id = start_id
        self.end_id = end_id

    def build(self, ids_shape):
        wide = (None, None, self.width)
        self.embedding = self.add_weight(
            (self.vocabulary_size, self.width),
            initializer=keras.initializers.RandomNormal(stddev=self.width**-0.5),
            name="embedding",
        )
        self.blocks = [
            RecurrentBlock(self.width, dropout=self.dropout, name=f"block_{i}")
            for i in range(self.depth)
        ]
        self.norm = LayerNorm(name="norm")
        for layer in (*self.blocks, self.norm):
            layer.build(wide)
        if not self.tied:
            self.output_layer = Linear(self.vocabulary_size, name="output")
            self.output_layer.build(wide)
        self.drop = keras.layers.Dropout(self.dropout)

    def call(self, ids, training=None):
        written = ids != 0
        x = self.drop(self._embedded(ids), training=training)
        for block in self.blocks:
            x = block(x, padding_mask=written, training=training)
        return self._logits(x)

    def initial_state(self, batch_size):
        """What stands before START: `(batch, depth, 2, width)`, hidden and cell of each LSTM."""
        return ops.zeros((batch_size, self.depth, 2, self.width), self.compute_dtype)

    def step(self, ids, state):
        """The ids `(batch,)` that come next -> logits `(batch, vocabulary)` and a state."""
        x, after = self._embedded(ids), []
        for i, block in enumerate(self.blocks):
            x, kept = block.step(x, [state[:, i, 0], state[:, i, 1]])
            after.append(ops.stack(kept, axis=1))
        return self._logits(x[:, None])[:, 0], ops.stack(after, axis=1)

    def _embedded(self, ids):
        return ops.cast(ops.take(self.embedding, ids, axis=0), self.compute_dtype)

    def _logits(self, x):
        x = self.norm(x)
        logits = tied_logits(x, self.embedding) if self.tied else self.output_layer(x)
        return ops.cast(logits, "float32")

    def scorer(self, weight, bonus=None, unknown=None):
        """What a search adds, see `mmkeras.decoders.scoring`; no token is unknown."""
        return _Scorer(self, weight, bonus or 0.0)

    def perplexity(self, texts, tokenizer):
        """Of the tokens of texts, in which the end of each text counts as one."""
        total, count = 0.0, 0
        for start in range(0, len(texts), _AT_ONCE):
            ids = tokenizer.encode(texts[start : start + _AT_ONCE])
            edge = tf.ones([ids.nrows(), 1], tf.int32)
            written = tf.concat([self.start_id * edge, ids, self.end_id * edge], 1).to_tensor(0)
            weight = tf.cast(written[:, 1:] != 0, tf.float32)
            loss = TokenCrossentropy(reduction="sum")
            total += loss(written[:, 1:], self(written[:, :-1]), sample_weight=weight)
            count += tf.reduce_sum(weight)
        return float(tf.exp(total / count))

    def loss(self):
        """The loss to compile with."""
        return TokenCrossentropy()

    def metrics_to_compile(self):
        """The metrics to compile with; padding has weight 0."""
        return [keras.metrics.SparseCategoricalAccuracy(name="token_accuracy")]

    def compute_output_shape(self, ids_shape):
        return (*ids_shape, self.vocabulary_size)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "width": self.width,
            "depth": self.depth,
            "dropout": self.dropout,
            "tied": self.tied,
            "start_id": self.start_id,
            "end_id": self.end_id,
        }


class _Scorer:
    """Adds the model to a search. What may come next is known before it comes, so that the LSTMs
    only read the tokens that were chosen, and no candidate beside them."""

    def __init__(self, model, weight, bonus):
        self.model = model
        self.weight = weight
        self.bonus = bonus
        self.most = max(0.0, bonus)

    def initial_state(self, batch_size):
        start = tf.fill([batch_size], self.model.start_id)
        return self._after(start, self.model.initial_state(batch_size))

    def score(self, state, tokens):
        tokens = tf.repeat(tokens[:, None], state["log_probs"].shape[1], axis=1)
        values = tf.gather(state["log_probs"], tokens, batch_dims=2)
        return self.weight * values + self.bonus

    def advance(self, state, tokens):
        places = tf.where(tokens != BLANK_ID)
        memory = tf.gather_nd(state["memory"], places)
        after = self._after(tf.gather_nd(tokens, places), memory)
        return {
            name: tf.tensor_scatter_nd_update(values, places, after[name])
            for name, values in state.items()
        }

    def end(self, state):
        return self.weight * state["log_probs"][..., self.model.end_id]

    def _after(self, tokens, memory):
        logits, memory = self.model.step(tokens, memory)
        return {"log_probs": tf.nn.log_softmax(logits), "memory": memory}
