"""A dense layer and a normalisation of few TensorFlow operations, for steps of one token."""

import math

import keras
from keras import ops

EPSILON = 1e-5


@keras.saving.register_keras_serializable("mmkeras")
class Linear(keras.layers.Dense):
    """`keras.layers.Dense` as one matrix product, whatever the rank of its input.

    On a tensor of unknown batch and rank above 2 Keras's own takes some ten operations that only
    work out shapes; in a decoding step they cost more than the product.
    """

    def call(self, x, training=None):
        leading = [-1, *(ops.shape(x)[1:-1])]
        x = ops.matmul(ops.reshape(x, (-1, x.shape[-1])), self.kernel)
        if self.bias is not None:
            x = ops.add(x, self.bias)
        if training and self.activation is keras.activations.gelu:
            x = _gelu(x)
        elif self.activation is not None:
            x = self.activation(x)
        return x if len(leading) == 1 else ops.reshape(x, (*leading, self.units))


@ops.custom_gradient
def _gelu(x):
    """The exact GELU (Hendrycks and Gimpel 2016), whose gradient takes few passes over memory."""
    share = ops.erf(x * 0.5**0.5) * 0.5 + 0.5

    def gradient(upstream):
        density = ops.exp(ops.square(x) * -0.5 - 0.5 * math.log(2 * math.pi))
        return upstream * (share + x * density)

    return x * share, gradient


def tied_logits(x, embedding):
    """`(batch, length, width)` by the rows of `(vocabulary, width)`, as one matrix product."""
    length, (vocabulary, width) = ops.shape(x)[1], embedding.shape
    rows = ops.reshape(x, (-1, width))
    logits = ops.matmul(rows, ops.transpose(ops.cast(embedding, x.dtype)))
    return ops.reshape(logits, (-1, length, vocabulary))


@keras.saving.register_keras_serializable("mmkeras")
class LayerNorm(keras.layers.Layer):
    """Layer normalisation over the last axis (Ba et al. 2016) in nine operations, not sixteen."""

    def build(self, x_shape):
        self.scale = self.add_weight((x_shape[-1],), initializer="ones", name="scale")
        self.shift = self.add_weight((x_shape[-1],), initializer="zeros", name="shift")

    def call(self, x):
        # Means of squares of float16 overflow.
        wide = ops.cast(x, "float32")
        centred = wide - ops.mean(wide, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        normal = centred * ops.rsqrt(variance + EPSILON)
        return ops.cast(normal, x.dtype) * self.scale + self.shift
