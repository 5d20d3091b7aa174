"""Recurrent layers for hundreds of steps, in one direction or in both at once."""

import keras
from keras import ops

from mmkeras.layers.dropout import ByteDropout
from mmkeras.layers.linear import LayerNorm, Linear

# Steps laid out one by one in the body of the loop, whose every turn has a price.
STEPS_PER_TURN = 8
# What shuts a gate for good, in float16 too.
SHUT = -3e4


@keras.saving.register_keras_serializable("mmkeras")
class MaskedLSTM(keras.layers.Layer):
    """A long short-term memory over a sequence of any length, in which padding leaves no trace.

    Hochreiter and Schmidhuber 1997, with a forget gate that starts open. Where the mask is false
    all gates are shut, so state and output are zero there, and the direction that comes from the
    end begins at every utterance's own. Both directions take a step in one product, and the way
    back holds in its loop only what depends on the step after: that trains half as fast again on
    a CPU as `keras.layers.Bidirectional`.

    Args:
        units: Width of the state of one direction.
        bidirectional: Whether there is a second one, from the end.

    Shapes: `x` `(batch, length, any width)`, `padding_mask` `(batch, length)` ->
    `(batch, length, units or 2 * units)`.
    """

    def __init__(self, units, bidirectional=False, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.bidirectional = bidirectional

    def build(self, x_shape, padding_mask_shape=None):
        self.inputs = []
        for way in ("forward", "backward")[: 1 + self.bidirectional]:
            linear = Linear(4 * self.units, bias_initializer=_open_forget, name=way)
            linear.build(x_shape)
            self.inputs.append(linear)
        self.recurrent = self.add_weight(
            (len(self.inputs), self.units, 4 * self.units),
            initializer=_orthogonal,
            name="recurrent",
        )

    def initial_state(self, batch):
        zero = ops.zeros((batch, self.units), self.compute_dtype)
        return [zero, zero]

    def forward(self, x, padding_mask, state=None):
        """As `call`, from a state `[hidden, cell]`, each `(batch, units)`, to a state.

        No gradient passes through the state after it.
        """
        batch, length = ops.shape(padding_mask)
        x = ops.transpose(x, (1, 0, 2))
        shut = SHUT * ops.cast(ops.logical_not(padding_mask), x.dtype)
        shut = ops.expand_dims(ops.transpose(shut), -1)
        gates = [self.inputs[0](x) + shut]
        if self.bidirectional:
            gates.append(self.inputs[1](ops.flip(x, 0)) + ops.flip(shut, 0))
        if state is None:
            zero = ops.zeros((len(gates), batch, self.units), x.dtype)
            state = zero, zero
        else:
            state = [ops.expand_dims(part, 0) for part in state]
        to_full_turn = [(0, -length % STEPS_PER_TURN), (0, 0), (0, 0), (0, 0)]
        gates = ops.pad(ops.stack(gates, axis=1), to_full_turn)
        hidden, cell = _run(gates, ops.cast(self.recurrent, x.dtype), *state)
        last = [ops.stop_gradient(part[length - 1, 0]) for part in (hidden, cell)]
        outputs = [hidden[:length, 0]]
        if self.bidirectional:
            outputs.append(ops.flip(hidden[:length, 1], 0))
        return ops.transpose(ops.concatenate(outputs, axis=-1), (1, 0, 2)), last

    def step(self, x, state):
        """As `forward` of one direction, for one step `(batch, width)` and no loop around it."""
        hidden, cell = state
        recurrent = ops.cast(self.recurrent[0], x.dtype)
        return _step(self.inputs[0](x) + ops.matmul(hidden, recurrent), cell)

    def call(self, x, padding_mask):
        return self.forward(x, padding_mask)[0]

    def compute_output_shape(self, x_shape, padding_mask_shape=None):
        return (*x_shape[:-1], self.units * (1 + self.bidirectional))

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "bidirectional": self.bidirectional,
        }


def _orthogonal(shape, dtype=None):
    """One orthogonal matrix per direction."""
    make = keras.initializers.Orthogonal()
    return ops.stack([make(shape[1:], dtype) for _ in range(shape[0])])


def _open_forget(shape, dtype=None):
    """1 for the forget gates, the first quarter, and 0 for the rest (Jozefowicz et al. 2015)."""
    return ops.cast(ops.arange(shape[0]) < shape[0] // 4, dtype)


@ops.custom_gradient
def _run(inputs, recurrent, hidden, cell):
    """Every step of every direction.

    Args:
        inputs: `(length, ways, batch, 4 * units)`, what the gates forget, take and show and the
            candidate get from outside; the length is a multiple of `STEPS_PER_TURN`.
        recurrent: `(ways, units, 4 * units)`.
        hidden, cell: `(ways, batch, units)`, before the first step.

    Returns:
        The hidden states and the cells `(length, ways, batch, units)`, these without a gradient.
    """

    def step(state, now):
        hidden, cell = state
        return _step(now + ops.matmul(hidden, recurrent), cell)

    hiddens, cells = _scan(step, (hidden, cell), inputs)

    def gradient(d_hiddens, _):
        # Kept are the two states of each step: the gates are one product for all steps away.
        before = ops.concatenate([hidden[None], hiddens[:-1]])
        gates = _gates(inputs + ops.einsum("twbu,wug->twbg", before, recurrent))
        cells_before = ops.concatenate([cell[None], cells[:-1]])
        d_gates, d_cell = _gradient_of_gates(d_hiddens, cells, cells_before, gates, recurrent)
        return (
            d_gates,
            ops.einsum("twbu,twbg->wug", before, d_gates),
            ops.matmul(d_gates[0], ops.transpose(recurrent, (0, 2, 1))),
            d_cell[0],
        )

    return (hiddens, cells), gradient


def _step(x, cell):
    """The hidden state and the cell after a step, from what goes into its gates."""
    forget, take, show, candidate = _gates(x)
    cell = forget * cell + take * candidate
    return show * ops.tanh(cell), cell


def _gates(x):
    """Forget, take, show and candidate from `(..., 4 * units)`."""
    units = x.shape[-1] // 4
    gates = ops.sigmoid(x[..., : 3 * units])
    return *ops.split(gates, 3, axis=-1), ops.tanh(x[..., 3 * units :])


def _gradient_of_gates(d_hiddens, cells, cells_before, gates, recurrent):
    """`(length, ways, batch, 4 * units)`, and that of the cell before each step."""
    forget, take, show, candidate = gates
    shown = ops.tanh(cells)
    # One tensor, as a scan over several wants to know their length.
    known = ops.concatenate(
        [
            d_hiddens,
            show * (1 - ops.square(shown)),
            forget,
            cells_before * forget * (1 - forget),
            candidate * take * (1 - take),
            shown * show * (1 - show),
            take * (1 - ops.square(candidate)),
        ],
        axis=-1,
    )
    units = cells.shape[-1]
    back = ops.transpose(recurrent, (0, 2, 1))

    def step(state, now):
        d_gates, d_cell = state
        d_hidden, through, forget = ops.split(now[..., : 3 * units], 3, axis=-1)
        d_hidden = d_hidden + ops.matmul(d_gates, back)
        d_cell = d_cell + d_hidden * through
        d_gates = ops.concatenate([d_cell, d_cell, d_hidden, d_cell], axis=-1)
        return d_gates * now[..., 3 * units :], d_cell * forget

    start = ops.zeros_like(known[0, ..., 3 * units :]), ops.zeros_like(cells[0])
    return _scan(step, start, known, reverse=True)


def _scan(step, state, inputs, reverse=False):
    """Every state of `state = step(state, inputs of a step)`, stacked along a first axis."""

    def turn(states, inputs):
        state = [part[0 if reverse else -1] for part in states]
        rows = ops.unstack(inputs, STEPS_PER_TURN)
        found = []
        for row in reversed(rows) if reverse else rows:
            state = step(state, row)
            found.append(state)
        found = reversed(found) if reverse else found
        states = tuple(ops.stack(parts) for parts in zip(*found, strict=True))
        return states, states

    start = tuple(ops.repeat(part[None], STEPS_PER_TURN, axis=0) for part in state)
    inputs = ops.reshape(inputs, (-1, STEPS_PER_TURN, *ops.shape(inputs)[1:]))
    _, states = ops.scan(turn, start, inputs, reverse=reverse)
    return [ops.reshape(part, (-1, *ops.shape(part)[2:])) for part in states]


@keras.saving.register_keras_serializable("mmkeras")
class RecurrentBlock(keras.layers.Layer):
    """An LSTM over normalised frames.

    Args:
        units, bidirectional: As in `MaskedLSTM`.
        dropout: Rate on the result.

    Shapes: as `MaskedLSTM`.
    """

    def __init__(self, units, bidirectional=False, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.bidirectional = bidirectional
        self.dropout = dropout

    def build(self, x_shape, padding_mask_shape=None):
        self.norm = LayerNorm(name="norm")
        self.norm.build(x_shape)
        self.lstm = MaskedLSTM(self.units, self.bidirectional, name="lstm")
        self.lstm.build(x_shape)
        self.drop = ByteDropout(self.dropout)

    def initial_state(self, batch):
        return self.lstm.initial_state(batch)

    def forward(self, x, padding_mask, state=None, training=None):
        x, state = self.lstm.forward(self.norm(x), padding_mask, state)
        return self.drop(x, training=training), state

    def step(self, x, state):
        """As `forward`, for one step `(batch, width)`; not for training."""
        state = self.lstm.step(self.norm(x), state)
        return state[0], state

    def call(self, x, padding_mask, training=None):
        return self.forward(x, padding_mask, training=training)[0]

    def compute_output_shape(self, x_shape, padding_mask_shape=None):
        return self.lstm.compute_output_shape(x_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "bidirectional": self.bidirectional,
            "dropout": self.dropout,
        }
