"""What a run was made of, and how another differs from it."""

import contextlib

import keras

from mmkeras.data.identity import fingerprint
from mmkeras.training.snapshot import unnumbered

GROUPS = ("model", "compile", "data", "validation", "callbacks")
SHOWN = 12


def identify(model, data, validation):
    """What decides how a run goes: a flat dict of plain values by dotted name.

    Args:
        model: the model. Its configuration, with its fields and tokenizers, is `model`; optimizer,
            loss and metrics are `compile`.
        data: what `mm.dataset` returns.
        validation: the same, or anything else, which is not looked at.
    """
    found = {}
    # A layer or a metric may well be without a configuration; its variables are compared anyhow.
    with contextlib.suppress(NotImplementedError, TypeError):
        found |= _flat("model", keras.saving.serialize_keras_object(model.get_config()))
    with contextlib.suppress(NotImplementedError, TypeError):
        found |= _flat("compile", model.get_compile_config())
    found |= _flat("data", data.identity())
    if hasattr(validation, "identity"):
        found |= _flat("validation", validation.identity())
    return found


def _flat(name, value):
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)) and not _is_long(value):
        items = enumerate(value)
    else:
        return {name: _leaf(value)}
    return {
        key: leaf for part, each in items for key, leaf in _flat(f"{name}.{part}", each).items()
    }


def _is_long(values):
    """Whether it is a vocabulary or the like, of which a fingerprint says enough."""
    return len(values) > 8 and not any(isinstance(each, (dict, list, tuple)) for each in values)


def _leaf(value):
    if isinstance(value, str):
        return unnumbered(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    size = f"{len(value)} values " if isinstance(value, (list, tuple)) else ""
    return f"<{size}{fingerprint(value)}>"


def differences(before, now):
    """Of two runs: `{name: "this in the checkpoint, that now"}`."""
    names = [*before, *(name for name in now if name not in before)]
    return {
        name: f"{before.get(name, 'nothing')!r} in the checkpoint, {now.get(name, 'nothing')!r} now"
        for name in names
        if before.get(name, "nothing") != now.get(name, "nothing")
    }


def check_same(found, faults, allow):
    """Stops a run that is not the one in the checkpoint.

    Args:
        found: what `differences` gives.
        faults: variables that do not fit, as strings; these are never allowed.
        allow: names, or beginnings of names, of what may differ.

    Raises:
        ValueError: saying what differs.
    """
    wrong = {name: text for name, text in found.items() if not _is_allowed(name, allow)}
    lines = [*(f"{name}: {text}" for name, text in wrong.items()), *faults]
    if not lines:
        return
    more = f"\n  and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    way = "Give `Resume` another directory to begin anew"
    if not faults:
        way += f", or go on with `allow={sorted({_group(name) for name in wrong})}`"
    raise ValueError(
        "The run should be the one that is in the checkpoint. Received:\n  "
        + "\n  ".join(lines[:SHOWN])
        + f"{more}\n{way}."
    )


def _is_allowed(name, allow):
    return any(name == each or name.startswith(f"{each}.") for each in allow)


def _group(name):
    return name.split(".")[0]
