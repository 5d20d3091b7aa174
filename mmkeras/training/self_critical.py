"""Self-critical training: reward what the model itself writes."""

import numpy as np
import tensorflow as tf

from mmkeras.data import dataset
from mmkeras.preprocessing import Features, Preprocessor

INDEX = "record_index"


def self_critical(
    task, records, rewards, batch_size=16, samples=5, temperature=0.6, truth=0.2, seed=0
):
    """A data set of the model's own samples, weighted by how good they are.

    Policy gradient on the metric itself (Rennie et al. 2017, "Self-critical Sequence Training for
    Image Captioning") with the mean of an example's other samples as its baseline (Luo 2020, "A
    Better Variant of Self-Critical Sequence Training"). Each batch is sampled from the weights of
    that moment, so plain `fit` does the training.

    A model trained with label smoothing samples poorly at temperature 1, and then learns to be
    sure of itself rather than right: so samples are drawn, and learnt, at a lower one. A true text
    per example keeps the vocabulary from shrinking.

    Args:
        task: A Task with one text target, trained with cross-entropy first.
        records: Columns of its inputs and its target, a list of references per record.
        rewards: A function `(texts, indices) -> array`: how good each text is for the record of
            that index, such as `mm.CaptionReward(records["caption"])`.
        batch_size: Records in a batch; it holds `samples + 1` times as many sequences.
        samples: How often each record is sampled, at least 2.
        temperature: Of the samples.
        truth: Weight of the true texts' cross-entropy beside the samples' term.
        seed: Of the order, the samples and the choice of true texts.

    Returns:
        A `tf.data.Dataset` of one pass over the records; the last, uneven batch is left out.
        Compile with a `SelfCriticalLoss` of the same `samples` and `temperature`.

    Raises:
        ValueError: if the task has not just one target, or `samples` is below 2.

    Example:

    ```python
    import keras
    import mmkeras as mm

    rewards = mm.CaptionReward(train["caption"])
    model.compile(keras.optimizers.Adam(1e-4), loss={"caption": mm.SelfCriticalLoss()})
    model.fit(mm.self_critical(model, train, rewards), epochs=1)
    ```
    """
    if len(task.preprocessor.targets) != 1:
        raise ValueError(
            f"`task` should have one target. Received: targets {sorted(task.preprocessor.targets)}"
        )
    if samples < 2:
        raise ValueError(f"`samples` should be at least 2. Received: samples={samples}")
    ((target, field),) = task.preprocessor.targets.items()
    inputs = task.preprocessor.inputs
    columns = {name: records[name] for name in inputs}
    rows = len(next(iter(columns.values())))
    columns[INDEX] = np.arange(rows, dtype="float32")[:, None]
    data = dataset(
        columns,
        Preprocessor({**inputs, INDEX: Features((1,))}, {}),
        batch_size,
        shuffle=True,
        seed=seed,
        drop_remainder=True,
    )
    decoder = task.get_layer(target)

    @tf.function(autograph=False)
    def write(x, draw):
        context = task.context(x)[target]
        found = decoder.answer(**context, samples=samples, temperature=temperature, seed=draw)
        ids = tf.reshape(found["ids"], [-1, decoder.max_length])
        lengths = tf.reshape(found["lengths"], [-1])
        end = tf.one_hot(lengths, decoder.max_length, decoder.end_id, 0, dtype=tf.int32)
        return ids + end, field.decode(ids)

    draws = iter(range(seed, 2**31))
    random = np.random.default_rng(seed)

    def batches():
        for x in data:
            indices = x.pop(INDEX).numpy()[:, 0].astype(int)
            ids, texts = write(x, tf.constant(next(draws)))
            texts = [text.decode("utf-8", "replace") for text in texts.numpy()]
            won = np.asarray(rewards(texts, np.repeat(indices, samples)), "float32")
            advantage = _advantage(won.reshape(-1, samples))
            true = [random.choice(records[target][i]) for i in indices]
            _, true, known = field.target(target, tf.constant(true))
            written = tf.cast(ids != 0, "float32")
            labels = _beside(ids, true, samples)
            weight = _beside(
                advantage.reshape(-1, 1) * written / tf.reduce_sum(written),
                truth * known / tf.reduce_sum(known),
                samples,
            )
            # The loss divides by the number of all tokens, padding too.
            weight *= tf.cast(tf.size(labels), "float32")
            x = {name: tf.repeat(value, samples + 1, axis=0) for name, value in x.items()}
            start = tf.fill([tf.shape(labels)[0], 1], decoder.start_id)
            x[f"{target}_input"] = tf.concat([start, labels[:, :-1]], axis=1)
            yield x, {target: labels}, {target: weight}

    length = (None, decoder.max_length)
    specs = {
        name: tf.TensorSpec((None, *task.input[name].shape[1:]), task.input[name].dtype)
        for name in inputs
    }
    signature = (
        {**specs, f"{target}_input": tf.TensorSpec(length, tf.int32)},
        {target: tf.TensorSpec(length, tf.int32)},
        {target: tf.TensorSpec(length, tf.float32)},
    )
    made = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return made.apply(tf.data.experimental.assert_cardinality(rows // batch_size))


def _beside(sampled, true, samples):
    """Rows of all samples and rows of true texts -> each example's samples, then its true text."""
    length = sampled.shape[1]
    sampled = tf.reshape(sampled, [-1, samples, length])
    return tf.reshape(tf.concat([sampled, true[:, None]], axis=1), [-1, length])


def _advantage(won):
    """`(records, samples)`: each sample's reward over the mean of the record's others."""
    others = (won.sum(axis=1, keepdims=True) - won) / (won.shape[1] - 1)
    return won - others
