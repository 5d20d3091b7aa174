"""Word vectors from text: skip-gram with negative sampling, and GloVe, each for plain `fit`."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

_TEXTS_AT_ONCE = 1024


def count_tokens(texts, tokenizer):
    """How often each id of a tokenizer occurs in texts, str or lists of str: `(vocabulary_size,)`.

    Example:

    ```python
    import mmkeras as mm

    words = mm.train_tokenizer(["a dog", "a cat"])
    mm.count_tokens(["a dog", "a dog sees a bird"], words)   # [0, 0, 0, 2, 3, 0, 2]
    ```
    """
    counts = np.zeros(tokenizer.vocabulary_size, "int64")
    for some in _batches(_flat(texts)):
        ids = tokenizer.encode(some).flat_values.numpy()
        counts += np.bincount(ids, minlength=len(counts))
    return counts


def _flat(texts):
    return [text for entry in texts for text in ([entry] if isinstance(entry, str) else entry)]


def _batches(texts):
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        yield tf.constant(texts[start : start + _TEXTS_AT_ONCE])


def skip_gram(vocabulary_size, dimensions=100, learning_rate=1e-3):
    """A model that tells the words around a word from other words.

    Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their
    Compositionality". After training the vectors are the weights of its layer `words`.

    Args:
        vocabulary_size: Of the tokenizer.
        dimensions: Of the vectors.
        learning_rate: Of Adam.

    Returns:
        A compiled `keras.Model`: inputs `word` `(batch,)` and `others` `(batch, n)` -> logits
        `(batch, n)`. `skip_gram_pairs` gives the data.

    Example:

    ```python
    import mmkeras as mm

    words = mm.train_tokenizer(texts, kind="word")
    model = mm.skip_gram(words.vocabulary_size)
    model.fit(mm.skip_gram_pairs(texts, words), epochs=5)
    vectors = model.get_layer("words").get_weights()[0]   # (vocabulary_size, 100)
    ```
    """
    word = keras.Input((), dtype="int32", name="word")
    others = keras.Input((None,), dtype="int32", name="others")
    small = keras.initializers.RandomUniform(-0.5 / dimensions, 0.5 / dimensions)
    vector = keras.layers.Embedding(vocabulary_size, dimensions, small, name="words")(word)
    contexts = keras.layers.Embedding(vocabulary_size, dimensions, "zeros", name="contexts")(others)
    logits = ops.einsum("bd,bnd->bn", vector, contexts)
    model = keras.Model({"word": word, "others": others}, logits, name="skip_gram")
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(learning_rate), loss)
    return model


def skip_gram_pairs(
    texts, tokenizer, window=5, negatives=5, subsample=1e-3, batch_size=1024, seed=0
):
    """Pairs of words that stand near each other, each among words that do not.

    Args:
        texts: Iterable of str, or of lists of str (a column of captions).
        tokenizer: A `WordTokenizer`. Words that it does not know count as not there.
        window: How far apart two words of a pair are at most; how far for a word, is drawn anew.
        negatives: How many other words stand beside the true one, drawn by the 0.75th power of how
            often they occur.
        subsample: Share of all tokens from which on a word is left out the more the more often it
            occurs.
        batch_size: Pairs in a batch.
        seed: Of the order and all draws.

    Returns:
        A `tf.data.Dataset` of `({"word": (batch,), "others": (batch, 1 + negatives)}, labels)`,
        where the labels `(batch, 1 + negatives)` are 1 for the first of the others, and 0.
    """
    texts = _flat(texts)
    counts = _known_counts(texts, tokenizer)
    odds = np.cumsum(counts**0.75 / np.sum(counts**0.75))
    share = np.maximum(counts / counts.sum() / subsample, 1e-9)
    kept = (share**-0.5 + 1 / share).astype("float32")

    def pairs(texts, seed):
        seeds = tf.unstack(tf.random.split(seed, 4))
        ids = _thinned(_known_ids(tokenizer, texts), kept, seeds[0])
        word, other = _near_each_other(ids.to_tensor(), window, seeds[1])
        order = tf.argsort(tf.random.stateless_uniform(tf.shape(word), seeds[2]))
        word, other = tf.gather(word, order), tf.gather(other, order)
        noise = _drawn(odds, [tf.size(word), negatives], seeds[3])
        others = tf.concat([other[:, tf.newaxis], noise], axis=1)
        labels = tf.one_hot(tf.zeros_like(word), 1 + negatives)
        return {"word": word, "others": others}, labels

    data = tf.data.Dataset.from_tensor_slices(texts)
    data = data.shuffle(len(texts), seed=seed).batch(_TEXTS_AT_ONCE)
    draws = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2)
    data = tf.data.Dataset.zip(data, draws).map(pairs, tf.data.AUTOTUNE)
    data = data.rebatch(batch_size)
    # How many pairs are drawn differs a little: every epoch takes as many as a first pass gives.
    steps = data.reduce(tf.constant(0, tf.int64), lambda count, _: count + 1)
    if not steps:
        _refuse_few()
    data = data.repeat().take(steps).apply(tf.data.experimental.assert_cardinality(steps))
    return data.prefetch(tf.data.AUTOTUNE)


def _thinned(ids, kept, seed):
    """Some of `ids`, ragged, each with the probability in `kept`, `(vocabulary_size,)`."""
    luck = tf.random.stateless_uniform(tf.shape(ids.flat_values), seed)
    return tf.ragged.boolean_mask(
        ids, ids.with_flat_values(luck < tf.gather(kept, ids.flat_values))
    )


def _near_each_other(ids, window, seed):
    """Words and others at most so far apart as is drawn for each word, of `(texts, length)`."""
    reach = tf.random.stateless_uniform(tf.shape(ids), seed, 1, window + 1, tf.int32)
    word, other = [], []
    for apart in range(1, window + 1):
        left, right = ids[:, :-apart], ids[:, apart:]
        both = (left > 0) & (right > 0)
        there, back = both & (reach[:, :-apart] >= apart), both & (reach[:, apart:] >= apart)
        word += [left[there], right[back]]
        other += [right[there], left[back]]
    return tf.concat(word, 0), tf.concat(other, 0)


def _drawn(odds, shape, seed):
    """Ids drawn by their cumulated probabilities `odds`, `(vocabulary_size,)`."""
    luck = tf.random.stateless_uniform([tf.reduce_prod(shape)], seed, dtype=tf.float64)
    ids = tf.minimum(tf.searchsorted(odds, luck, side="right"), len(odds) - 1)
    return tf.reshape(ids, shape)


def _known_counts(texts, tokenizer):
    counts = count_tokens(texts, tokenizer).astype("float64")
    counts[: len(tokenizer.reserved)] = 0
    if not counts.any():
        _refuse_few()
    return counts


def _refuse_few():
    raise ValueError(
        "`texts` should hold words beside each other that the tokenizer knows. Received: none"
    )


def _known_ids(tokenizer, texts):
    ids = tokenizer.encode(texts)
    return tf.ragged.boolean_mask(ids, ids != tokenizer.unknown_id)


def glove(vocabulary_size, dimensions=100, learning_rate=2e-3):
    """A model of how often words stand near each other, as a product of their vectors.

    Pennington et al. 2014, "GloVe: Global Vectors for Word Representation", with Adam in place of
    Adagrad. After training the vectors are the sum of the weights of its layers `words` and
    `contexts`.

    Args:
        vocabulary_size: Of the tokenizer.
        dimensions: Of the vectors.
        learning_rate: Of Adam.

    Returns:
        A compiled `keras.Model`: inputs `word` and `other` `(batch,)` -> the logarithm of their
        count `(batch,)`. `glove_pairs` gives the data.

    Example:

    ```python
    import mmkeras as mm

    words = mm.train_tokenizer(texts, kind="word")
    model = mm.glove(words.vocabulary_size)
    model.fit(mm.glove_pairs(texts, words), epochs=5)
    vectors = sum(model.get_layer(name).get_weights()[0] for name in ("words", "contexts"))
    ```
    """
    inputs = {name: keras.Input((), dtype="int32", name=name) for name in ("word", "other")}
    spread = keras.initializers.RandomUniform(-0.5 / dimensions, 0.5 / dimensions)
    total = 0.0
    vectors = []
    for name, x in zip(("words", "contexts"), inputs.values(), strict=True):
        vectors.append(keras.layers.Embedding(vocabulary_size, dimensions, spread, name=name)(x))
        total = total + keras.layers.Embedding(vocabulary_size, 1, "zeros", name=f"{name}_bias")(x)
    total = total + ops.sum(vectors[0] * vectors[1], axis=-1, keepdims=True)
    model = keras.Model(inputs, ops.squeeze(total, -1), name="glove")
    model.compile(keras.optimizers.Adam(learning_rate), "mse")
    return model


def glove_pairs(texts, tokenizer, window=10, enough=10, batch_size=1024, seed=0):
    """How often words stand near each other, each time counted as one over how far apart.

    Args:
        texts: Iterable of str, or of lists of str (a column of captions).
        tokenizer: A `WordTokenizer`. Words that it does not know count as not there.
        window: How far apart two words are at most.
        enough: Count from which on a pair weighs 1; below, it weighs the 0.75th power of its share.
            The paper takes 100, for billions of words.
        batch_size: Pairs in a batch.
        seed: Of the order.

    Returns:
        A `tf.data.Dataset` of `({"word": (batch,), "other": (batch,)}, logarithms of counts,
        weights)`.
    """
    size = tokenizer.vocabulary_size
    keys, counts = np.zeros(0, "int64"), np.zeros(0)
    for some in _batches(_flat(texts)):
        ids = _known_ids(tokenizer, some).to_tensor().numpy()
        more = _near(ids.astype("int64"), window, size)
        keys, places = np.unique(np.concatenate([keys, more[0]]), return_inverse=True)
        counts = np.bincount(places, np.concatenate([counts, more[1]]), len(keys))
    if not len(keys):
        _refuse_few()
    x = {"word": (keys // size).astype("int32"), "other": (keys % size).astype("int32")}
    weights = np.minimum(counts / enough, 1.0) ** 0.75
    pairs = (x, np.log(counts).astype("float32"), weights.astype("float32"))
    data = tf.data.Dataset.from_tensor_slices(pairs)
    return data.shuffle(len(keys), seed=seed).batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _near(ids, window, size):
    """Pairs of `(texts, length)`, 0 for padding, both ways round: their keys and their weights."""
    keys, weights = [np.zeros(0, "int64")], [np.zeros(0)]
    for apart in range(1, min(window, ids.shape[1] - 1) + 1):
        left, right = ids[:, :-apart], ids[:, apart:]
        both = (left > 0) & (right > 0)
        left, right = left[both], right[both]
        keys += [left * size + right, right * size + left]
        weights.append(np.full(2 * len(left), 1 / apart))
    return np.concatenate(keys), np.concatenate(weights)
