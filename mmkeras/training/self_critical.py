"""Self-critical training: reward what the model itself writes."""

import numpy as np
import tensorflow as tf

from mmkeras.data import dataset
from mmkeras.preprocessing import Features, Preprocessor

INDEX = "record_index"


def self_critical(task, records, rewards, batch_size=16, samples=5, seed=0):
    """A data set of the model's own samples, weighted by how good they are.

    Policy gradient on the metric itself (Rennie et al. 2017, "Self-critical Sequence Training for
    Image Captioning") with the mean of an example's other samples as its baseline (Luo 2020, "A
    Better Variant of Self-Critical Sequence Training"). Each batch is sampled from the weights of
    that moment, so plain `fit` does the training. The weights are negative for samples worse than
    the baseline: compile with `TokenCrossentropy(reduction="sum_over_batch_size")`.

    Args:
        task: A Task with one text target, trained with cross-entropy first.
        records: Columns of its inputs.
        rewards: A function `(texts, indices) -> array`: how good each text is for the record of
            that index, such as `mm.CiderD.from_references(records["caption"]).rewards`.
        batch_size: Records in a batch; it holds `samples` times as many sequences.
        samples: How often each record is sampled, at least 2.
        seed: Of the order and of the samples.

    Returns:
        A `tf.data.Dataset` of one pass over the records; the last, uneven batch is left out.

    Raises:
        ValueError: if the task has not just one target, or `samples` is below 2.

    Example:

    ```python
    import keras
    import mmkeras as mm

    scorer = mm.CiderD.from_references(train["caption"])
    loss = mm.TokenCrossentropy(reduction="sum_over_batch_size")
    model.compile(keras.optimizers.Adam(5e-5), loss={"caption": loss})
    model.fit(mm.self_critical(model, train, scorer.rewards), epochs=5)
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
        found = decoder.answer(**context, samples=samples, temperature=1.0, seed=draw)
        ids = tf.reshape(found["ids"], [-1, decoder.max_length])
        lengths = tf.reshape(found["lengths"], [-1])
        end = tf.one_hot(lengths, decoder.max_length, decoder.end_id, 0, dtype=tf.int32)
        return ids + end, field.decode(ids)

    draws = iter(range(seed, 2**31))

    def batches():
        for x in data:
            indices = x.pop(INDEX).numpy()[:, 0].astype(int)
            ids, texts = write(x, tf.constant(next(draws)))
            texts = [text.decode("utf-8", "replace") for text in texts.numpy()]
            won = np.asarray(rewards(texts, np.repeat(indices, samples)), "float32")
            advantage = _advantage(won.reshape(-1, samples))
            x = {name: tf.repeat(value, samples, axis=0) for name, value in x.items()}
            written = tf.cast(ids != 0, "float32")
            weight = advantage.reshape(-1, 1) * written / tf.reduce_mean(written)
            x[f"{target}_input"] = tf.concat(
                [tf.fill([len(texts), 1], decoder.start_id), ids[:, :-1]], axis=1
            )
            yield x, {target: ids}, {target: weight}

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


def _advantage(won):
    """`(records, samples)`: each sample's reward over the mean of the record's others."""
    others = (won.sum(axis=1, keepdims=True) - won) / (won.shape[1] - 1)
    return won - others
