"""What each option of a training costs and gives: time of a step, memory, weights that learn.

    python benchmarks/options.py --table

The captioner of this house (a small convolutional network, a Transformer of two blocks) on batches
of 32 pictures that are in memory; each option in a process of its own, in turns. Memory is the peak
of the process over what it takes before training; `accumulation` goes four batches of 8 a step.
"""

import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import measure

BATCH, LENGTH = 32, 24
OPTIONS = {
    "plain": "AdamW, float32",
    "bfloat16": 'keras.mixed_precision.set_global_policy("mixed_bfloat16")',
    "clipping": "AdamW(clipnorm=1.0)",
    "averaging": "AdamW(use_ema=True)",
    "accumulation": "AdamW(gradient_accumulation_steps=4)",
    "layerwise": "LayerwiseAdamW(layerwise_rates(model))",
    "frozen": 'freeze(model, "conv.*")',
    "lora": "enable_lora(model, 4)",
    "xla": "jit_compile=True",
}


def main():
    options = measure.parser(__doc__, rounds=3)
    options.add_argument("--steps", type=int, default=20, help="measured in each process")
    options.add_argument("--options", nargs="+", choices=OPTIONS, default=list(OPTIONS))
    options.add_argument("--table", action="store_true", help="print it for people instead")
    options.add_argument("--one", choices=OPTIONS, help="measure this one in this process")
    args = options.parse_args()
    size, steps = ("tiny", 2) if args.quick else ("small", args.steps)
    if args.one:
        print(json.dumps(train(args.one, size, steps)))
        return
    names = ["plain"] if args.quick else list(dict.fromkeys(["plain", *args.options]))
    machine = measure.machine()
    found = {name: [] for name in names}
    for _ in range(args.rounds):
        for name in names:
            found[name].append(alone(name, args))
    rows = {name: summary(each, found["plain"]) for name, each in found.items()}
    if args.table:
        print_table(rows)
    else:
        measure.report("options", {"options": rows, "batch": BATCH, "size": size}, machine)


def alone(name, args):
    command = [sys.executable, __file__, "--one", name, "--steps", str(args.steps)]
    command += ["--quick"] * args.quick
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def train(name, size, steps):
    """Seconds of a step, megabytes more than before, weights that learn."""
    import keras  # which the process that only compares need not load
    import numpy as np

    import mmkeras as mm

    if name == "bfloat16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    words = mm.train_tokenizer([" ".join(f"w{i}" for i in range(2000))])
    model = mm.image_captioning(words, 96, decoder="transformer", size=size, sequence_length=LENGTH)
    more = {
        "clipping": {"clipnorm": 1.0},
        "averaging": {"use_ema": True},
        "accumulation": {"gradient_accumulation_steps": 4},
    }
    make = keras.optimizers.AdamW
    if name == "layerwise":
        make, more[name] = mm.LayerwiseAdamW, {"rates": mm.layerwise_rates(model)}
    elif name == "frozen":
        mm.freeze(model, "conv.*")
    elif name == "lora":
        mm.enable_lora(model, 4)
    mm.compile_task(model, make(learning_rate=1e-3, **more.get(name, {})))
    if name == "xla":
        model.jit_compile = True
    parts = 4 if name == "accumulation" else 1
    rows = BATCH // parts
    tokens = random.integers(4, words.vocabulary_size, (rows, LENGTH + 2)).astype("int32")
    x = {
        "image": random.integers(0, 256, (rows, 96, 96, 3), "uint8"),
        "caption_input": tokens[:, :-1],
    }
    y, weights = {"caption": tokens[:, 1:]}, {"caption": np.ones((rows, LENGTH + 1), "float32")}

    def step():
        for _ in range(parts):
            model.train_on_batch(x, y, weights)

    before = _peak()
    step()
    took = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        took.append(time.perf_counter() - start)
    learn = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    megabytes = (_peak() - before) / 1e6
    return {"step_s": statistics.median(took), "megabytes": megabytes, "learn": learn}


def _peak():
    # Not `ru_maxrss`, which begins at the size of the process that started this one.
    kilobytes = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
    return int(kilobytes) * 1024


def summary(turns, plain):
    """Medians over the turns; ratios to the plain training of the same turn."""
    pairs = list(zip(turns, plain, strict=True))
    return {
        "step_s": measure.rounded(statistics.median(turn["step_s"] for turn in turns)),
        "time": measure.rounded(statistics.median(a["step_s"] / b["step_s"] for a, b in pairs)),
        "memory": measure.rounded(
            statistics.median(a["megabytes"] / b["megabytes"] for a, b in pairs)
        ),
        "learn": turns[0]["learn"],
    }


def print_table(rows):
    print("| option | how | time of a step | memory | weights that learn |")
    print("| --- | --- | --- | --- | --- |")
    for name, row in rows.items():
        print(
            f"| {name} | `{OPTIONS[name]}` | {row['time']:.2f} | {row['memory']:.2f} "
            f"| {row['learn']:,} |"
        )


if __name__ == "__main__":
    main()
