"""Raw values by the names of a task -> lists by the names of a signature."""

from pathlib import Path

# What stands for a value that an example lacks; 0 of other types.
NOTHING = {"DT_STRING": b"", "DT_FLOAT": float("nan"), "DT_DOUBLE": float("nan")}


def columns(records, specs):
    """Lists by input name -> lists by the names of a signature, files read."""
    keys = {key.removesuffix("_bytes"): key for key in specs}
    if not isinstance(records, dict) or set(records) != set(keys):
        received = sorted(records) if isinstance(records, dict) else type(records).__name__
        raise ValueError(
            f"`records` should be a dict of lists by input name, with the names {sorted(keys)}; "
            f"None stands for what an example lacks. Received: {received}"
        )
    for name, values in records.items():
        if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
            raise ValueError(
                f"`records[{name!r}]` should be a list, one value per example. "
                f"Received: {type(values).__name__}"
            )
    lengths = {name: len(values) for name, values in records.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"All inputs should be equally long. Received lengths: {lengths}")
    return {
        key: [
            _value(name, row, value, specs[key], key != name)
            for row, value in enumerate(records[name])
        ]
        for name, key in keys.items()
    }


def _value(name, row, value, spec, is_file):
    if value is None:
        return _filled(NOTHING.get(spec.dtype, 0), spec.shape[1:])
    if not is_file or isinstance(value, bytes):
        return listed(value)
    try:
        return Path(value).read_bytes()
    except (OSError, TypeError) as error:
        raise ValueError(f"Input {name!r}, row {row}: {error}") from None


def _filled(value, shape):
    if not shape:
        return value
    return [_filled(value, shape[1:]) for _ in range(max(shape[0], 0))]


def listed(values):
    """Arrays as lists, also within lists."""
    if hasattr(values, "tolist"):
        return values.tolist()
    if isinstance(values, (list, tuple)):
        return [listed(each) for each in values]
    return values


def short(value):
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else value
