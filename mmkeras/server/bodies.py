"""Bodies of predict requests and answers, as TensorFlow Serving's REST interface has them."""

import base64
import binascii
import json

import numpy as np
from tensorflow.core.example import example_pb2

from mmkeras.server.refusal import Refusal


def read_request(body, specs_of):
    """Reads the JSON of a predict request.

    Args:
        body: Bytes.
        specs_of: A function of a signature's name, which may be empty, to its `tf.TensorSpec` by
            input name.

    Returns:
        The signature's name, the inputs as arrays by name, and whether they came by row
        (`instances`) and not by column (`inputs`).

    Raises:
        Refusal: telling what is wrong, in the words of TensorFlow Serving where it has some.
    """
    request = _parsed(body)
    signature = _signature(request)
    specs = specs_of(signature)
    by_row = "instances" in request
    if by_row and "inputs" in request:
        raise _bad(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        )
    if by_row:
        return signature, _rows(request["instances"], specs), True
    if "inputs" in request:
        return signature, _columns(request["inputs"], specs), False
    raise _bad("Missing 'inputs' or 'instances' key")


def read_examples(body, check):
    """Reads the JSON of a classify request.

    Args:
        body: Bytes.
        check: A function of the signature's name, which may be empty, that refuses a wrong one.

    Returns:
        The signature's name, and serialized `tf.train.Example`s as an array.

    Raises:
        Refusal: as `read_request`.
    """
    request = _parsed(body)
    signature = _signature(request)
    check(signature)
    if "examples" not in request:
        raise _bad("When method is classify, key 'examples' is expected and was not found")
    examples = request["examples"]
    if not isinstance(examples, list) or not examples:
        raise _bad(f"'examples' should be a list that is not empty. Received: {_short(examples)}")
    # What all have in common stands before each.
    context = _example(request.get("context", {}))
    serialized = np.empty(len(examples), object)
    serialized[:] = [context + _example(example) for example in examples]
    return signature, serialized


def write_classes(answers):
    """The JSON of a classify answer: for each example its classes with their scores."""
    classes, scores = (_to_json(name, answers[name]) for name in ("classes", "scores"))
    rows = zip(classes, scores, strict=True)
    return _dumped({"results": [list(map(list, zip(*row, strict=True))) for row in rows]})


def write_answer(answers, by_row):
    """Arrays by name -> the JSON of a predict answer, in the format that the request had."""
    values = {name: _to_json(name, array) for name, array in answers.items()}
    if not by_row:
        answer = {"outputs": values if len(values) > 1 else next(iter(values.values()))}
        return _dumped(answer)
    counts = {name: len(array) if array.ndim else 0 for name, array in answers.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        raise _bad(f"Outputs have no common batch size, and fit no rows: {counts}")
    if len(values) == 1:
        return _dumped({"predictions": next(iter(values.values()))})
    rows = zip(*values.values(), strict=True)
    return _dumped({"predictions": [dict(zip(values, row, strict=True)) for row in rows]})


def _parsed(body):
    if not body:
        raise _bad("JSON Parse error: The document is empty")
    try:
        request = json.loads(body)
    except RecursionError:
        raise _bad("JSON Parse error: too many lists within lists") from None
    except ValueError as error:
        raise _bad(f"JSON Parse error: {error}") from None
    if not isinstance(request, dict):
        raise _bad(f"JSON Value: {_short(request)} Is not object")
    return request


def _signature(request):
    signature = request.get("signature_name", "")
    if not isinstance(signature, str):
        raise _bad("'signature_name' key must be a string value.")
    return signature


def _example(values):
    """A dict of values, or lists of them, -> a serialized `tf.train.Example`."""
    if not _is_named(values):
        raise _bad(f"Example must be JSON object but got {_short(values)}")
    example = example_pb2.Example()
    for name, value in values.items():
        value = value if isinstance(value, list) else [value]
        try:
            feature = example.features.feature[name]
            if all(type(each) is int for each in value):
                feature.int64_list.value.extend(value)
            elif all(type(each) in (int, float) for each in value):
                feature.float_list.value.extend(value)
            else:
                feature.bytes_list.value.extend(map(_bytes, value))
        except (TypeError, ValueError) as error:
            raise _bad(f"Feature {name!r}: {error}") from None
    return example.SerializeToString()


def _rows(instances, specs):
    if not isinstance(instances, list):
        raise _bad(f"Excepting 'instances' to be an list/array. Received: {_short(instances)}")
    if not instances:
        raise _bad("No values in 'instances' array")
    if not _is_named(instances[0]):
        if len(specs) > 1:
            raise _bad(
                "instances is a plain list, but expecting list of objects as multiple input "
                f"tensors required as per tensorinfo_map: {sorted(specs)}"
            )
        (name,) = specs
        instances = [{name: _plain(value, row)} for row, value in enumerate(instances)]
    for row, instance in enumerate(instances):
        if not _is_named(instance):
            raise _bad(f"Expecting object but got list at item {row} of input list")
        if set(instance) != set(specs):
            raise _bad(
                f"Failed to process element: {row} of 'instances' list. JSON object: must only "
                f"have keys: {','.join(sorted(specs))}. Received: {','.join(sorted(instance))}"
            )
    return {
        name: _array([instance[name] for instance in instances], name, spec)
        for name, spec in specs.items()
    }


def _plain(value, row):
    if _is_named(value):
        raise _bad(f"Expecting value/list but got object at item {row} of input list")
    return value


def _columns(inputs, specs):
    if not _is_named(inputs):
        if len(specs) > 1:
            raise _bad(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                f"required as per tensorinfo_map: {sorted(specs)}"
            )
        (name,) = specs
        inputs = {name: inputs}
    for name in specs:
        if name not in inputs:
            raise _bad(
                f"Missing named input: {name} in 'inputs' object. Received: {sorted(inputs)}"
            )
    return {name: _array(inputs[name], name, spec) for name, spec in specs.items()}


def _is_named(value):
    """Whether it is an object and not bytes in base64."""
    return isinstance(value, dict) and set(value) != {"b64"}


def _array(value, name, spec):
    """Nested lists -> an array whose shape they tell and whose type the signature does."""
    shape = _shape(value)
    values = []
    try:
        _flatten(value, shape, 0, values)
        if 0 in shape and spec.shape.rank:
            # Lists cannot tell what stands behind an axis without places: the signature does.
            shape += [size or 0 for size in spec.shape[len(shape) :]]
        return _typed(values, spec.dtype).reshape(shape)
    except (TypeError, ValueError, OverflowError, binascii.Error) as error:
        raise _bad(f"Input {name!r}: {error}") from None


def _shape(value):
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _flatten(value, shape, level, into):
    if level == len(shape):
        if isinstance(value, list):
            raise ValueError(
                f"Encountered list at unexpected level: {level} expected < {len(shape)}"
            )
        into.append(value)
        return
    if not isinstance(value, list):
        raise ValueError(
            f"JSON Value: {_short(value)} found at incorrect level: {level + 1} in the JSON DOM. "
            f"Expected at level: {len(shape)}"
        )
    if len(value) != shape[level]:
        raise ValueError(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    if level + 1 == len(shape) and not any(isinstance(each, list) for each in value):
        into.extend(value)
        return
    for each in value:
        _flatten(each, shape, level + 1, into)


def _typed(values, dtype):
    """A flat list -> a flat array; a value that is no such thing raises a TypeError."""
    if dtype.name == "string":
        array = np.empty(len(values), object)
        array[:] = [_bytes(value) for value in values]
        return array
    allowed = {bool} if dtype.is_bool else {int, float} if dtype.is_floating else {int}
    if wrong := set(map(type, values)) - allowed:
        value = next(value for value in values if type(value) in wrong)
        raise TypeError(f"JSON Value: {_short(value)} is not of expected type: {dtype.name}")
    with np.errstate(over="ignore"):
        array = np.array(values, dtype.as_numpy_dtype)
    if dtype.is_floating and not np.isfinite(array).all():
        for value, became in zip(values, array.tolist(), strict=True):
            if np.isinf(became) and abs(value) != np.inf:
                raise ValueError(f"Cannot convert JSON value: {_short(value)} to {dtype.name}")
    return array


def _bytes(value):
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        text = value["b64"]
        try:
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except ValueError:
            raise ValueError(f"Unable to base64 decode {_short(text)}") from None
    if isinstance(value, dict):
        raise ValueError(f"JSON Value: {_short(value)} not formatted correctly for base64 data")
    raise TypeError(f"JSON Value: {_short(value)} is not of expected type: string")


def _to_json(name, array):
    """An array as nested lists; text as strings, what is named `*_bytes` as base64."""
    if array.dtype == object:
        encode = _base64 if name.endswith("_bytes") else _text
        flat = np.empty(array.size, object)
        flat[:] = [encode(value) for value in array.ravel()]
    elif array.dtype == np.float32:
        flat = np.array([_short_float(value) for value in array.ravel().tolist()], object)
    else:
        return array.tolist()
    return flat.reshape(array.shape).tolist()


def _base64(value):
    return {"b64": base64.b64encode(value).decode()}


def _text(value):
    return value.decode("utf-8", "replace")


def _short_float(value):
    """The shortest of 6 and 9 digits that is this float32."""
    short = float(f"{value:.6g}")
    return short if np.float32(short) == value or value != value else float(f"{value:.9g}")


def _dumped(answer):
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()


def _bad(message):
    return Refusal("INVALID_ARGUMENT", message)


def _short(value):
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
