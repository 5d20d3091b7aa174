"""Trainings that are killed, go on, are killed again, and in the end are compared.

    python benchmarks/kill.py --kills 50
    python benchmarks/kill.py --kills 10 --tasks lstm --seed 3

Each training is a process of its own, `tests/training/kill.py`, and is killed between nowhere and
five times: on a batch of training or validation, first and last ones among them, at a call to the
disk of a checkpoint, while its variables are restored, or whenever a clock says so; by SIGKILL,
SIGINT, SIGTERM, or SIGINT twice. `different` counts the trainings that did not end with the same
weights, bit for bit, and the same history as one that nobody killed.
"""

import collections
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure

PROGRAM = Path(__file__).parents[1] / "tests" / "training" / "kill.py"
# Most of the kills are of the quickest to start.
TASKS = {"dense": 6, "lstm": 1, "transformer": 1, "ctc": 1, "vqa": 1}
# What `kill.py` trains: epochs, steps of one, steps of its validation.
EPOCHS, STEPS, CHECKS = 3, 5, 2
SIGNALS = ["SIGKILL"] * 4 + ["SIGINT", "SIGTERM"]
# The exit codes of a run that was killed, stopped and saved, or stopped at once.
ENDS = {-9: "killed", 75: "saved", 130: "left_at_once"}


def main():
    options = measure.parser(__doc__, rounds=1)
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--tasks", nargs="+", default=[*TASKS], choices=[*TASKS])
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args()
    machine = measure.machine()
    drawn = random.Random(args.seed)
    tasks = ["dense"] if args.quick else args.tasks
    counts = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        whole = {task: uninterrupted(task, f"{folder}/{task}") for task in tasks}
        while counts["kills"] < (1 if args.quick else args.kills):
            (task,) = drawn.choices(tasks, [TASKS[name] for name in tasks])
            expected, seconds = whole[task]
            directory = f"{folder}/run{counts['runs']}"
            result = until_done(task, directory, seconds, drawn, counts)
            counts["runs"] += 1
            counts["different"] += result != expected
    figures = {"kills": 0, "different": 0, "runs": 0, **counts, "seed": args.seed}
    measure.report("kill", {**figures, "trained": tasks}, machine)


def uninterrupted(task, directory):
    """What a training ends with that nobody stops, and the seconds it takes."""
    start = time.perf_counter()
    code, result = run({"task": task, "directory": directory})
    if code:
        sys.exit(f"{PROGRAM.name} ended with {code} though nobody killed it")
    return result, time.perf_counter() - start


def until_done(task, directory, seconds, drawn, counts):
    """What a training ends with that is stopped up to five times."""
    for _ in range(drawn.randint(1, 5)):
        job = {"task": task, "directory": directory, "every_steps": drawn.randint(1, 4)}
        job["background"] = drawn.random() < 0.5
        place = drawn.choice(["train", "train", "test", "disk", "restore", "clock"])
        at = {
            "train": [
                drawn.randrange(EPOCHS),
                drawn.choice([0, STEPS - 1, drawn.randrange(STEPS)]),
            ],
            "test": [drawn.randrange(EPOCHS), drawn.randrange(CHECKS)],
            "disk": drawn.randrange(600),
            "restore": drawn.randrange(30),
            "clock": drawn.uniform(0, seconds),
        }[place]
        name = drawn.choice(SIGNALS)
        if place == "clock":
            code, result = run(job, at)
        else:
            twice = name == "SIGINT" and drawn.random() < 0.3
            code, result = run({**job, "kill": [place, at, name, 2 if twice else 1]})
        if code == 0:
            counts["got_away"] += 1
            return result
        if code not in ENDS:
            sys.exit(f"{PROGRAM.name} ended with {code} after {job}")
        counts["kills"] += 1
        counts[ENDS[code]] += 1
        counts[f"in_{place}"] += 1
    code, result = run({"task": task, "directory": directory})
    return result if code == 0 else code


def run(job, seconds=None):
    """The exit code of a training and what it ended with; killed after so many seconds."""
    process = subprocess.Popen(
        [sys.executable, PROGRAM, json.dumps(job)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        said, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        said, errors = process.communicate()
    if process.returncode == 1:
        sys.stderr.write(errors.decode())
    return process.returncode, json.loads(said) if process.returncode == 0 else None


if __name__ == "__main__":
    main()
