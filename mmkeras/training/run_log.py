"""A training that can be seen: a line while it goes on, and a directory that tells of it."""

import sys
from pathlib import Path

import keras

from mmkeras.training import fitting
from mmkeras.training.board import Board
from mmkeras.training.identity import identify
from mmkeras.training.progress import Progress
from mmkeras.training.runs import RunFiles
from mmkeras.training.waiting import Waiting

POINTS = 100  # of an epoch, in TensorBoard


class RunLog(keras.callbacks.Callback):
    """Tells of a training: a line of progress, TensorBoard, and a directory of the run.

    The line stands in the place of Keras's bar, unless `verbose=0`: loss and metrics, examples a
    second, which share of the time steps waited for data, memory of the process, time left. In a
    terminal it is renewed twice a second, elsewhere it is a line a minute and one an epoch.

    The directory holds `run.json` (model, command, versions, machine, commit), `config.json`
    (model, compilation and data, as `Resume` compares them), `uncommitted.diff`, `history.csv` with
    a line an epoch, and event files for `tensorboard --logdir`. A `report.html` there is found too.
    `mmkeras runs` lists and compares such directories. It may be that of `Resume`; a training that
    goes on continues its history.

    Args:
        directory: such as `"runs/captions"`; its name is that of the run.
        samples: records of the model's inputs, a dict of short lists, that are answered after each
            epoch and shown in TensorBoard as texts and pictures; or None.

    Raises:
        ValueError: `directory` cannot be written to.

    Example:

    ```python
    import mmkeras as mm

    log = mm.RunLog("runs/captions", samples={"image": valid["image"][:8]})
    model.fit(data, validation_data=check, epochs=20, callbacks=[log])
    ```
    """

    def __init__(self, directory, samples=None):
        super().__init__()
        self.directory = directory
        self.samples = samples
        # An object of its own, so that `Resume` does not put the times of another process back.
        self._run = _Run(directory)

    def on_train_begin(self, logs=None):
        # Of several workers the first tells of all.
        self._run.tells = self.model.distribute_strategy.extended.should_save_summary
        found = next(fitting.running(sys._getframe()), {})
        for callback in getattr(found.get("callbacks"), "callbacks", []):
            if isinstance(callback, keras.callbacks.ProgbarLogger):
                callback.verbose = 0
        if self._run.tells:
            self._run.begin(self.model, self.params, found)
        if self._run.tells and self.samples:
            self._run.show_pictures(self.model.preprocessor, self.samples)

    def on_epoch_begin(self, epoch, logs=None):
        if self._run.tells:
            self._run.begin_epoch(epoch)

    def on_train_batch_end(self, batch, logs=None):
        if self._run.tells:
            self._run.end_step(batch, logs or {})

    def on_epoch_end(self, epoch, logs=None):
        if self._run.tells:
            self._run.end_epoch(logs or {})
        if self._run.tells and self.samples:
            self._run.show_answers(self.model.infer(self.samples))

    def on_train_end(self, logs=None):
        if self._run.tells:
            self._run.end()


class _Run:
    """What `RunLog` keeps while a training goes on."""

    def __init__(self, directory):
        self.files = RunFiles(directory)
        self.tells = True

    def begin(self, model, params, found):
        data, validation = found.get("x"), found.get("validation_data")
        config = {"epochs": params["epochs"], "steps": params["steps"]}
        examples = None
        if hasattr(data, "identity"):
            config |= identify(model, data, validation)
            examples = config["data.examples"]
        self.files.begin(model, config)
        self.board = Board(Path(self.files.directory) / "tensorboard")
        waited = Waiting(found["epoch_iterator"]).waited if found else lambda: (0.0, 0)
        self.progress = Progress(
            params["epochs"], params["steps"], examples, waited, shown=bool(params["verbose"])
        )

    def begin_epoch(self, epoch):
        self.files.keep(epoch)
        self.progress.begin_epoch(epoch)

    def end_step(self, batch, logs):
        self.progress.end_step(batch, logs)
        steps = self.progress.steps or 0
        if steps > POINTS and batch % (steps // POINTS) == 0:
            values = {f"step/{name}": value for name, value in logs.items()}
            self.board.numbers(values, self.progress.epoch * steps + batch)

    def end_epoch(self, logs):
        values = {name: float(value) for name, value in logs.items()}
        speeds = self.progress.speeds()
        self.progress.end_epoch(values)
        epoch = self.progress.epoch + 1
        self.files.add({"epoch": epoch, **values, **{n: round(v, 4) for n, v in speeds.items()}})
        self.board.numbers(values | {f"speed/{n}": v for n, v in speeds.items()}, epoch)
        self.board.flush()

    def show_pictures(self, preprocessor, samples):
        """The inputs that are pictures; they are the same in each epoch."""
        raws = preprocessor.load(samples)
        for name, field in preprocessor.inputs.items():
            if field.per_example and not field.masked:
                pictures = field(raws[name])
                if pictures.dtype == "uint8":
                    self.board.pictures(f"samples/{name}", pictures, 0)

    def show_answers(self, answers):
        rows = [[_cell(each) for each in row] for row in zip(*answers.values(), strict=True)]
        table = [list(answers), ["---"] * len(answers), *rows]
        text = "\n".join(f"| {' | '.join(row)} |" for row in table)
        self.board.text("samples", text, self.progress.epoch + 1)
        self.board.flush()

    def end(self):
        self.files.end()
        self.board.close()


def _cell(value):
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", "\\|").split())
