"""Seconds of speech that one second of training takes in: a Conformer with a CTC loss.

    python benchmarks/speech_training.py --huggingface-python .venv-hf/bin/python

The compiled step that `fit` runs, forward, backward and update, against the same step of the same
Conformer in plain torch.
"""

import sys
from pathlib import Path

import keras
import measure
import numpy as np
import tensorflow as tf

from mmkeras.assembly import default_optimizer
from mmkeras.decoders.ctc import CTC
from mmkeras.encoders.audio import CONFORMER_SIZES, conformer
from mmkeras.layers.conformer import ConformerBlock

FULL = {"size": "small", "batch": 8, "frames": 800, "labels": 100, "peak_side": 2048}
QUICK = {"size": "tiny", "batch": 2, "frames": 40, "labels": 3, "peak_side": 64}
FRAMES_PER_SECOND = 100
SHARED = {"subsampling": 4, "dropout": 0.1, "bands": 80, "vocabulary": 32}


class Torch(measure.HuggingFace):
    """The Conformer of `torch_conformer.py`."""

    name, program = "torch", Path(__file__).with_name("torch_conformer.py")


def main():
    options = measure.parser(__doc__, rounds=7)
    options.add_argument("--huggingface-python", default=sys.executable)
    args = options.parse_args()
    machine = measure.machine()
    settings = {**SHARED, **(QUICK if args.quick else FULL)}
    runs = {"train": measure.timed(training(settings))}
    with Torch(args.huggingface_python, peer_settings(settings)) as peer:
        times = measure.in_turns({**runs, **peer.runs("train")}, args.rounds)
    seconds = settings["batch"] * settings["frames"] / FRAMES_PER_SECOND
    figures = {
        "step_s": measure.seconds(times, "train"),
        "torch_step_s": measure.seconds(times, "torch_train"),
        "ratio": measure.ratio(times, "train", "torch_train"),
        "utterance_seconds_per_s": measure.rate(times, "train", seconds),
        "torch_utterance_seconds_per_s": measure.rate(times, "torch_train", seconds),
        "batch": settings["batch"],
        "seconds_each": settings["frames"] / FRAMES_PER_SECOND,
    }
    measure.report("speech_training", figures, machine, peer)


def peer_settings(settings):
    """The same as `torch_conformer.py` takes it."""
    width, depth, heads, channels = CONFORMER_SIZES[settings["size"]]
    sizes = {"width": width, "depth": depth, "heads": heads, "channels": channels}
    return {**settings, **sizes, "kernel": ConformerBlock(heads).kernel}


def training(settings):
    """A function that takes one step, always on the same batch."""
    batch, frames, labels = settings["batch"], settings["frames"], settings["labels"]
    random = np.random.default_rng(0)
    x = {
        "audio": random.normal(size=(batch, frames, settings["bands"])).astype("float32"),
        "audio_mask": np.ones((batch, frames), bool),
    }
    ids = random.integers(1, settings["vocabulary"], (batch, labels), np.int32)
    model = recognizer(settings)
    batches = tf.data.Dataset.from_tensors((x, ids)).repeat()
    model.fit(batches, steps_per_epoch=1, verbose=0)
    iterator = iter(batches)

    def step():
        # Reading the loss waits for the step to end.
        float(model.train_function(iterator)["loss"])

    return step


def recognizer(settings):
    audio = keras.Input((None, settings["bands"]), name="audio")
    mask = keras.Input((None,), dtype="bool", name="audio_mask")
    encoder = conformer(
        settings["size"], settings["subsampling"], settings["dropout"], spec_augment=False
    )
    head = CTC(settings["vocabulary"], dropout=0.0, name="transcript")
    model = keras.Model({"audio": audio, "audio_mask": mask}, head(*encoder(audio, mask)))
    model.compile(default_optimizer(), loss=head.loss())
    return model


if __name__ == "__main__":
    main()
