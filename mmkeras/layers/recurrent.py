"""Recurrent layers whose state is passed, never kept."""

import keras
from keras import ops

from mmkeras.layers.linear import Linear


@keras.saving.register_keras_serializable("mmkeras")
class LSTM(keras.layers.Layer):
    """A long short-term memory over a sequence of known length, from a state to a state.

    Hochreiter and Schmidhuber 1997, with a forget gate that starts open. What does not depend on
    the step before is one product for the whole sequence, and the steps are laid out one by one
    in the graph: `keras.layers.LSTM` multiplies both within a loop, which trains at half the speed
    on a CPU.

    Args:
        units: Width of the state.

    Shapes: `x` `(batch, length, any width)`, `state` a list of `(batch, units)` twice: hidden and
    cell -> the hidden states `(batch, length, units)` and the last state.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, x_shape):
        self.inputs = Linear(4 * self.units, use_bias=False, name="inputs")
        self.inputs.build(x_shape)
        self.recurrent = self.add_weight(
            (self.units, 4 * self.units), initializer="orthogonal", name="recurrent"
        )
        self.bias = self.add_weight((4 * self.units,), initializer=_open_forget, name="bias")

    def call(self, x, state):
        x = self.inputs(x) + self.bias
        recurrent = ops.cast(self.recurrent, x.dtype)
        hidden, cell = state
        outputs = []
        for part in ops.unstack(x, axis=1):
            part = part + ops.matmul(hidden, recurrent)
            gates = ops.sigmoid(part[:, : 3 * self.units])
            forget, take, show = ops.split(gates, 3, axis=-1)
            cell = forget * cell + take * ops.tanh(part[:, 3 * self.units :])
            hidden = show * ops.tanh(cell)
            outputs.append(hidden)
        return ops.stack(outputs, axis=1), [hidden, cell]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def _open_forget(shape, dtype=None):
    """1 for the forget gates, the first quarter, and 0 for the rest (Jozefowicz et al. 2015)."""
    return ops.cast(ops.arange(shape[0]) < shape[0] // 4, dtype)
