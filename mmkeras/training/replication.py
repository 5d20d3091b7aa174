"""What TensorFlow's strategies and Keras's `fit` lack to give what one process gives.

All that is changed of Keras and TensorFlow stands here; Keras 3.15 on TensorFlow 2.21 as they are
divide each replica's loss by its own weights and not by those of all, clip its gradients before
they are summed, refuse to accumulate them, and fail with several workers (keras #20585, #20582).
"""

import contextlib
import functools
import warnings

import keras
import tensorflow as tf
from keras import ops, tree
from keras.src.losses import loss as keras_loss

from mmkeras import replicas

VERIFIED = "3.15."
ISSUE = "https://github.com/keras-team/keras/issues/20585"


class Replicated:
    """What is added to a strategy of TensorFlow."""

    def experimental_distribute_dataset(self, dataset, options=None):
        """Parts each batch among the replicas, in order and as evenly as can be.

        Of `mm.dataset` a worker reads no more than its part. TensorFlow would have it read all, and
        leave some replicas without a last batch.

        Raises:
            ValueError: the batches of `mm.dataset` cannot be parted evenly.
        """
        count = self.num_replicas_in_sync
        if hasattr(dataset, "identity"):
            size = dataset.identity()["batch_size"]
            if size % count:
                raise ValueError(
                    f"`batch_size` should be a multiple of {count}, the number of replicas, of "
                    f"which each takes a part. Received: batch_size={size}"
                )

        def of_worker(context):
            worker, workers = context.input_pipeline_id, context.num_input_pipelines
            here = count // workers
            parts = functools.partial(_parts, count, worker * here, here)
            mine = dataset
            if workers > 1 and hasattr(dataset, "part"):
                mine = dataset.part(worker, workers)
                parts = functools.partial(_parts, here, 0, here)
            return mine.flat_map(parts).prefetch(here)

        return self.distribute_datasets_from_function(of_worker)

    def reduce(self, reduce_op, value, axis):
        """As TensorFlow's, also for the scalars of which Keras wants the mean over their rows."""
        if axis == 0 and all(
            each.shape.rank == 0 for each in self.experimental_local_results(value)
        ):
            axis = None
        return super().reduce(reduce_op, value, axis)

    def apply(self, optimizer, gradients, variables):
        """Sums the gradients of all replicas, then each of them goes the same step by itself.

        So the optimizer clips, accumulates and scales what one process would have given it. To be
        called in a replica, with dense gradients.
        """
        there = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        context = tf.distribute.get_replica_context()
        summed = context.all_reduce("SUM", [gradient for gradient, _ in there])
        with _each_by_itself(self, optimizer):
            optimizer.apply(summed, [variable for _, variable in there])


class Mirrored(Replicated, tf.distribute.MirroredStrategy):
    """`tf.distribute.MirroredStrategy`: the devices of one machine."""


class MultiWorker(Replicated, tf.distribute.MultiWorkerMirroredStrategy):
    """`tf.distribute.MultiWorkerMirroredStrategy`: a process on each machine."""

    @property
    def leads(self):
        """Whether this worker is the one that writes what all would write alike."""
        return self.extended.should_checkpoint

    def all_of(self, numbers):
        """Whole numbers of this worker -> those of all, an array `(replicas, numbers)`."""
        own = tf.constant([numbers])
        ask = tf.function(lambda: self.gather(self.run(lambda: tf.identity(own)), axis=0))
        return ask().numpy()


def _parts(count, first, here, *batch):
    """Of a batch in `count` parts those from `first`, `here` in number, as a `tf.data.Dataset`."""
    batch = batch if len(batch) > 1 else batch[0]
    rows = tf.shape(tree.flatten(batch)[0], tf.int64)[0]

    def part(number):
        begin, end = rows * number // count, rows * (number + 1) // count
        return tree.map_structure(lambda column: column[begin:end], batch)

    return tf.data.Dataset.range(first, first + here).map(part)


@contextlib.contextmanager
def _each_by_itself(strategy, optimizer):
    """Within it an optimizer changes a replica's own copies of all variables, and asks no other.

    It is how TensorFlow itself has it where XLA compiles the step. Replicas take turns in tracing
    only where they ask each other, so that none sees this of another.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_set(strategy.extended, "_use_merge_call", lambda: False))
        stack.enter_context(_set(inner, "_all_reduce_sum_gradients", list))
        for each in {id(x): x for x in (optimizer, inner)}.values():
            iterations = each._iterations._value
            none = tf.VariableAggregation.NONE
            stack.enter_context(_set(iterations, "_aggregation", none))
        yield


@contextlib.contextmanager
def _set(thing, name, value):
    before = vars(thing).get(name)
    object.__setattr__(thing, name, value)
    try:
        yield
    finally:
        if before is None:
            object.__delattr__(thing, name)
        else:
            object.__setattr__(thing, name, before)


def override():
    """Has every loss of Keras be the mean over the examples of all replicas.

    Nothing changes where there is one.
    """
    if not keras.__version__.startswith(VERIFIED):
        warnings.warn(
            f"Several replicas were verified with Keras {VERIFIED}x, and this is "
            f"{keras.__version__}: compare a training with one of a single process. {ISSUE}",
            stacklevel=3,
        )
    keras_loss.reduce_weighted_values = _reduce_weighted_values
    keras_loss.unscale_loss_for_distribution = replicas.total


_of_one = keras_loss.reduce_weighted_values


def _reduce_weighted_values(
    values, sample_weight=None, mask=None, reduction="sum_over_batch_size", dtype=None
):
    """A replica's part of the loss: what it adds, over what all replicas divide by."""
    options = {"sample_weight": sample_weight, "mask": mask, "dtype": dtype}
    if replicas.count() == 1 or reduction in (None, "none"):
        return _of_one(values, reduction=reduction, **options)
    added = _of_one(values, reduction="sum", **options)
    if reduction == "sum":
        return added * replicas.is_real(added)
    weights = ops.ones_like(values) if mask is None else ops.cast(mask, values.dtype)
    if reduction == "mean_with_sample_weight" and sample_weight is not None:
        weights = keras_loss.apply_mask(
            ops.cast(sample_weight, values.dtype), mask, values.dtype, reduction
        )
    divisor = replicas.total(ops.sum(weights) * replicas.is_real(added))
    return ops.divide_no_nan(added * replicas.is_real(added), ops.cast(divisor, added.dtype))
