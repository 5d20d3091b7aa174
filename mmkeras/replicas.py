"""What a replica of a model asks of the others; alone, and outside of a step, there are none."""

import contextlib
import threading

import keras
from keras import ops

_here = threading.local()


def _context():
    """TensorFlow's replica context if there are others; else None."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def count():
    """How many replicas take part in the step that is running; 1 outside of one."""
    context = _context()
    return context.num_replicas_in_sync if context else 1


def gather(x):
    """The rows of all replicas, in their order, with a gradient; `(rows, ...)` -> `(all, ...)`.

    Rows of a replica that only stands in, see `standing_in`, are among them.
    """
    context = _context()
    return context.all_gather(x, axis=0) if context else x


def total(x):
    """The sum over all replicas."""
    context = _context()
    return context.all_reduce("SUM", x) if context else x


def is_real(like):
    """1 if this replica has examples of its own, 0 if it only stands in."""
    return ops.cast(getattr(_here, "real", 1), like.dtype)


@contextlib.contextmanager
def standing_in(real):
    """Within it this replica counts (1) or not (0), being given a row of zeros for want of any.

    A last batch may have fewer examples than there are replicas, and all must take every step.
    """
    _here.real = real
    try:
        yield
    finally:
        del _here.real
