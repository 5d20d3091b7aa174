"""Questions about pictures that one second of training, and of answering, takes in.

    python benchmarks/answering.py --huggingface-python .venv-hf/bin/python

Conv2D over the picture, an LSTM both ways over the question, co-attention, a closed set of answers:
the compiled step that `fit` runs, and the compiled answer from tensors, against the same of the
same network in plain torch.
"""

import sys
from pathlib import Path

import measure
import numpy as np
import tensorflow as tf

import mmkeras as mm
from mmkeras.builders.parts import SIZES
from mmkeras.encoders.image import CONV_SIZES

FULL = {"batch": 64, "side": 64, "words": 14, "peak_side": 2048}
QUICK = {"batch": 2, "side": 32, "words": 5, "peak_side": 64}
SIZE, ANSWERS, VOCABULARY, DROPOUT = "tiny", 100, 500, 0.1


class Torch(measure.HuggingFace):
    """The answerer of `torch_answerer.py`."""

    name, program = "torch", Path(__file__).with_name("torch_answerer.py")


def main():
    options = measure.parser(__doc__, rounds=9)
    options.add_argument("--huggingface-python", default=sys.executable)
    args = options.parse_args()
    machine = measure.machine()
    settings = QUICK if args.quick else FULL
    ours = ours_of(settings)
    runs = {name: measure.timed(run) for name, run in ours.items()}
    with Torch(args.huggingface_python, peer_settings(settings)) as peer:
        times = measure.in_turns({**runs, **peer.runs("train", "infer")}, args.rounds)
    figures = {"batch": settings["batch"], "side": settings["side"], "words": settings["words"]}
    for name in ours:
        figures |= {
            f"{name}_s": measure.seconds(times, name),
            f"torch_{name}_s": measure.seconds(times, f"torch_{name}"),
            f"{name}_questions_per_s": measure.rate(times, name, settings["batch"]),
            f"ratio_{name}": measure.ratio(times, name, f"torch_{name}"),
        }
    measure.report("answering", figures, machine, peer)


def peer_settings(settings):
    """The same as `torch_answerer.py` takes it."""
    channels, residuals = CONV_SIZES[SIZE]
    sizes = {"channels": channels, "residuals": residuals, "width": SIZES[SIZE][0], "heads": 4}
    known = {"answers": ANSWERS, "vocabulary": VOCABULARY, "dropout": DROPOUT}
    return {**settings, **sizes, **known}


def ours_of(settings):
    """Functions that take one training step, and that answer, always of the same batch."""
    random = np.random.default_rng(0)
    words = mm.WordTokenizer(
        ["[PAD]", "[START]", "[END]", "[UNK]", *(f"w{i}" for i in range(VOCABULARY - 4))]
    )
    model = mm.visual_question_answering(
        mm.Text(words, settings["words"], markers=False),
        [f"a{i}" for i in range(ANSWERS)],
        mm.Image(settings["side"]),
        "conv",
        "bilstm",
        "co_attention",
        SIZE,
        DROPOUT,
    )
    batch, side = settings["batch"], settings["side"]
    x = {
        "image": random.integers(0, 256, (batch, side, side, 3), np.uint8),
        "question": random.integers(4, VOCABULARY, (batch, settings["words"]), np.int32),
    }
    right = np.eye(ANSWERS, dtype="float32")[random.integers(0, ANSWERS, batch)]
    batches = tf.data.Dataset.from_tensors((x, {"answer": right})).repeat()
    model.fit(batches, steps_per_epoch=1, verbose=0)
    iterator = iter(batches)
    tensors = {name: tf.constant(value) for name, value in x.items()}
    head = model.get_layer("answer")
    answer = tf.function(lambda x: head.answer(**model.context(x)["answer"])["ids"])

    return {
        # Reading the loss waits for the step to end.
        "train": lambda: float(model.train_function(iterator)["loss"]),
        "infer": lambda: answer(tensors).numpy(),
    }


if __name__ == "__main__":
    main()
