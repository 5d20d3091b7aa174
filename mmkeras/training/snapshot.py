"""All that training changes, copied out of a model and its callbacks, and put back."""

import itertools
import re
import warnings

import keras
import numpy as np
import tensorflow as tf

from mmkeras.data.identity import fingerprint
from mmkeras.training import fitting

# Set by Keras, or made anew from what is kept: the sign of `min_delta` goes with the operator that
# a callback chooses when it first looks at its metric.
_NOT_KEPT = {"params", "_model", "min_delta", "monitor_op"}


def variables(model, midway):
    """The variables of a model that is being trained, in groups.

    Seeds of dropout belong to the model, the slots of the optimizer, its count of steps, averages
    of weights and sums of gradients to the optimizer. Metrics count in the middle of an epoch only.
    """
    state = fitting.random_state()
    return {
        "model": model.variables,
        "optimizer": model.optimizer.variables,
        "random": [] if state is None else [state],
        "metrics": model.metrics_variables if midway else [],
    }


def volatile(model):
    """The variables that evaluation changes: metrics, and whatever is no weight, such as seeds."""
    weights = {id(each) for each in model.weights}
    others = [each for each in model.variables if id(each) not in weights]
    return [*others, *variables(model, midway=True)["random"], *model.metrics_variables]


def copy(some):
    """The values of variables now, by `id` of the variable."""
    return {id(each): np.array(keras.ops.convert_to_numpy(each)) for each in some}


def take_variables(groups, arrays, earlier):
    """Puts the values of variables into `arrays`.

    Args:
        groups: what `variables` gives.
        arrays: dict to be filled.
        earlier: values to take in place of the present ones, by `id` of the variable.

    Returns:
        For each group a list of `[path, packed array]`.
    """
    return {
        name: [[unnumbered(each.path), put(arrays, earlier.get(id(each), each))] for each in group]
        for name, group in groups.items()
    }


def compare_variables(groups, taken):
    """What stands in the way of putting values back: a list of strings.

    Of paths only the last part counts: the rest may depend on who makes the variable.
    """
    faults = []
    for name, group in groups.items():
        theirs = [(path, packed["dtype"], tuple(packed["shape"])) for path, packed in taken[name]]
        mine = [(unnumbered(each.path), each.dtype, tuple(each.shape)) for each in group]
        for one, two in itertools.zip_longest(theirs, mine):
            if not (one and two) or _key(*one) != _key(*two):
                before, now = (" ".join(map(str, each or ["nothing"])) for each in (one, two))
                faults.append(f"{name}: {before} in the checkpoint, {now} now")
    return faults


def _key(path, *rest):
    return path.rpartition("/")[-1], *rest


def put_variables(groups, taken, arrays, new_rate=False):
    """Gives variables the values that were taken; a `new_rate` of learning stays as it is."""
    for name, group in groups.items():
        for variable, (path, packed) in zip(group, taken[name], strict=True):
            if not (new_rate and path.endswith("learning_rate")):
                variable.assign(get(arrays, packed))


def attributes(callback):
    """What tells whether an attribute of a callback has changed: a dict by name."""
    kept = {name: value for name, value in vars(callback).items() if name not in _NOT_KEPT}
    return {name: fingerprint(value) for name, value in kept.items()}


def take_attributes(callback, before, arrays):
    """The attributes of a callback that training has changed, packed; a dict by name.

    What cannot be written as plain values and arrays is left out, with a warning if the class is
    not one of Keras, whose own make such things anew.
    """
    taken = {}
    for name, now in attributes(callback).items():
        if now == before.get(name):
            continue
        try:
            taken[name] = pack(getattr(callback, name), arrays)
        except TypeError as error:
            kind = type(callback)
            if not kind.__module__.startswith("keras."):
                warnings.warn(
                    f"`{kind.__name__}.{name}` begins anew when this training is resumed: {error}",
                    stacklevel=2,
                )
    return taken


def match(callbacks, taken):
    """Pairs callbacks with what was taken of those of the same class, in their order.

    Args:
        callbacks: of this run.
        taken: `[class name, attributes]` of the callbacks of another.

    Returns:
        A list of `(callback, attributes)`, and the class names of those that have no partner and
        had changed.
    """
    pairs, left = [], [(name, attributes) for name, attributes in taken]
    for callback in callbacks:
        for each in left:
            if each[0] == type(callback).__name__:
                pairs.append((callback, each[1]))
                left.remove(each)
                break
    return pairs, [name for name, attributes in left if attributes]


def put_attributes(callback, taken, arrays):
    """Sets the attributes that `take_attributes` has taken."""
    for name, packed in taken.items():
        setattr(callback, name, unpack(packed, arrays))


def pack(value, arrays):
    """A value as JSON can hold it; arrays and tensors go to `arrays`.

    Raises:
        TypeError: the value is, or holds, something else.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [pack(each, arrays) for each in value]
    if isinstance(value, tuple):
        return {"tuple": [pack(each, arrays) for each in value]}
    if isinstance(value, dict):
        items = [[pack(key, arrays), pack(each, arrays)] for key, each in value.items()]
        return {"dict": items}
    if isinstance(value, (np.ndarray, np.generic, keras.Variable)) or keras.ops.is_tensor(value):
        return put(arrays, value)
    raise TypeError(f"{type(value).__name__} is no plain value")


def unpack(packed, arrays):
    """What `pack` was given; tensors come back as arrays."""
    if isinstance(packed, list):
        return [unpack(each, arrays) for each in packed]
    if not isinstance(packed, dict):
        return packed
    if "tuple" in packed:
        return tuple(unpack(packed["tuple"], arrays))
    if "dict" in packed:
        return {unpack(key, arrays): unpack(each, arrays) for key, each in packed["dict"]}
    return get(arrays, packed)[()]


def put(arrays, value):
    """Copies an array into `arrays`; what `get` needs to find it."""
    array = np.array(keras.ops.convert_to_numpy(value))
    if array.dtype.hasobject:
        raise TypeError("an array of objects is no plain value")
    packed = {"array": f"{len(arrays):05d}", "dtype": array.dtype.name, "shape": array.shape}
    if array.dtype.kind == "V":  # bfloat16 and the like, which files of NumPy do not know
        array = array.view(f"u{array.dtype.itemsize}")
    arrays[packed["array"]] = array
    return packed


def get(arrays, packed):
    array = arrays[packed["array"]]
    if array.dtype.name == packed["dtype"]:
        return array
    return array.view(tf.as_dtype(packed["dtype"]).as_numpy_dtype)


def unnumbered(path):
    """A path without the numbers that Keras counts up for each layer of a kind in a process."""
    return re.sub(r"_\d+(?=/|$)", "", path)
