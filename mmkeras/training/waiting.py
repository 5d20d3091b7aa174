"""How long the steps of `fit` wait for their data."""

import tensorflow as tf


class Waiting:
    """Measures how long each batch is waited for, within the data that `fit` iterates over.

    Keras asks for a batch inside of the step, where no callback sees it; so this puts a clock
    before and one behind, in the thread that asks. What a training that goes on in the middle of an
    epoch reads of that epoch is not measured, nor is the data of several replicas.

    Args:
        iterator: the `epoch_iterator` of a `fit` that has not begun its first epoch.
    """

    def __init__(self, iterator):
        with tf.device("CPU:0"):
            self._seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
            self._batches = tf.Variable(0, dtype=tf.int64, trainable=False)
        data = getattr(iterator, "_distributed_dataset", None)
        if isinstance(data, tf.data.Dataset):
            iterator._distributed_dataset = self._timed(data)

    def waited(self):
        """How many seconds in all, and for how many batches."""
        return float(self._seconds.numpy()), int(self._batches.numpy())

    def _timed(self, data):
        def stop(began, batch):
            with tf.control_dependencies(tf.nest.flatten(batch)):
                waited = self._seconds.assign_add(tf.timestamp() - began)
                counted = self._batches.assign_add(1)
            with tf.control_dependencies([waited, counted]):
                return tf.nest.map_structure(tf.identity, batch)

        asked = tf.data.Dataset.counter().map(lambda _: tf.timestamp())
        timed = tf.data.Dataset.zip(asked, data)
        timed = timed.map(lambda began, *batch: stop(began, batch[0] if len(batch) == 1 else batch))
        options = tf.data.Options()
        # Otherwise another thread would ask, and wait, ahead of the step.
        options.experimental_optimization.inject_prefetch = False
        return timed.with_options(options)
