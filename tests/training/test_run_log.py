"""What a training tells of itself while it goes on, and afterwards."""

import csv
import json
import os
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm
from mmkeras.cli import main
from mmkeras.training import progress, runs, waiting

RECORDS = {
    "grid": np.linspace(-1, 1, 40, dtype="float32").reshape(20, 1, 2),
    "label": ["a", "b"] * 10,
}


def classifier(field, encoder):
    name = "grid" if isinstance(field, mm.Features) else "image"
    return mm.assemble(
        {name: (field, encoder)}, {"label": (mm.Labels(["a", "b"]), mm.Classify(2, name="label"))}
    )


@pytest.fixture(scope="module")
def task():
    return classifier(mm.Features((1, 2)), lambda grid: (keras.layers.Dense(2)(grid), None))


@pytest.fixture
def fit(task, tmp_path):
    def run(name="run", epochs=2, callbacks=(), verbose=1, samples=None, x=None):
        data = x or mm.dataset(RECORDS, task.preprocessor, 4)
        callbacks = [*callbacks, mm.RunLog(tmp_path / name, samples)]
        return task.fit(
            data, validation_data=data, epochs=epochs, callbacks=callbacks, verbose=verbose
        )

    return run


def test_an_epoch_is_a_line(fit, capsys):
    history = fit(epochs=1).history
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"epoch 1/1: loss {history['loss'][0]:.4g}, accuracy ")
    for part in (" examples/s, ", "% waiting for data, ", " GB"):
        assert part in line
    fit(epochs=1, verbose=0)
    assert capsys.readouterr().out == ""


def test_a_line_says_where_a_training_is(monkeypatch, capsys):
    now = iter([0, 10, 90, 90, 100, 100, 170, 170])
    waited = iter([(0, 0), (9, 9), (10, 9), (10, 9), (24, 9)])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(now))
    monkeypatch.setattr(progress, "memory", lambda: 2.5e9)
    shown = progress.Progress(3, 20, 100, lambda: next(waited), True)
    shown.begin_epoch(0)
    shown.end_step(0, {})
    shown.end_step(8, {"loss": 1.23456})
    shown.end_epoch({"loss": 1.0})
    shown.begin_epoch(1)
    shown.end_step(9, {"loss": 0.5})
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1/3, step 9/20: loss 1.235 | 0.5 examples/s, 10% waiting for data, 2.5 GB, "
        "0:08:30 left",
        "epoch 1/3: loss 1 | 0:01:40, 0.5 examples/s, 11% waiting for data, 2.5 GB",
        "epoch 2/3, step 10/20: loss 0.5 | 0.07143 examples/s, 2.5 GB, 0:13:20 left",
    ]


def test_in_a_terminal_the_line_is_renewed(monkeypatch, capsys):
    monkeypatch.setattr(progress.sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr(progress, "memory", lambda: 1e9)
    now = iter(range(100))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(now))
    shown = progress.Progress(1, 2, None, lambda: (0.0, 0), True)
    shown.begin_epoch(0)
    for step in range(2):
        shown.end_step(step, {"loss": 1 / 3})
    shown.end_epoch({"loss": 0.25})
    assert capsys.readouterr().out == (
        "\repoch 1/1, step 1/2: loss 0.3"
        "\repoch 1/1, step 2/2: loss 0.3"
        "\repoch 1/1: loss 0.25 | 0:00:05, 1.0 GB\n"
    )


def test_the_directory_tells_of_the_run(fit, task, tmp_path):
    history = fit("first").history
    about = json.loads((tmp_path / "first" / "run.json").read_text())
    assert about["name"] == "first"
    assert about["parameters"] == task.count_params()
    assert about["environment"]["tensorflow"] == tf.__version__
    assert about["ended"] >= about["started"]
    config = json.loads((tmp_path / "first" / "config.json").read_text())
    assert config["epochs"] == 2
    assert config["data.batch_size"] == 4
    assert config["compile.optimizer.class_name"] == "AdamW"
    with open(tmp_path / "first" / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for name, values in history.items():
        assert [float(row[name]) for row in rows] == values
    assert all(0 <= float(row["waiting"]) <= 1 for row in rows)
    assert all(float(row["examples_per_second"]) > 0 for row in rows)


def events(path):
    files = [str(file) for file in sorted(path.glob("tensorboard/events*"))]
    for record in tf.data.TFRecordDataset(files):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            kind = value.metadata.plugin_data.plugin_name
            yield kind, value.tag, event.step, tf.make_ndarray(value.tensor)


def test_tensorboard_is_told(fit, tmp_path):
    history = fit(samples={"grid": RECORDS["grid"][:2]}).history
    found = list(events(tmp_path / "run"))
    losses = [value for kind, tag, _, value in found if (kind, tag) == ("scalars", "loss")]
    np.testing.assert_allclose(losses, history["loss"], rtol=1e-6)
    texts = [(step, text) for kind, tag, step, text in found if kind == "text"]
    assert [step for step, _ in texts] == [1, 2]
    lines = texts[1][1][0].decode().splitlines()
    assert lines[0].startswith("| label")
    assert len(lines) == 4


def test_pictures_of_samples_are_shown(tmp_path):
    def flat(image):
        return keras.layers.Reshape((1, 192))(keras.layers.Rescaling(1 / 255)(image)), None

    pictures = np.arange(2 * 192, dtype="uint8").reshape(2, 8, 8, 3)
    samples = {"image": [tf.io.encode_png(picture).numpy() for picture in pictures]}
    data = tf.data.Dataset.from_tensors(({"image": pictures}, {"label": tf.eye(2)}))
    model = classifier(mm.Image(8), flat)
    model.fit(data, callbacks=[mm.RunLog(tmp_path, samples)], verbose=0)
    found = [event for event in events(tmp_path) if event[0] == "images"]
    ((_, tag, _, (width, height, *files)),) = found
    assert (tag, width, height) == ("samples/image", b"8", b"8")
    np.testing.assert_array_equal([tf.io.decode_png(file) for file in files], pictures)


def test_what_steps_wait_is_measured(monkeypatch):
    class Iterator:
        _distributed_dataset = tf.data.Dataset.range(5).map(lambda x: ({"x": x}, -x))

    times = iter([tf.constant(1.0, tf.float64), tf.constant(3.0, tf.float64)])
    with monkeypatch.context() as patched:
        patched.setattr(waiting.tf, "timestamp", lambda: next(times))
        clock = waiting.Waiting(Iterator)
    assert [(int(x["x"]), int(y)) for x, y in Iterator._distributed_dataset] == [
        (i, -i) for i in range(5)
    ]
    assert clock.waited() == (10, 5)


def test_any_data_will_do(fit, task, tmp_path):
    (batch,) = mm.dataset(RECORDS, task.preprocessor, 20)
    fit(x=tf.data.Dataset.from_tensors(batch), epochs=1)
    (row,) = runs.read_history(tmp_path / "run")
    assert "loss" in row
    assert "examples_per_second" not in row


def test_a_training_that_goes_on_continues_its_history(fit, tmp_path):
    fit(epochs=1, callbacks=[mm.Resume(tmp_path / "run")])
    first = runs.read_history(tmp_path / "run")
    fit(epochs=3, callbacks=[mm.Resume(tmp_path / "run")])
    second = runs.read_history(tmp_path / "run")
    assert [row["epoch"] for row in second] == [1, 2, 3]
    assert second[:1] == first
    fit(epochs=1)
    assert [row["epoch"] for row in runs.read_history(tmp_path / "run")] == [1]


def test_runs_are_read(fit, tmp_path):
    fit("a", epochs=1)
    fit("b", epochs=2)
    with pytest.raises(RuntimeError):
        fit("c", callbacks=[Fail()])
    about = json.loads((tmp_path / "c" / "run.json").read_text())
    (tmp_path / "b" / "report.html").write_text("")
    found = mm.read_runs(tmp_path)
    assert [(run["name"], run["status"]) for run in found] == [
        ("a", "complete"),
        ("b", "complete"),
        ("c", "running"),
    ]
    assert [len(run["history"]) for run in found] == [1, 2, 0]
    assert found[1]["report"] == str(tmp_path / "b" / "report.html")
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    (tmp_path / "c" / "run.json").write_text(json.dumps(about | {"process": gone}))
    assert mm.read_runs(tmp_path / "c")[0]["status"] == "stopped"


def test_runs_are_listed_and_compared(fit, task, tmp_path, capsys):
    fit("a", epochs=1)
    fit("b", epochs=1, x=mm.dataset(RECORDS, task.preprocessor, 5))
    capsys.readouterr()
    assert main(["runs", str(tmp_path)]) == 0
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split()[:5] == ["run", "status", "started", "epochs", "accuracy"]
    assert [*first.split()[:2], first.split()[4]] == ["a", "complete", "1/1"]
    assert second.startswith("b  ")
    assert main(["runs", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[4:]]
    assert rows[0] == ["differs", "a", "b"]
    assert ["data.batch_size", "4", "5"] in rows
    assert main(["runs", str(tmp_path / "nothing")]) == 1


class Fail(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        raise RuntimeError


def test_of_several_workers_one_tells(tmp_path, capsys):
    extended = types.SimpleNamespace(should_save_summary=False)
    log = mm.RunLog(tmp_path / "run", {"grid": RECORDS["grid"][:1]})
    log.set_model(
        types.SimpleNamespace(distribute_strategy=types.SimpleNamespace(extended=extended))
    )
    log.on_train_begin()
    log.on_epoch_begin(0)
    log.on_train_batch_end(0, {"loss": 1.0})
    log.on_epoch_end(0, {"loss": 1.0})
    log.on_train_end()
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "run").exists()


def test_damaged_runs_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"`path` should be a directory of runs.*nothing"):
        mm.read_runs(tmp_path / "nothing")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run.json").write_text("{")
    with pytest.raises(ValueError, match="a' should be a run"):
        mm.read_runs(tmp_path)


def test_a_directory_that_cannot_be_written_is_told(fit, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="`directory` should be one that can be written to"):
        fit("file/run")
