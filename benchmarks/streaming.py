"""How long after 320 ms of speech its text is there.

    python benchmarks/streaming.py

A small causal Conformer with random weights listens to streams in chunks of 320 ms, greedily and
with beam 8, in this process (`mm.Stream`) and through the export's `stream_step`. A latency is what
passes from the last sample of a chunk to the text so far, state and strings included.
"""

import tempfile
import time
from pathlib import Path

import measure
import numpy as np
import tensorflow as tf

import mmkeras as mm

RATE = 16000
CHUNK = 8
SUBSAMPLING = 4
# Of frames of 10 ms.
SAMPLES = CHUNK * SUBSAMPLING * RATE // 100
SEARCHES = {"greedy": {"beam_width": None}, "beam8": {"beam_width": 8}}


def main():
    options = measure.parser(__doc__, rounds=20)
    options.add_argument("--chunks", type=int, default=30, help="of a stream")
    args = options.parse_args()
    machine = measure.machine()
    size, chunks, rounds = ("tiny", 2, 1) if args.quick else ("small", args.chunks, args.rounds)
    task = recognizer(size)
    sound = np.random.default_rng(0).normal(0, 0.1, (chunks, 1, SAMPLES)).astype(np.float32)
    streams = {}
    for name, search in list(SEARCHES.items())[: 1 if args.quick else None]:
        streams[name] = in_process(task, search)
        streams[f"export_{name}"] = through_export(task, search)
    latencies = {name: [] for name in streams}
    for turn in range(rounds + 1):
        for name, listen in streams.items():
            # The first turn warms up.
            latencies[name] += listen(sound)[: len(sound) * (turn > 0)]
    figures = {}
    for name, each in latencies.items():
        for percent in (50, 99):
            figures[f"{name}_p{percent}_ms"] = measure.rounded(1000 * np.percentile(each, percent))
    figures |= {"chunk_ms": 1000 * SAMPLES // RATE, "chunks": chunks * rounds, "size": size}
    measure.report("streaming", figures, machine)


def recognizer(size):
    letters = mm.train_tokenizer(["abcdefghijklmnopqrstuvwxyz '"], "character")
    audio = mm.Audio(RATE, normalization=None, centered=False)
    encoder = mm.conformer(size, SUBSAMPLING, chunk=CHUNK)
    return mm.speech_to_text(letters, audio, encoder, size=size, subsampling=SUBSAMPLING)


def in_process(task, search):
    """A function that listens to a stream and says how long it took after each chunk."""
    stream = mm.Stream(task, **search)

    def listen(sound):
        state, seconds = stream.initial_state(), []
        for samples in sound:
            start = time.perf_counter()
            _, state = stream.step(samples, state)
            seconds.append(time.perf_counter() - start)
        return seconds

    return listen


def through_export(task, search):
    """The same through an export; state goes from answer to request, as a client sends it."""
    with tempfile.TemporaryDirectory() as folder:
        exported = mm.Export(mm.export(task, Path(folder), **search))
    kept = set(exported.specs("stream_step")) - {"samples"}

    def listen(sound):
        state, seconds = exported.run({"sample_rate": tf.constant([RATE])}, "stream_init"), []
        for samples in sound:
            start = time.perf_counter()
            request = {name: tf.constant(state[name]) for name in kept}
            state = exported.run({"samples": tf.constant(samples), **request}, "stream_step")
            seconds.append(time.perf_counter() - start)
        return seconds

    return listen


if __name__ == "__main__":
    main()
