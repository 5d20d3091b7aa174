"""Trains a small task with `mm.Resume`, and kills itself where it is told to.

    python kill.py '{"directory": "run", "task": "dense", "kill": ["train", [1, 0]]}'

prints one line of JSON: what the run ended with. Without an argument it reads such lines from
standard input, and trains for each in a forked process, so that TensorFlow is imported once; it
prints `[exit code, line]` for each.
"""

import functools
import hashlib
import io
import itertools
import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import numpy as np
import tensorflow as tf

import mmkeras as mm
from mmkeras.training import checkpoint, snapshot

LETTERS = "abcd"
EXAMPLES, BATCH, EPOCHS = 18, 4, 3


def dense():
    """Layers that have each kind of state, and nothing that takes long to trace."""
    words = mm.train_tokenizer([" ".join(LETTERS)], "word")
    vector = keras.Input((4,), name="vector")
    ids = keras.Input((4,), dtype="int32", name="caption_input")
    x = keras.layers.Dropout(0.3)(keras.layers.Dense(8, activation="relu")(vector))
    x = keras.layers.RepeatVector(4)(keras.layers.BatchNormalization()(x))
    x = x + keras.layers.Embedding(words.vocabulary_size, 8)(ids)
    logits = keras.layers.Dense(words.vocabulary_size, name="caption")(x)
    fields = mm.Preprocessor({"vector": mm.Features((4,))}, {"caption": mm.Text(words, 3)})
    inputs = {"vector": vector, "caption_input": ids}
    task = mm.Task(inputs, {"caption": logits}, preprocessor=fields)
    task.compile(
        keras.optimizers.Adam(1e-2, use_ema=True, gradient_accumulation_steps=2),
        {"caption": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
        weighted_metrics={"caption": [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]},
    )
    random = np.random.default_rng(0)
    return task, {
        "vector": random.normal(size=(EXAMPLES, 4)).astype("float32"),
        "caption": [" ".join(random.choice([*LETTERS], 3)) for _ in range(EXAMPLES)],
    }


def captioner(decoder):
    records = mm.world(EXAMPLES, size=32)
    records = {name: list(records[name]) for name in ("image", "caption")}
    texts = [text for several in records["caption"] for text in several]
    words = mm.train_tokenizer(texts, "word")
    records["caption"] = [several[0] for several in records["caption"]]
    sizes = {"size": "tiny", "sequence_length": 6, "dropout": 0.1}
    return mm.image_captioning(words, 32, decoder=decoder, **sizes), records


def recognizer():
    import tones

    sizes = {"size": "tiny", "sequence_length": 8, "dropout": 0.1}
    parts = {"audio": tones.field(), "encoder": tones.encoder()}
    task = mm.speech_to_text(tones.LETTERS, decoder="ctc", **parts, **sizes)
    sounds = [tones.wav(0.3 + 0.02 * (row % 5), seed=row) for row in range(EXAMPLES)]
    texts = [tones.TEXTS[row % len(tones.TEXTS)] for row in range(EXAMPLES)]
    return task, {"audio": sounds, "transcript": texts}


def answerer():
    questions = ["what is it", "is it red", "where is it"]
    words = mm.train_tokenizer(questions, "word")
    task = mm.visual_question_answering(words, ["yes", "no"], image=32, size="tiny", dropout=0.1)
    images = list(mm.world(EXAMPLES, size=32)["image"])
    return task, {
        "image": [None if row % 5 == 4 else image for row, image in enumerate(images)],
        "question": [questions[row % 3] for row in range(EXAMPLES)],
        "answer": [("yes", "no")[row % 2] for row in range(EXAMPLES)],
    }


TASKS = {
    "dense": dense,
    "lstm": lambda: captioner("lstm"),
    "transformer": lambda: captioner("transformer"),
    "ctc": recognizer,
    "vqa": answerer,
}


def datasets(task, records, examples=EXAMPLES, checks=7):
    """Data to train and to validate on, both shuffled, with all that the task can be given."""
    options = {"shuffle": True, "seed": 1}
    if "audio" in records:
        options["batch_seconds"] = 1.5
    if "image" in records:
        options["augment"] = {"image": mm.image_augmentation()}
    parts = [{name: column[:n] for name, column in records.items()} for n in (examples, checks)]
    return [mm.dataset(part, task.preprocessor, BATCH, **options) for part in parts]


def prepared(task, devices=1, **options):
    """A model that is compiled for `fit`, and its data."""
    if devices > 1:  # virtual ones
        cpu = tf.config.list_physical_devices("CPU")[0]
        each = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(cpu, [each] * devices)
    names = [f"CPU:{number}" for number in range(devices)]
    strategy = mm.strategy(names if devices > 1 else "one")
    tf.config.experimental.enable_op_determinism()
    with strategy.scope():
        model, records = TASKS[task]()
    if task != "dense":
        # The schedule of the builders has no rate that a plateau could reduce.
        mm.compile_task(model, keras.optimizers.AdamW(1e-3, clipnorm=1.0))
    return model, *datasets(model, records, **options)


def fit(model, data, validation, directory, epochs=EPOCHS, callbacks=(), **options):
    """What a run ends with: its history, and a digest of all that training has changed."""
    watchers = [
        mm.Resume(directory, **options),
        keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau(patience=0, min_delta=0.5),
    ]
    options = {"epochs": epochs, "callbacks": [*watchers, *callbacks], "verbose": 0}
    history = model.fit(data, validation_data=validation, **options).history
    return {"history": history, "weights": digest(model)}


def train(directory, task="dense", kill=None, devices=1, **options):
    """A run as a script has it, killed or not."""
    # Of the weights, if nothing is restored; a run that goes on must not need it.
    keras.utils.set_random_seed(len(list(Path(directory).glob("checkpoint-*"))))
    killer = [Killer(*kill)] if kill else []
    return fit(*prepared(task, devices), directory, callbacks=killer, **options)


def train_twice(directory, task, at):
    """A run, and what it ends with once more from its checkpoint of that number."""
    model, data, validation = prepared(task, examples=6, checks=3)
    model.run_eagerly = True  # Tracing would take longer.
    run = functools.partial(fit, model, data, validation, directory, epochs=1)
    whole = run(every_steps=1, keep=99)
    for path in Path(directory).glob("checkpoint-*"):
        if int(path.name[-6:]) > at:
            shutil.rmtree(path)
    forget(model)
    return whole, run()


def forget(model):
    """Spoils all that training has changed, but for what the model was compiled with."""
    for group in snapshot.variables(model, midway=True).values():
        for variable in group:
            if not variable.path.endswith("learning_rate"):
                variable.assign(keras.ops.full_like(variable, 7))
    model.optimizer.learning_rate = 1e-3


def digest(model):
    made_of = hashlib.sha256()
    for group in snapshot.variables(model, midway=False).values():
        for variable in group:
            made_of.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return made_of.hexdigest()


class Killer(keras.callbacks.Callback):
    """Sends this process a signal.

    Args:
        place: `"train"` or `"test"`, before a batch of training or validation; `"disk"`, before a
            call that writes a checkpoint; `"restore"`, before a variable is restored.
        at: epoch and batch, from 0; of the others how many are let go before.
        name: of the signal.
        times: how often it is sent.
    """

    def __init__(self, place, at, name="SIGKILL", times=1):
        super().__init__()
        self.place, self.at, self.times = place, at, times
        self.signal = signal.Signals[name]
        self.counts = itertools.count()  # No plain number, which `Resume` would keep.
        if place == "disk":
            watch_disk(lambda call: self.pass_by("disk", next(self.counts)))
        if place == "restore":
            get = snapshot.get
            snapshot.get = lambda *args: self.pass_by(place, next(self.counts)) or get(*args)

    def pass_by(self, place, at):
        if (place, at) == (self.place, self.at):
            for _ in range(self.times):
                os.kill(os.getpid(), self.signal)

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs = itertools.repeat(epoch)

    def on_train_batch_begin(self, batch, logs=None):
        self.pass_by("train", [next(self.epochs), batch])

    def on_test_batch_begin(self, batch, logs=None):
        self.pass_by("test", [next(self.epochs), batch])


def watch_disk(notice):
    """Has `notice(name)` called before whatever `mmkeras.training.checkpoint` does to a disk."""

    class Watched(io.BufferedWriter):
        def write(self, content):
            notice("write")
            return super().write(content)

    def open_watched(path, mode):
        return Watched(io.FileIO(path, mode)) if mode == "wb" else open(path, mode)

    def watched(name, function):
        def call(*args, **kwargs):
            notice(name)
            return function(*args, **kwargs)

        return call

    class System:
        def __getattr__(self, name):
            found = getattr(os, name)
            return watched(name, found) if name in ("mkdir", "fsync", "rename") else found

    class Tools:
        rmtree = staticmethod(watched("rmtree", checkpoint.shutil.rmtree))

    checkpoint.open = open_watched
    checkpoint.os, checkpoint.shutil = System(), Tools()


def write_checkpoints(directory, count, die_at=None):
    """Writes checkpoints that hold their own number; is killed at that call; counts the calls."""
    calls = []

    def notice(name):
        calls.append(name)
        if len(calls) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    opened = checkpoint.Checkpoints(directory)
    watch_disk(notice)
    for number in range(1, count + 1):
        opened.write({"number": np.full(1000, number)}, {"number": number})
    return calls


JOBS = {"train": train, "train_twice": train_twice, "write": write_checkpoints}


def serve():
    """Does what each line of standard input says in a process of its own."""
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(writing, 1)
            work(json.loads(line))
        os.close(writing)
        with open(reading) as pipe:
            said = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([code, said]), flush=True)


def work(arguments):
    """Ends the process."""
    # Which is ignored in what a shell has begun in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 1
    try:
        job = JOBS[arguments.pop("job", "train")]
        print(json.dumps(job(**arguments)), flush=True)
        code = 0
    except SystemExit as leaving:
        code = leaving.code
    except Exception:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        work(json.loads(sys.argv[1]))
    else:
        serve()
