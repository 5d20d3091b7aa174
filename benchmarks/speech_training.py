"""Seconds of speech that one second of training takes in: a Conformer with a CTC loss.

    python benchmarks/speech_training.py --huggingface-python .venv-hf/bin/python --path an4

The compiled step that `fit` runs, forward, backward and update, against the same step of the same
Conformer in plain torch. And how much of what `mm.dataset` batches is padding, with batches of so
many seconds and of so many recordings: of AN4, or of data set out like it, in `--path`; without, of
silence of 1 to 10 seconds.
"""

import sys
from pathlib import Path

import keras
import measure
import numpy as np
import tensorflow as tf

import mmkeras as mm
from mmkeras.assembly import default_optimizer
from mmkeras.decoders.ctc import CTC
from mmkeras.encoders.audio import CONFORMER_SIZES, conformer
from mmkeras.layers.conformer import ConformerBlock
from mmkeras.preprocessing import wav

FULL = {"size": "small", "batch": 8, "frames": 800, "labels": 100, "peak_side": 2048}
QUICK = {"size": "tiny", "batch": 2, "frames": 40, "labels": 3, "peak_side": 64}
FRAMES_PER_SECOND = 100
RATE = 16000
SHARED = {"subsampling": 4, "dropout": 0.1, "bands": 80, "vocabulary": 32}


class Torch(measure.HuggingFace):
    """The Conformer of `torch_conformer.py`."""

    name, program = "torch", Path(__file__).with_name("torch_conformer.py")


def main():
    options = measure.parser(__doc__, rounds=7)
    options.add_argument("--huggingface-python", default=sys.executable)
    options.add_argument("--path", help="of AN4")
    args = options.parse_args()
    machine = measure.machine()
    settings = {**SHARED, **(QUICK if args.quick else FULL)}
    recordings = mm.read("an4", args.path)[0]["audio"] if args.path else silence(args.quick)
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
        "padding": padding(recordings, batch_seconds=60),
        "padding_unsorted": padding(recordings),
        "batch": settings["batch"],
        "seconds_each": settings["frames"] / FRAMES_PER_SECOND,
    }
    measure.report("speech_training", figures, machine, peer)


def peer_settings(settings):
    """The same as `torch_conformer.py` takes it."""
    width, depth, heads, channels = CONFORMER_SIZES[settings["size"]]
    sizes = {"width": width, "depth": depth, "heads": heads, "channels": channels}
    return {**settings, **sizes, "kernel": ConformerBlock(heads).kernel}


def silence(quick):
    """WAV files of 1 to 10 seconds."""
    lengths = np.random.default_rng(0).integers(RATE, 10 * RATE, 20 if quick else 500)
    return [wav.pack(np.zeros(length, np.int16), RATE) for length in lengths]


def padding(recordings, **options):
    """The share of frames that is padding, in an epoch of shuffled batches of at most 16."""
    fields = mm.Preprocessor({"audio": mm.Audio(RATE)}, {})
    batches = mm.dataset({"audio": recordings}, fields, 16, shuffle=True, **options)
    masks = [x["audio_mask"].numpy() for x in batches]
    return measure.rounded(1 - sum(mask.sum() for mask in masks) / sum(mask.size for mask in masks))


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
