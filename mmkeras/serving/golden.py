"""Golden requests: what an export answered when it was written, kept with it and asked again."""

import base64
import hashlib
import json

import numpy as np

from mmkeras.serving.loading import GOLDEN, Export, newest_version, tensors

TOLERANCE = 1e-4


def record(path, raw, optional=()):
    """Asks the signatures that take such a request, and writes their answers beside the export.

    The file also holds a hash of every other file. Its `inputs` are those of a REST request to
    TensorFlow Serving.

    Args:
        path: A version directory.
        raw: A dict of tensors by the names of the signatures.
        optional: Names of the inputs that a request may lack, as empty values.
    """
    exported = Export(path)
    outputs = {}
    for signature in exported.signatures:
        specs = exported.specs(signature)
        if not set(specs) <= set(raw):
            continue
        answers = exported.run({name: raw[name] for name in specs}, signature)
        outputs[signature] = {
            name: _to_json(values.tolist(), name) for name, values in answers.items()
        }
    golden = {
        "files": _hashes(path),
        "inputs": {name: _to_json(values.numpy().tolist(), name) for name, values in raw.items()},
        "optional": list(optional),
        "outputs": outputs,
    }
    (path / GOLDEN).parent.mkdir(exist_ok=True)
    text = json.dumps(golden, ensure_ascii=False)
    (path / GOLDEN).write_text(text, encoding="utf-8")


def verify(path, client=None):
    """Tells whether an export is what was written and answers as it did then.

    First every file is compared with its hash, then the golden requests are asked again in every
    signature. Strings should be equal, numbers to 1e-4, absolute or relative.

    Args:
        path: A version directory, or a directory of versions, of which the newest is taken.
        client: An `mm.Client` of a server that has this version, to ask that too; None for none.

    Returns:
        A list of str, one per difference; empty if there is none.

    Raises:
        ValueError: if there are no golden requests, or their file is damaged.

    Example:

    ```python
    import mmkeras as mm

    for difference in mm.verify("saved_models/image_captioning"):
        print(difference)
    ```
    """
    path = newest_version(path)
    if differences := changed_files(path):
        return differences
    exported = Export(path)
    differences = changed_answers(exported)
    if differences or client is None:
        return differences
    return [f"the server's {each}" for each in changed_answers(exported, client)]


def changed_files(path):
    """How the files of a version directory differ from what was written, as in `verify`."""
    return _file_differences(_read(path / GOLDEN)[0], _hashes(path))


def changed_answers(exported, client=None):
    """How the answers to the golden requests of an `Export` differ, its own or a client's."""
    _, inputs, outputs = _read(exported.path / GOLDEN)
    differences = []
    for signature, expected in outputs.items():
        specs = exported.specs(signature)
        if client is None:
            answers = exported.run(tensors(inputs, specs), signature)
        else:
            asked = client.predict({name: inputs[name] for name in specs}, signature)
            answers = {name: _array(asked[name]) for name in expected}
        for name, values in expected.items():
            was = np.array(_from_json(values), answers[name].dtype)
            if difference := _difference(was, answers[name]):
                differences.append(f"{signature}: {name}{difference}")
    return differences


def _array(values):
    """Nested lists of a client as an `Export` has them: strings as bytes."""
    values = np.array(_from_json(values), object)
    strings = any(isinstance(value, bytes) for value in values.flat)
    return values if strings else values.astype("float32")


def _read(path):
    try:
        golden = json.loads(path.read_text(encoding="utf-8"))
        inputs = {name: _from_json(values) for name, values in golden["inputs"].items()}
        return golden["files"], inputs, golden["outputs"]
    except OSError as error:
        raise ValueError(f"`path` should be an export with golden requests: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from None


def _hashes(path):
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {
        str(file.relative_to(path).as_posix()): _hash(file)
        for file in files
        if file != path / GOLDEN
    }


def _hash(file):
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _file_differences(expected, found):
    missing = [f"{name} is missing" for name in expected if name not in found]
    added = [f"{name} was not there" for name in found if name not in expected]
    common = [name for name in expected if name in found]
    return [
        *missing,
        *added,
        *(f"{name} was changed" for name in common if found[name] != expected[name]),
    ]


def _difference(expected, found):
    """The first place where two arrays differ, as text; empty where there is none."""
    if expected.size == found.size == 0:
        # Lists cannot tell what stands behind an axis without places.
        found = found.reshape(found.shape[: expected.ndim])
    if expected.shape != found.shape:
        return f" has the shape {list(found.shape)}, had {list(expected.shape)}"
    if found.dtype == object:
        equal = expected == found
    else:
        equal = np.isclose(expected, found, rtol=TOLERANCE, atol=TOLERANCE)
    if equal.all():
        return ""
    place = tuple(np.argwhere(~equal)[0])
    where = ", ".join(map(str, place))
    now, before = (
        value.item() if isinstance(value := values[place], np.generic) else value
        for values in (found, expected)
    )
    return f"[{where}] is {now!r}, was {before!r} ({(~equal).sum()} differ)"


def _to_json(value, name):
    """Nested lists; bytes as TensorFlow Serving's REST interface has them, numbers exact."""
    if isinstance(value, list):
        return [_to_json(each, name) for each in value]
    if isinstance(value, int):
        return value
    if not isinstance(value, bytes):
        return float(f"{value:.9g}")
    return {"b64": base64.b64encode(value).decode()} if name.endswith("_bytes") else value.decode()


def _from_json(value):
    if isinstance(value, list):
        return [_from_json(each) for each in value]
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return value.encode() if isinstance(value, str) else value
