"""How many requests `mmkeras serve` answers, how fast, and what it does with too many.

    python benchmarks/serve.py

The captioner of the built-in world (`saved_models/world_captioning.keras`, greedy, PNG bytes to
strings) in two servers on loopback: one puts requests that wait together into one batch, the other
answers one by one. Requests come at random times at rising rates, at both in turns, until the 99th
percentile of the latency is above a limit twice in a row; the highest rate below it is the
throughput. Each answer is compared with what the export gives to that picture alone. Then come
three times as many requests as the first server can take, and 100,000 requests to a small text
classifier, from 64 clients at once, for answers that are lost or of somebody else. At last the
served graph is compared with the same model called from Python for every token, for one picture
alone: its compiled step, and `predict_on_batch` of the whole model, as the Keras examples do it.
"""

import asyncio
import base64
import contextlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import load
import measure
import numpy as np
import tensorflow as tf

import mmkeras as mm

MODEL = Path(__file__).parents[1] / "saved_models" / "world_captioning.keras"
GROWTH = 1.3
PLACES = ["left", "right", "above", "below", "near", "far"]
SCORE_TOLERANCE = 1e-3


def main():
    options = measure.parser(__doc__, rounds=20)
    options.add_argument("--p99-ms", type=float, default=250, help="the highest latency allowed")
    options.add_argument("--seconds", type=float, default=8, help="at each rate")
    options.add_argument("--requests", type=int, default=100_000, help="to the text classifier")
    args = options.parse_args()
    if args.quick:
        args.seconds, args.requests, args.rounds = 0.5, 200, 1
    machine = measure.machine()
    captioner, classifier = models(args.quick)
    with tempfile.TemporaryDirectory() as folder:
        mm.export(captioner, Path(folder, "captions"), beam_width=None)
        mm.export(classifier, Path(folder, "topics"))
        figures = {"p99_limit_ms": args.p99_ms}
        figures |= asyncio.run(loads(Path(folder), args))
        figures |= against_python(captioner, mm.Export(Path(folder, "captions")), args.rounds)
    measure.report("serve", figures, machine)


def models(quick):
    """A captioner, and a classifier of six words."""
    tf.keras.utils.set_random_seed(0)
    words = mm.train_tokenizer([" ".join(PLACES)], "word")
    if quick:
        captioner = mm.image_captioning(words, 64, size="tiny", sequence_length=6)
    else:
        captioner = mm.load_model(MODEL)
    return captioner, mm.text_classification(words, PLACES, size="tiny")


async def loads(folder, args):
    pictures = mm.world(8 if args.quick else 64, seed=1, split="valid")["image"]
    captions, topics = mm.Export(folder / "captions"), mm.Export(folder / "topics")
    texts = [f"{a} {b} {c}" for a in PLACES for b in PLACES for c in PLACES]
    with contextlib.ExitStack() as stack:
        paths = [folder / "captions", folder / "topics"]
        serve = InProcess if args.quick else Process
        server = stack.enter_context(serve(paths))
        alone = stack.enter_context(serve(paths[:1], batch_size=1))
        targets = {
            "batched": image_target(server.url, captions, pictures),
            "one_by_one": image_target(alone.url, captions, pictures),
        }
        for target in targets.values():
            await target.at_once(1, len(pictures))
        curves = await rising(targets, args)
        best = {name: sustained(curve, args.p99_ms) for name, curve in curves.items()}
        rate = 3 * (best["batched"] or curves["batched"][0]["rate"])
        overload = await targets["batched"].at_rate(rate, int(rate * args.seconds))
        topic = text_target(server.url, topics, texts)
        many = await topic.at_once(64, args.requests)
        memory = server.megabytes()
        for target in (*targets.values(), topic):
            target.close()
    ratio = best["batched"] / best["one_by_one"] if all(best.values()) else None
    return {
        "throughput_per_s": best,
        "ratio_batching": measure.rounded(ratio),
        "rates": curves,
        "overload": {"rate": measure.rounded(rate), **overload.figures()},
        "many": {"requests": args.requests, **many.figures()},
        "server_megabytes": memory,
    }


async def rising(targets, args):
    """What each target did at rising rates, each until it is too slow."""
    first = await next(iter(targets.values())).at_once(1, 5 if args.quick else 30)
    rate = 0.5 * len(first.answered) / first.seconds
    curves, left = {name: [] for name in targets}, set(targets)
    for step in range(2 if args.quick else 20):
        for name in sorted(left):
            count = max(int(rate * args.seconds), 10)
            outcome = await targets[name].at_rate(rate, count, seed=step)
            curves[name].append({"rate": measure.rounded(rate), **outcome.figures()})
            # Once may have been something else that the machine did.
            if not any(is_good(each, args.p99_ms) for each in curves[name][-2:]):
                left.discard(name)
        if not left:
            break
        rate *= GROWTH
    return curves


def is_good(figures, limit):
    bad = figures["refused"] + figures["wrong"] + figures["lost"]
    return not bad and figures["answered_p99_ms"] <= limit


def sustained(curve, limit):
    """The highest rate before the first that was too much."""
    return max((each["rate"] for each in curve if is_good(each, limit)), default=None)


def image_target(url, exported, pictures):
    bodies = [body({"image_bytes": {"b64": base64.b64encode(p).decode()}}) for p in pictures]
    expected = [exported.infer({"image": [picture]}) for picture in pictures]
    return load.Target(url, "captions", bodies, lambda n, answer: same(answer, expected[n]))


def text_target(url, exported, texts):
    (name,) = set(exported.specs())
    bodies = [body({name: text}) for text in texts]
    expected = [exported.infer({name: [text]}) for text in texts]
    return load.Target(url, "topics", bodies, lambda n, answer: same(answer, expected[n]))


def body(row):
    return json.dumps({"instances": [row]}).encode()


def same(answer, expected):
    (row,) = answer["predictions"]
    near = abs(row["score"] - expected["score"][0]) < SCORE_TOLERANCE
    return near and all(row[name] == v[0] for name, v in expected.items() if name != "score")


class InProcess(mm.Server):
    """A server in a thread of this process, which is no measure but starts sooner."""

    def __init__(self, paths, **options):
        super().__init__(paths, port=0, grpc_port=None, **options)

    def megabytes(self):
        return None


class Process:
    """`mmkeras serve` in a process of its own, while it is entered."""

    def __init__(self, paths, batch_size=64):
        self._command = [sys.executable, "-m", "mmkeras", "serve", *map(str, paths)]
        self._command += ["--port", "0", "--grpc-port", "0", "--batch-size", str(batch_size)]

    def __enter__(self):
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        found = re.search(r"http://[^/]+", self._process.stdout.readline())
        if found is None:
            sys.exit("mmkeras serve did not start")
        self.url = found[0]
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.communicate()

    def megabytes(self):
        """Of memory that it has."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024


def against_python(task, exported, rounds):
    """One picture through the served graph, and token by token from Python."""
    raw = {"image_bytes": tf.constant(mm.world(1, seed=1, split="valid")["image"])}
    decoder = task.get_layer("caption")

    @tf.function(autograph=False)
    def begin():
        context = task.context(task.preprocessor.tensors(raw))["caption"]
        return decoder.initial_state(**context, max_length=decoder.max_length)

    @tf.function(autograph=False)
    def step(ids, state, index):
        logits, state = decoder.step(ids, state, index)
        return tf.argmax(logits, axis=-1, output_type=tf.int32), state

    def stepped():
        state, ids, said = begin(), tf.constant([decoder.start_id]), []
        for index in range(decoder.max_length - 1):
            ids, state = step(ids, state, tf.constant(index))
            if ids.numpy()[0] == decoder.end_id:
                break
            said.append(ids.numpy()[0])
        return spelled(said)

    def whole():
        tensors = task.preprocessor.tensors(raw)
        ids, said = np.zeros([1, decoder.max_length], np.int32), []
        ids[0, 0] = decoder.start_id
        for index in range(decoder.max_length - 1):
            logits = task.predict_on_batch({**tensors, "caption_input": ids})["caption"]
            following = logits[0, index].argmax()
            if following == decoder.end_id:
                break
            said.append(following)
            ids[0, index + 1] = following
        return spelled(said)

    def spelled(ids):
        field = task.preprocessor.targets["caption"]
        return field.decode(tf.constant([ids], tf.int32)).numpy()[0].decode()

    def served():
        return exported.run(raw)["caption"][0].decode()

    said = {run.__name__: run() for run in (served, stepped, whole)}
    if len(set(said.values())) > 1:
        sys.exit(f"All ways should give one caption. Received: {said}")
    runs = {run.__name__: measure.timed(run) for run in (served, stepped, whole)}
    times = measure.in_turns(runs, rounds)
    return {
        **{f"{name}_s": measure.seconds(times, name) for name in runs},
        "ratio_stepped": measure.ratio(times, "served", "stepped"),
        "ratio_whole": measure.ratio(times, "served", "whole"),
    }


if __name__ == "__main__":
    main()
