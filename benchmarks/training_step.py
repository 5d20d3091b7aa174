"""Seconds of one training step: forward, backward and update.

    python benchmarks/training_step.py --huggingface-python .venv-hf/bin/python

The compiled step that `fit` runs, with its metrics, against the same step in torch, and both
against what the machine does in plain products of matrices.
"""

import sys

import measure
import numpy as np
import tensorflow as tf
from captioner import FULL, PEAK_SIDE, QUICK, captioner, peer_settings, training_flops


def main():
    options = measure.parser(__doc__, rounds=7)
    options.add_argument("--huggingface-python", default=sys.executable)
    args = options.parse_args()
    machine = measure.machine()
    settings, batch, side = (QUICK, 2, 64) if args.quick else (FULL, 16, PEAK_SIDE)
    task = captioner(settings)
    runs = {"step": training(task, settings, batch), "matmul": multiplying(side)}
    runs = {name: measure.timed(run) for name, run in runs.items()}
    peer_python, shape = args.huggingface_python, peer_settings(settings, batch, side)
    with measure.HuggingFace(peer_python, shape) as peer:
        times = measure.in_turns({**runs, **peer.runs("train", "matmul")}, args.rounds)
    flops = training_flops(settings, batch)
    figures = {
        "step_s": measure.seconds(times, "step"),
        "huggingface_step_s": measure.seconds(times, "huggingface_train"),
        "ratio": measure.ratio(times, "step", "huggingface_train"),
        "step_gflop": measure.rounded(flops / 1e9),
        "matmul_gflop_per_s": peak(times, "matmul", side),
        "huggingface_matmul_gflop_per_s": peak(times, "huggingface_matmul", side),
        "share_of_matmul_peak": share(times, "step", "matmul", flops, side),
        "huggingface_share_of_matmul_peak": share(
            times, "huggingface_train", "huggingface_matmul", flops, side
        ),
        "jit_compile": task.jit_compile,
    }
    measure.report("training_step", figures, machine, peer)


def training(task, settings, batch):
    """A function that takes one step, always on the same batch."""
    random = np.random.default_rng(0)
    side, shape = settings.image_size, (batch, settings.tokens)
    ids, labels = random.integers(3, settings.vocabulary, (2, *shape), np.int32)
    x = {
        "image": random.integers(0, 256, (batch, side, side, 3)).astype(np.uint8),
        "caption_input": ids,
    }
    weights = {"caption": np.ones(shape, np.float32)}
    batches = tf.data.Dataset.from_tensors((x, {"caption": labels}, weights)).repeat()
    task.fit(batches, steps_per_epoch=1, shuffle=False, verbose=0)
    iterator = iter(batches)

    def step():
        # Reading the loss waits for the step to end.
        float(task.train_function(iterator)["loss"])

    return step


def multiplying(side):
    left, right = tf.random.normal([2, side, side])
    return lambda: tf.matmul(left, right).numpy()


def peak(times, name, side):
    """GFLOP/s in the best turn."""
    return measure.rate(times, name, 2 * side**3 / 1e9, best=True)


def share(times, name, matmul, flops, side):
    achieved = measure.rate(times, name, flops / 1e9)
    return achieved and measure.rounded(achieved / peak(times, matmul, side))


if __name__ == "__main__":
    main()
