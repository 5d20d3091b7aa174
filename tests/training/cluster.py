"""Trains small tasks with a strategy, and writes what came of each to a folder.

    python cluster.py '{"strategy": ["CPU:0", "CPU:1"], "tasks": ["captions"], "out": "two"}'

A strategy is a name, `null` or a list of devices; there are two virtual ones.
"""

import functools
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import mmkeras as mm  # isort: skip (first, so that TensorFlow starts quietly)
import keras
import numpy as np
import tensorflow as tf

BATCH = 8
adam = functools.partial(keras.optimizers.Adam, 1e-2, epsilon=1e-3)


def dense(optimizer, examples=17):
    """Ids that come again and again, and at the end one example for two replicas."""
    words = mm.train_tokenizer(["a b c d"], "word")
    vector = keras.Input((4,), name="vector")
    ids = keras.Input((4,), dtype="int32", name="caption_input")
    x = keras.layers.RepeatVector(4)(keras.layers.Dense(8, activation="relu")(vector))
    x = x + keras.layers.Embedding(words.vocabulary_size, 8)(ids)
    logits = keras.layers.Dense(words.vocabulary_size, name="caption", dtype="float32")(x)
    fields = mm.Preprocessor({"vector": mm.Features((4,))}, {"caption": mm.Text(words, 3)})
    inputs = {"vector": vector, "caption_input": ids}
    task = mm.Task(inputs, {"caption": logits}, preprocessor=fields)
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    task.compile(
        optimizer, {"caption": mm.TokenCrossentropy()}, weighted_metrics={"caption": [accuracy]}
    )
    random = np.random.default_rng(0)
    return task, {
        "vector": random.normal(size=(examples, 4)).astype("float32"),
        "caption": [" ".join("abcd"[: 1 + row % 3]) for row in range(examples)],
    }


def half():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return dense(adam(clipnorm=0.1, gradient_accumulation_steps=2))
    finally:
        keras.config.set_dtype_policy("float32")


def pictures(examples):
    records = mm.world(examples, size=16)
    return {"image": list(records["image"]), "caption": [texts[0] for texts in records["caption"]]}


def look(image):
    """An encoder with batch normalization, over all replicas as it is over the batch."""
    x = keras.layers.Conv2D(8, 4, 4)(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Reshape((-1, 8))(x)
    return x, keras.ops.ones_like(x[..., 0], "bool")


def captioner(decoder):
    records = pictures(18)
    words = mm.train_tokenizer(records["caption"], "word")
    sizes = {"size": "tiny", "sequence_length": 5, "dropout": 0}
    task = mm.image_captioning(words, 16, encoder=look, decoder=decoder, **sizes)
    mm.compile_task(task, adam(global_clipnorm=0.1))
    return task, records


def retriever():
    records = pictures(18)
    words = mm.train_tokenizer(records["caption"], "word")
    encoders = {"encoder": look, "text_encoder": "bag"}
    task = mm.image_text_retrieval(words, 16, **encoders, size="tiny", dropout=0)
    mm.compile_task(task, adam(clipvalue=0.01))
    return task, records


def recognizer(examples=17):
    """Recordings in buckets, of which some hold a single one."""
    import tones  # It uses TensorFlow, and so comes after the strategy.

    task = tones.recognizer()
    mm.compile_task(task, adam(clipnorm=0.1))
    return task, {
        "audio": [tones.wav(0.3 + 0.05 * (row % 5), seed=row) for row in range(examples)],
        "transcript": [tones.TEXTS[row % len(tones.TEXTS)] for row in range(examples)],
    }


TASKS = {
    "clip": lambda: dense(adam(clipnorm=0.05, use_ema=True, ema_momentum=0.9)),
    "accumulate": lambda: dense(
        keras.optimizers.AdamW(
            1e-2,
            epsilon=1e-3,
            global_clipnorm=0.05,
            gradient_accumulation_steps=2,
            use_ema=True,
            ema_overwrite_frequency=2,
        )
    ),
    "half": half,
    "lstm": lambda: captioner("lstm"),
    "transformer": lambda: captioner("transformer"),
    "ctc": recognizer,
    "retrieval": retriever,
}


class Die(keras.callbacks.Callback):
    """Ends this process at a step, counted over all epochs, as if it was killed."""

    def __init__(self, step):
        super().__init__()
        self.steps = iter(range(step))

    def on_train_batch_end(self, batch, logs=None):
        if next(self.steps, None) is None:
            os._exit(9)


def train(strategy, name, directory=None, die_at=None):
    """What came of it, by name: losses and scores, predictions, and all variables."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        task, records = TASKS[name]()
    # Which is quicker, where there is nothing to trace twice.
    task.run_eagerly = strategy.num_replicas_in_sync == 1
    options = {"batch_seconds": 2.0} if name == "ctc" else {}
    data = mm.dataset(records, task.preprocessor, BATCH, shuffle=True, **options)
    callbacks = [mm.Resume(directory, every_steps=2)] if directory else []
    callbacks += [Die(die_at)] if die_at else []
    made = task.fit(data, epochs=2, verbose=0, callbacks=callbacks).history
    if name == "clip":
        data = mm.dataset(records, task.preprocessor, BATCH)
        scores = task.evaluate(data, verbose=0, return_dict=True)
        made |= {f"evaluated_{key}": value for key, value in scores.items()}
        made |= {f"predicted_{key}": x for key, x in task.predict(data, verbose=0).items()}
    variables = [*task.variables, *task.optimizer.variables]
    return made | {f"{i} {each.path}": each.numpy() for i, each in enumerate(variables)}


def main(strategy, tasks, out, **options):
    cpu = tf.config.list_physical_devices("CPU")[0]
    if strategy != "multi_worker":
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
    strategy = mm.strategy(strategy, timeout=60)
    tf.config.experimental.enable_op_determinism()
    Path(out).mkdir(parents=True)
    for name in tasks:
        np.savez(Path(out, f"{name}.npz"), **train(strategy, name, **options))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
