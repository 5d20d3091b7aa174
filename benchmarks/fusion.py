"""Every fusion on the same task: parameters, time of a training step, score.

    python benchmarks/fusion.py --table

`--steps 0` leaves out the score, `--rounds 0` the time, `--fusions` all fusions but those named.

Six objects, each of one of eight colours and one of eight shapes, and a question of four words:
which shape has the red one, which colour has the ring, how many are round. It takes both to
answer, and all but the count take one object out of six. Encoders and head are the same for all: a
small network at every object, an embedding of every word, two dense layers on the mean of what the
fusion gives.
"""

import functools

import keras
import measure
import numpy as np
import tensorflow as tf
from keras import ops

from mmkeras.fusion import FUSIONS, fuse

OBJECTS, KINDS, WORDS, WIDTH = 6, 8, 4, 64
COUNTS = 4  # none, one, two, three or more
ANSWERS = 2 * KINDS + COUNTS
FILLERS = 20
BATCH, PLACES = 128, (48, 16)


def main():
    options = measure.parser(__doc__, rounds=5)
    options.add_argument("--steps", type=int, default=600, help="of training; 0 for no score")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--fusions", nargs="+", choices=FUSIONS, default=list(FUSIONS))
    options.add_argument("--table", action="store_true", help="print it for people instead")
    args = options.parse_args()
    machine = measure.machine()
    steps = min(args.steps, 2) if args.quick else args.steps
    names = ["concatenate", "gated"] if args.quick else args.fusions
    places = (4, 2) if args.quick else PLACES
    rows = {name: {"parameters": parameters(name)} for name in names}
    ratios_of = step_ratios(names, places, args.rounds) if args.rounds else {}
    for name, ratios in ratios_of.items():
        rows[name] |= ratios
    for name in names if steps else []:
        rows[name] |= score(name, steps, args.seed)
    if args.table:
        print_table(rows)
    else:
        figures = {"fusions": rows, "steps": steps, "seed": args.seed, "width": WIDTH}
        measure.report("fusion", figures, machine)


def parameters(name):
    """`[a, b, c]` of `a width^2 + b width + c`, two modalities of the same width as the result."""
    widths = (16, 32, 64)
    counts = [_fused(name, width).count_params() for width in widths]
    fit = np.linalg.solve(np.vander(widths, 3).astype(float), counts)
    return [round(float(x), 2) for x in fit]


def _fused(name, width, lengths=(None, None)):
    """A fusion alone, of two inputs with masks."""
    inputs = {
        key: (keras.Input((length, width)), keras.Input((length,), dtype="bool"))
        for key, length in zip(("objects", "question"), lengths, strict=True)
    }
    return keras.Model(inputs, fuse(inputs, width, fusion=name)[0])


def step_ratios(names, places, rounds):
    """Times a training step of concatenate that one of each takes, and of itself twice as long."""
    runs = {}
    for name in dict.fromkeys(["concatenate", *names]):
        for times in (1, 2):
            runs[name, times] = measure.timed(_training(name, [times * n for n in places]))
    took = measure.in_turns(runs, rounds)
    return {
        name: {
            "step_s": measure.seconds(took, (name, 1)),
            "ratio": measure.ratio(took, ("concatenate", 1), (name, 1)),
            "ratio_twice_as_long": measure.ratio(took, (name, 1), (name, 2)),
        }
        for name in names
    }


def _training(name, lengths):
    """A function of ten training steps of a fusion alone, on random sequences."""
    random = np.random.default_rng(0)
    model = _fused(name, WIDTH, lengths)
    values = {
        key: (
            tf.constant(random.normal(size=(32, length, WIDTH)), tf.float32),
            tf.constant(random.random((32, length)) < 0.8),
        )
        for key, length in zip(("objects", "question"), lengths, strict=True)
    }
    weights = [weight.value for weight in model.trainable_weights]

    @functools.partial(tf.function, autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(values, training=True)))
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            if gradient is not None:
                weight.assign_sub(1e-3 * gradient)
        return loss

    return lambda: [float(step()) for _ in range(10)]


def score(name, steps, seed):
    """Accuracy on new scenes, by kind of question."""
    keras.utils.set_random_seed(seed)
    model = answerer(name)
    model.compile(
        keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(3e-3, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    x, y, _ = scenes(BATCH * steps, seed)
    model.fit(x, y, BATCH, verbose=0)
    x, y, kind = scenes(4000, seed + 1_000_000)
    right = model.predict(x, 500, verbose=0).argmax(-1) == y
    return {
        "accuracy": round(float(right.mean()), 3),
        "lookup": round(float(right[kind < 2].mean()), 3),
        "count": round(float(right[kind == 2].mean()), 3),
    }


def answerer(name):
    objects = keras.Input((OBJECTS, 2 * KINDS), name="objects")
    question = keras.Input((WORDS,), dtype="int32", name="question")
    seen = keras.layers.Dense(WIDTH)(keras.layers.Dense(WIDTH, "gelu")(objects))
    words = keras.layers.Embedding(2 * KINDS + 3 + FILLERS, WIDTH)(question)
    mask = ops.ones_like(question, "bool")
    encoded = {"objects": (seen, None), "question": (words, mask)}
    x, mask = fuse(encoded, WIDTH, fusion=name)
    if mask is None:
        mask = ops.ones_like(x[:, :, 0])
    visible = ops.expand_dims(ops.cast(mask, "float32"), -1)
    x = ops.sum(x * visible, axis=1) / ops.sum(visible, axis=1)
    x = keras.layers.Dense(ANSWERS)(keras.layers.Dense(WIDTH, "gelu")(x))
    return keras.Model({"objects": objects, "question": question}, x)


def scenes(count, seed):
    """Random objects, questions, answers, and which kind of question each is."""
    random = np.random.default_rng(seed)
    # No colour and no shape twice where one is looked up, any number where they are counted.
    kind = random.integers(0, 3, count)
    colours, shapes = random.random((2, count, KINDS)).argsort(-1)[:, :, :OBJECTS]
    counted = kind == 2
    few = random.integers(0, KINDS, (count, 3))
    repeated = np.take_along_axis(few, random.integers(0, 3, (count, OBJECTS)), axis=1)
    shapes = np.where(counted[:, None], repeated, shapes)
    place, rows = random.integers(0, OBJECTS, count), np.arange(count)
    colour, shape = colours[rows, place], shapes[rows, place]
    asked = np.where(counted, few[rows, random.integers(0, 3, count)], shape)
    many = np.clip((shapes == asked[:, None]).sum(1), 0, COUNTS - 1)
    answer = np.choose(kind, [shape, KINDS + colour, 2 * KINDS + many])
    word = np.choose(kind, [colour, KINDS + shape, KINDS + asked])
    question = 2 * KINDS + 3 + random.integers(0, FILLERS, (count, WORDS))
    question[:, 0], question[:, 2] = 2 * KINDS + kind, word
    objects = np.concatenate([np.eye(KINDS)[colours], np.eye(KINDS)[shapes]], axis=-1)
    x = {"objects": objects.astype("float32"), "question": question.astype("int32")}
    return x, answer, kind


def print_table(rows):
    print("| fusion | parameters | step | twice as long | accuracy | lookup | count |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, row in rows.items():
        times = [_cell(row, key, "{:.2g}") for key in ("ratio", "ratio_twice_as_long")]
        scores = [_cell(row, key, "{:.1%}") for key in ("accuracy", "lookup", "count")]
        cells = [f"`{name}`", _polynomial(*row["parameters"]), *times, *scores]
        print("|", " | ".join(cells), "|")


def _cell(row, key, form):
    return form.format(row[key]) if key in row else ""


def _polynomial(square, linear, constant):
    parts = (f"{square:g} w²", f"{linear:g} w", f"{constant:g}")
    return " + ".join(part for part in parts if not part.startswith(("0 ", "-0")) and part != "0")


if __name__ == "__main__":
    main()
