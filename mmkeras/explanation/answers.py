"""What an answer rests on: places of the picture, words of the question, the other inputs."""

import numpy as np
import tensorflow as tf

from mmkeras.explanation.gradients import gradients, heat_of
from mmkeras.explanation.places import fused, photo_of, picture_grid, text_input, values_at
from mmkeras.explanation.words import whole_words

_BEST = 5  # classes told


def whole_answer(task, columns, options):
    """Explanations of a batch by what the answers rest on, see `explain`."""
    ((target, field),) = task.preprocessor.targets.items()
    tensors = task.preprocessor.tensors(task.raw_tensors(columns))
    context = task.context(tensors)[target]
    classes = getattr(field, "classes", None)
    several = {} if classes is None else {"n_best": min(_BEST, len(classes))}
    found = task.get_layer(target).answer(**context, **several, **options)
    best, scores = _texts(field.decode(found["ids"])), found["scores"].numpy()
    weights = _by_attention(task, tensors, context, found["ids"][:, 0])
    method = "gradient" if weights is None else "attention"
    if weights is None:
        weights = _by_gradient(task, tensors, [answers[0] for answers in best])
    pictures, texts = _pictures(task, columns, weights), _words(task, tensors, weights)
    for row, answers in enumerate(best):
        photo, looked = pictures[row]
        words, read = texts[row]
        yield {
            target: answers[0],
            "score": float(scores[row, 0]),
            "best": list(zip(answers, scores[row].tolist(), strict=True)),
            "words": words,
            "weights": read,
            "photo": photo,
            "map": looked,
            "shares": _shares(weights, row) if method == "attention" else {},
            "method": method,
        }


def _by_attention(task, tensors, context, ids):
    """`{input: (batch, length)}`, which sum to 1 at most; None where attention does not tell."""
    ((target, field),) = task.preprocessor.targets.items()
    head = task.get_layer(target)
    attention = head.explain(ids, **context).get("attention") if hasattr(head, "explain") else None
    layer, encoded = fused(task, target)
    if attention is None or not encoded or not (layer is None or hasattr(layer, "attention")):
        return None
    written = tf.cast(field.spelled(ids) != b"", tf.float32)
    written /= tf.maximum(tf.reduce_sum(written, axis=1, keepdims=True), 1)
    looked = tf.einsum("bt,btc->bc", written, tf.cast(attention, tf.float32))
    inside = {name: [x for x in pair if x is not None] for name, pair in encoded.items()}
    inside = {name: [*pair, None][:2] for name, pair in values_at(task, tensors, inside).items()}
    if layer is None:
        lengths = [sequence.shape[1] for sequence, _ in inside.values()]
        weights = dict(zip(inside, tf.split(looked, lengths, axis=1), strict=True))
    else:
        weights = {
            name: tf.einsum("bc,bcl->bl", looked, tf.cast(rests, tf.float32))
            for name, rests in layer.attention(inside).items()
        }
    found = picture_grid(task)
    if found is not None and weights[found[0]].shape[1] != np.prod(found[1].grid):
        return None
    return {name: each.numpy() for name, each in weights.items()}


def _by_gradient(task, tensors, answers):
    """Grad-CAM of the picture, and what of each word speaks for the answer."""
    (target,) = task.preprocessor.targets
    found, text, (_, encoded) = picture_grid(task), text_input(task), fused(task, target)
    within = {} if found is None else {found[0]: found[1].output}
    within |= {text: encoded[text][0]} if text in encoded else {}
    if not within:
        return {}
    values, slopes = gradients(task, tensors, answers, within)
    weights = {} if found is None else {found[0]: heat_of(values, slopes, found[0])}
    if text in within:
        spoken = tf.reduce_sum(tf.cast(values[text] * slopes[text], tf.float32), axis=-1)
        weights[text] = tf.nn.relu(spoken).numpy()
    return weights


def _pictures(task, columns, weights):
    """Of each row the photo, and the weights over its grid."""
    found = picture_grid(task)
    if found is None:
        return [(None, None)] * len(next(iter(columns.values())))
    name, layer = found
    photos = [photo_of(task.preprocessor.inputs[name], raw) for raw in columns[name]]
    maps = [_normalized(row).reshape(layer.grid) for row in weights[name]]
    return [
        (photo, None if photo is None else looked)
        for photo, looked in zip(photos, maps, strict=True)
    ]


def _words(task, tensors, weights):
    """Of each row the words of the text, and their weights."""
    name = text_input(task)
    rows = len(next(iter(tensors.values())))
    if name not in weights:
        return [([], np.zeros(0, "float32"))] * rows
    field = task.preprocessor.inputs[name]
    spelled = field.spelled(tensors[name]).numpy().tolist()
    told = []
    for tokens, row in zip(spelled, weights[name], strict=True):
        words, places = whole_words(tokens, field.tokenizer)
        told.append((words, _normalized(np.array([row[each].sum() for each in places]))))
    return told


def _shares(weights, row):
    sums = {name: float(each[row].sum()) for name, each in weights.items()}
    total = max(sum(sums.values()), np.finfo("float32").tiny)
    return {name: float(each / total) for name, each in sums.items()}


def _normalized(weights):
    weights = np.asarray(weights, "float32")
    return weights / max(weights.sum(), np.finfo("float32").tiny)


def _texts(strings):
    return [[text.decode("utf-8", "replace") for text in row] for row in strings.numpy().tolist()]
