"""Tokens per second of captions through the served graph.

    python benchmarks/decoding.py --huggingface-python .venv-hf/bin/python

Greedy and beam search of an export, from JPEG bytes to strings, against `generate` of Hugging Face
Transformers, from pixels to ids, and against greedy decoding without a cache. Every caption has the
same number of tokens, `[END]` among them, and takes as many steps.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import measure
import tensorflow as tf
from captioner import FULL, QUICK, captioner, peer_settings
from photos import photo

import mmkeras as mm


def main():
    options = measure.parser(__doc__, rounds=7)
    options.add_argument("--huggingface-python", default=sys.executable)
    args = options.parse_args()
    machine = measure.machine()
    settings, batch = (QUICK, 2) if args.quick else (FULL, 8)
    task = captioner(settings)
    side = settings.image_size
    raw = {"image_bytes": tf.constant([photo(seed, side, side) for seed in range(batch)])}
    runs = {
        "greedy": served(task, raw, settings.tokens, beam_width=None),
        "beam4": served(task, raw, settings.tokens, beam_width=4),
        "no_cache": without_cache(task, raw, settings.tokens),
    }
    runs = {name: measure.timed(run) for name, run in runs.items()}
    peer_python, shape = args.huggingface_python, peer_settings(settings, batch, side)
    with measure.HuggingFace(peer_python, shape) as peer:
        times = measure.in_turns({**runs, **peer.runs("greedy", "beam4")}, args.rounds)
    names = ("greedy", "beam4", "no_cache", "huggingface_greedy", "huggingface_beam4")
    count = batch * settings.tokens
    figures = {f"{name}_tokens_per_s": measure.rate(times, name, count) for name in names}
    figures |= {
        "ratio_greedy": measure.ratio(times, "greedy", "huggingface_greedy"),
        "ratio_beam4": measure.ratio(times, "beam4", "huggingface_beam4"),
        "ratio_no_cache": measure.ratio(times, "greedy", "no_cache"),
        "best_tokens_per_s": {name: measure.rate(times, name, count, best=True) for name in names},
    }
    measure.report("decoding", figures, machine, peer)


def served(task, raw, tokens, beam_width):
    """A function that captions through an export."""
    with tempfile.TemporaryDirectory() as folder:
        path = mm.export(task, Path(folder), beam_width=beam_width, min_length=tokens - 1)
        exported = mm.Export(path)
    words = [len(caption.split()) for caption in exported.run(raw)["caption"]]
    if set(words) != {tokens - 1}:
        sys.exit(f"All captions should have {tokens - 1} words before [END]. Received: {words}")
    return lambda: exported.run(raw)


def without_cache(task, raw, tokens):
    """A function that reads all tokens again before it writes one, greedily."""
    decoder = task.get_layer("caption")

    @tf.function(autograph=False)
    def context():
        return task.context(task.preprocessor.tensors(raw))["caption"]

    @tf.function(autograph=False)
    def following(ids, context):
        return tf.argmax(decoder(ids, **context)[:, -1:], axis=-1, output_type=ids.dtype)

    rows = len(raw["image_bytes"])
    known = tf.nest.map_structure(tf.type_spec_from_value, context())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using a softmax over axis")
        steps = [
            following.get_concrete_function(tf.TensorSpec([rows, length], tf.int32), known)
            for length in range(1, tokens + 1)
        ]

    def run():
        known, ids = context(), tf.fill([rows, 1], decoder.start_id)
        for step in steps:
            ids = tf.concat([ids, step(ids, known)], axis=1)

    return run


if __name__ == "__main__":
    main()
