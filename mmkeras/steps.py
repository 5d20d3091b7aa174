"""The steps of `fit`, `evaluate` and `predict`: what they give does not hang on how many replicas.

For Keras on TensorFlow; other backends have steps of their own.
"""

import warnings

import keras
import tensorflow as tf
from keras import tree

from mmkeras import replicas


class Steps:
    """Steps of a `keras.Model`, which stands beside it among the bases of a class.

    Gradients are dense: optimizers of Keras would square the slices of an embedding's gradient one
    by one, and so see another gradient wherever an id comes twice. Of several replicas they are
    summed before the optimizer sees them, and losses are means over the examples of all.

    Raises:
        ValueError: something asked for cannot be done with several replicas.
    """

    def train_step(self, data):
        x, y, weights, real = _present(data)
        with replicas.standing_in(real):
            with tf.GradientTape() as tape:
                answers = self(x, training=True)
                loss = self._compute_loss(x, y, answers, weights, training=True)
                scaled = self.optimizer.scale_loss(loss)
            self._track(loss, x, real)
            gradients = tape.gradient(scaled, self.trainable_weights)
            self._apply([None if g is None else tf.convert_to_tensor(g) for g in gradients])
            return self.compute_metrics(x, y, answers, weights)

    def test_step(self, data):
        x, y, weights, real = _present(data)
        with replicas.standing_in(real):
            answers = self(x, training=False)
            loss = self._compute_loss(x, y, answers, weights, training=False)
            self._track(loss, x, real)
            return self.compute_metrics(x, y, answers, weights)

    def predict_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        rows = _rows(x)
        answers = self(_padded(x, rows), training=False)
        return answers if replicas.count() == 1 else _cut(answers, rows)

    def _track(self, loss, x, real):
        weight = _rows(x) * tf.cast(real, tf.int32)
        self._loss_tracker.update_state(replicas.total(loss), sample_weight=weight)

    def _apply(self, gradients):
        variables = self.trainable_weights
        if not variables:
            warnings.warn("The model does not have any trainable weights.", stacklevel=2)
        elif replicas.count() == 1:
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        else:
            tf.distribute.get_strategy().apply(self.optimizer, gradients, variables)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Makes all variables from what the data say of themselves.

        Keras would read a batch, and with it the number of an epoch.
        """
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return super()._maybe_symbolic_build(iterator, data_batch)
        if iterator is not None:
            data_batch = tree.map_structure(
                lambda spec: getattr(spec, "_value_specs", [spec])[0],
                iterator._distributed_dataset.element_spec,
            )
        self._check(data_batch)
        with self.distribute_strategy.scope():
            for layer in self._flatten_layers():
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.synchronized = True
            self._symbolic_build(data_batch=data_batch)

    def _check(self, batch):
        count = self.distribute_strategy.num_replicas_in_sync
        if not hasattr(self.distribute_strategy, "apply"):
            raise ValueError(
                "With several replicas a model should be made within `mm.strategy().scope()`: "
                "others of TensorFlow give each replica a loss, and a clipping, of its own. "
                f"Received: {type(self.distribute_strategy).__name__}"
            )
        if self.optimizer is not None:
            inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
            if inner._distribution_strategy is not self.distribute_strategy:
                raise ValueError(
                    "The optimizer should be made within the scope of the strategy too, as the "
                    "model is: its variables belong to all replicas."
                )
        if self.jit_compile:
            raise ValueError(
                f"`jit_compile` should be False with {count} replicas: what they tell each other "
                "cannot be compiled. Received: jit_compile=True"
            )
        if self.steps_per_execution != 1:
            raise ValueError(
                f"`steps_per_execution` should be 1 with {count} replicas: Keras cannot loop over "
                f"what they give. Received: steps_per_execution={self.steps_per_execution}"
            )
        if tf.string in [each.dtype for each in tree.flatten(batch)]:
            raise ValueError(
                f"Data should hold no strings with {count} replicas: no device but a CPU takes "
                "them. Make them tensors before, as `mm.dataset` does."
            )


def _present(data):
    """`(x, y, sample_weight)` of at least one row, and whether that is 1 or 0 examples.

    A replica that has none has a row of zeros, of weight zero.
    """
    x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
    if replicas.count() == 1:
        return x, y, weights, 1
    rows = _rows(x)
    if weights is None and y is not None:
        weights = tree.map_structure(lambda _: tf.ones([rows]), y)
    x, y, weights = (_padded(each, rows) for each in (x, y, weights))
    return x, y, weights, tf.minimum(rows, 1)


def _rows(x):
    return tf.shape(tree.flatten(x)[0])[0]


def _padded(columns, rows):
    """A row of zeros where there is none."""
    if columns is None or replicas.count() == 1:
        return columns
    missing = tf.cast(rows == 0, tf.int32)
    return tree.map_structure(
        lambda x: tf.pad(x, [[0, missing], *[[0, 0]] * (x.shape.rank - 1)]), columns
    )


def _cut(columns, rows):
    return tree.map_structure(lambda x: x[:rows], columns)
