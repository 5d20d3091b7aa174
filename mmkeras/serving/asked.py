"""What a request may ask of the search: further inputs of a signature, one value for each row.

TensorFlow Serving fills in defaults of a signature over gRPC only, so an input that nobody cares
about is sent as a value that asks for nothing: 0, or NaN where 0 means something.
"""

import tensorflow as tf

# By signature: the option of the search, and its dtype. `seed` 0 is as good as any other.
ASKED = {
    "search": {"beam_width": tf.int32, "max_length": tf.int32, "length_penalty": tf.float32},
    "sample": {
        "temperature": tf.float32,
        "top_p": tf.float32,
        "seed": tf.int32,
        "max_length": tf.int32,
    },
}
# By name, whatever the signature.
NAMES = {name: dtype for several in ASKED.values() for name, dtype in several.items()}


def specs_of(signature):
    """The further inputs of a signature: a dict of `tf.TensorSpec` by name."""
    return {
        name: tf.TensorSpec([None], dtype, name=name) for name, dtype in ASKED[signature].items()
    }


def nothing(rows):
    """Values that ask for nothing, for all of these inputs: a dict of tensors by name."""
    return {
        name: tf.fill([rows], tf.constant(float("nan") if dtype.is_floating else 0, dtype))
        for name, dtype in NAMES.items()
    }


def answered(task, signature, raw, options):
    """What a task serves with the options that the rows of a request ask for.

    Args:
        task: A `Task` whose one head is a decoder.
        signature: `"search"` or `"sample"`.
        raw: A dict of tensors, the further inputs among them.
        options: Of the search, for those who ask for nothing; what is asked for can only narrow
            the width and the length that are traced.
    """
    raw = dict(raw)
    asked = {name: raw.pop(name) for name in ASKED[signature]}
    (head,) = (task.get_layer(name) for name in task.preprocessor.targets)
    longest = options.get("max_length") or head.max_length
    limit = _within(asked["max_length"], options.get("min_length", 0) + 1, longest)
    chosen = {"length_limit": limit}
    if signature == "search":
        width = options["beam_width"]
        chosen["beam_limit"] = _within(asked["beam_width"], 1, width)
        penalty = options.get("length_penalty", 0.6)
        chosen["length_penalty"] = _or(
            asked["length_penalty"], penalty, asked["length_penalty"] >= 0
        )
        return task.serve(raw, **{**options, **chosen})
    kept = {name: options[name] for name in ("max_length", "min_length") if name in options}
    temperature, top_p = asked["temperature"], asked["top_p"]
    chosen["temperature"] = _or(temperature, 1.0, temperature >= 0)
    chosen["top_p"] = _or(top_p, 1.0, (top_p > 0) & (top_p <= 1))
    return task.serve(raw, seed=asked["seed"], **kept, **chosen)


def _within(values, least, most):
    """Whole numbers, brought into their range; the greatest for 0 and below."""
    return tf.where(values > 0, tf.clip_by_value(values, least, most), most)


def _or(values, default, meant):
    return tf.where(meant, values, default)
