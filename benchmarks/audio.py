"""Log-mel frames of an hour of sound, and of files through `mm.dataset`.

    python benchmarks/audio.py --huggingface-python .venv-hf/bin/python

The hour is in memory, in pieces of 30 seconds, and becomes 80 bands at 16 kHz: against librosa,
where it is installed, and against Transformers' WhisperFeatureExtractor. The files are WAV of 16
bits and 16 kHz, of 1 to 10 seconds: read, decoded, made into frames and batched, by the `Audio`
field in tf.data and by `mm.dataset`, against nothing but `tf.io.read_file`, `tf.audio.decode_wav`
and the same log-mel in tf.data, as parallel.
"""

import sys
import tempfile
from pathlib import Path

import measure
import numpy as np
import tensorflow as tf

import mmkeras as mm
from mmkeras.preprocessing import wav
from mmkeras.preprocessing.log_mel import log_mel

RATE = 16000
BANDS = 80
BATCH = 16


class Extractor(measure.HuggingFace):
    """The feature extractor of `whisper_extractor.py`, in a process of its own."""

    program = Path(__file__).with_name("whisper_extractor.py")


def main():
    options = measure.parser(__doc__, rounds=5)
    options.add_argument("--huggingface-python", default=sys.executable)
    options.add_argument("--files", type=int, default=512, help="how many are made up")
    args = options.parse_args()
    machine = measure.machine()
    pieces, samples = (2, RATE) if args.quick else (120, 30 * RATE)
    files = 4 if args.quick else args.files
    sound = np.random.default_rng(0).normal(0, 0.1, (pieces, samples)).astype(np.float32)
    settings = {"pieces": pieces, "samples": samples}
    with (
        tempfile.TemporaryDirectory() as folder,
        Extractor(args.huggingface_python, settings) as peer,
    ):
        paths, seconds = write_files(Path(folder), files)
        runs = {"log_mel": ours(sound), **librosa_if_there(sound)}
        runs |= {
            "field": measure.consuming(field_batches(paths)),
            "dataset": measure.consuming(batches(paths)),
            "bare": measure.consuming(bare_batches(paths)),
        }
        runs = {name: measure.timed(run) for name, run in runs.items()}
        times = measure.in_turns(runs | peer.runs("log_mel"), args.rounds)
    figures = {
        "log_mel_s": measure.seconds(times, "log_mel"),
        "librosa_log_mel_s": measure.seconds(times, "librosa"),
        "huggingface_log_mel_s": measure.seconds(times, "huggingface_log_mel"),
        "ratio_librosa": measure.ratio(times, "log_mel", "librosa"),
        "ratio": measure.ratio(times, "log_mel", "huggingface_log_mel"),
        "field_seconds_per_s": measure.rate(times, "field", seconds),
        "dataset_seconds_per_s": measure.rate(times, "dataset", seconds),
        "bare_seconds_per_s": measure.rate(times, "bare", seconds),
        "ratio_bare": measure.ratio(times, "field", "bare"),
        "ratio_bare_dataset": measure.ratio(times, "dataset", "bare"),
        "seconds": pieces * samples / RATE,
        "files": files,
        "seconds_in_files": measure.rounded(seconds),
    }
    measure.report("audio", figures, machine, peer)


def write_files(folder, count):
    """Paths of so many files, and how many seconds they last together."""
    random = np.random.default_rng(0)
    lengths = random.integers(RATE, 10 * RATE, count)
    for number, length in enumerate(lengths):
        samples = np.int16(random.normal(0, 3000, length))
        (folder / f"{number}.wav").write_bytes(wav.pack(samples, RATE))
    paths = [str(folder / f"{number}.wav") for number in range(count)]
    return paths, lengths.sum() / RATE


def ours(sound):
    sound = tf.constant(sound)
    extract = tf.function(lambda sound: whisper_scale(log_mel(sound)), autograph=False)
    return lambda: extract(sound).numpy()


def whisper_scale(power):
    return (tf.maximum(power, tf.reduce_max(power, [-2, -1], keepdims=True) - 8) + 4) / 4


def librosa_if_there(sound):
    try:
        import librosa
    except ImportError:
        return {}

    def extract():
        for piece in sound:
            mel = librosa.feature.melspectrogram(
                y=piece, sr=RATE, n_fft=400, hop_length=160, n_mels=BANDS
            )
            power = np.log10(np.maximum(mel, 1e-10))
            (np.maximum(power, power.max() - 8) + 4) / 4

    return {"librosa": extract}


def batches(paths):
    fields = mm.Preprocessor({"audio": mm.Audio(bands=BANDS)}, {})
    return mm.dataset({"audio": paths}, fields, BATCH)


def field_batches(paths):
    field = mm.Audio(bands=BANDS)
    return mapped(paths, lambda path: field(tf.io.read_file(path)))


def bare_batches(paths):
    def read(path):
        samples, _ = tf.audio.decode_wav(tf.io.read_file(path), desired_channels=1)
        return log_mel(samples[:, 0], bands=BANDS)

    return mapped(paths, read)


def mapped(paths, read):
    examples = tf.data.Dataset.from_tensor_slices(paths).map(read, tf.data.AUTOTUNE)
    return examples.padded_batch(BATCH).prefetch(tf.data.AUTOTUNE)


if __name__ == "__main__":
    main()
