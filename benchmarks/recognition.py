"""How long a served recognizer takes to write down a second of speech.

    python benchmarks/recognition.py --path an4

The export of `saved_models/an4_speech.keras`, from WAV bytes to text, one recording at a time and
16 together, greedily and with beam 16 and its word 3-gram. `--path` is of AN4 or of data set out
like it; without, the letters of a few sentences are played as tones.
"""

import tempfile
from pathlib import Path

import measure
import numpy as np
import tensorflow as tf

import mmkeras as mm
from mmkeras.preprocessing import wav

SAVED = Path(__file__).parents[1] / "saved_models" / "an4_speech.keras"
RATE = 16000
SEARCHES = {"greedy": {"beam_width": None}, "beam16": {"beam_width": 16}}
BATCHES = (1, 16)
SENTENCES = ("enter six two", "r u b o u t", "january nineteen seventy", "yes", "p i t t s b")


def main():
    options = measure.parser(__doc__, rounds=5)
    options.add_argument("--path", help="of AN4")
    options.add_argument("--recordings", type=int, default=64, help="how many")
    args = options.parse_args()
    machine = measure.machine()
    count = 2 if args.quick else args.recordings
    recordings = read(args.path, count) if args.path else made_up(count)
    seconds = sum(wav.read_header(each).frames for each in recordings) / RATE
    runs = {}
    for name, search in list(SEARCHES.items())[: 1 if args.quick else None]:
        exported = export(mm.load_model(SAVED), search)
        runs |= {f"{name}_{size}": listening(exported, recordings, size) for size in BATCHES}
    times = measure.in_turns(
        {name: measure.timed(run) for name, run in runs.items()}, 1 if args.quick else args.rounds
    )
    figures = {
        f"real_time_factor_{name}": measure.rounded(measure.seconds(times, name) / seconds)
        for name in runs
    }
    figures |= {"recordings": count, "seconds": measure.rounded(seconds)}
    measure.report("recognition", figures, machine)


def read(path, count):
    """So many recordings of AN4, evenly spread, as WAV bytes."""
    train, _, _ = mm.read("an4", path)
    places = np.linspace(0, len(train["audio"]) - 1, count).astype(int)
    return [mm.Audio(RATE).load(train["audio"][place]) for place in places]


def made_up(count):
    field = mm.Audio(RATE, "waveform")
    spoken = [mm.speak(text, synthesizer="tones") for text in SENTENCES]
    sounds = [field.signal(sound).numpy() for sound in spoken]
    return [
        wav.pack(np.int16(20000 * sounds[number % len(sounds)]), RATE) for number in range(count)
    ]


def export(model, search):
    with tempfile.TemporaryDirectory() as folder:
        return mm.Export(mm.export(model, Path(folder), **search))


def listening(exported, recordings, size):
    """A function that writes down all recordings, so many at once."""
    batches = [
        tf.constant(recordings[start : start + size]) for start in range(0, len(recordings), size)
    ]

    def run():
        for batch in batches:
            exported.run({"audio_bytes": batch})

    return run


if __name__ == "__main__":
    main()
