"""Runs that are stopped and go on end as one that never was."""

import errno
import functools
import itertools
import json
import os
import signal
import types

import keras
import kill
import numpy as np
import pytest

import mmkeras as mm
from mmkeras.training import checkpoint, fitting, resume
from mmkeras.training.identity import GROUPS

STEPS = 5  # in an epoch of `kill.dense`


@pytest.fixture(scope="module")
def dense():
    """A model that is traced once for all tests, and its data."""
    keras.utils.set_random_seed(0)
    model, records = kill.dense()
    model.optimizer.build(model.trainable_variables)
    return model, records, kill.datasets(model, records)


@pytest.fixture
def fit(dense, tmp_path):
    """A function that trains with `Resume`, from the beginning if there is no checkpoint."""
    model, _, (data, valid) = dense
    first = [(each, each.numpy()) for each in (*model.variables, *model.optimizer.variables)]

    def run(
        directory="run",
        x=data,
        check=valid,
        callbacks=(),
        epochs=2,
        rate=1e-2,
        verbose=0,
        **options,
    ):
        is_new = not list(tmp_path.glob(f"{directory}/checkpoint-*"))
        kill.forget(model)
        for variable, value in first if is_new else []:
            variable.assign(value)
        model.optimizer.learning_rate = rate
        data.epoch = valid.epoch = 0 if is_new else 7
        callbacks = [mm.Resume(tmp_path / directory, **options), *callbacks]
        options = {"epochs": epochs, "callbacks": callbacks, "verbose": verbose}
        history = model.fit(x, validation_data=check, **options).history
        return {"history": history, "weights": kill.digest(model)}

    yield run
    for variable, value in first:
        variable.assign(value)


class Stop(keras.callbacks.Callback):
    """Raises an error, or a signal, in a batch."""

    def __init__(self, epoch, batch, number=None):
        super().__init__()
        self.at, self.number = (epoch, batch), number

    def on_train_batch_end(self, batch, logs=None):
        if (self.model.now, batch) == self.at:
            if self.number is None:
                raise KeyError("stop")
            signal.raise_signal(self.number)

    def on_epoch_begin(self, epoch, logs=None):
        self.model.now = epoch


def places(directory):
    states = [json.loads(path.read_text()) for path in sorted(directory.glob("*/state.json"))]
    return [(state["epoch"], state["step"]) for state in states]


def test_every_epoch_is_saved_at_its_end(fit, tmp_path):
    fit(keep=9)
    assert places(tmp_path / "run") == [(1, 0), (2, 0)]


def test_every_so_many_steps(fit, tmp_path):
    fit(keep=9, every_steps=3)
    assert places(tmp_path / "run") == [(0, 3), (1, 1), (1, 4), (2, 0)]


def test_every_so_many_minutes(fit, tmp_path, monkeypatch):
    seconds = itertools.count(step=25)
    clock = types.SimpleNamespace(monotonic=lambda: next(seconds))
    monkeypatch.setattr(resume, "time", clock)
    fit(keep=9, every_minutes=2)
    found = places(tmp_path / "run")
    assert 2 < len(found) < 2 * STEPS
    assert found[-1] == (2, 0)


def test_in_the_background_all_the_same(fit, tmp_path):
    whole = fit()
    with pytest.raises(KeyError):
        fit("other", background=True, every_steps=1, callbacks=[Stop(1, 2)])
    assert places(tmp_path / "other")[-1][0] == 1
    assert fit("other", background=True) == whole


def test_data_may_be_trained_and_validated_on(fit, dense):
    _, _, (data, _) = dense
    whole = fit("whole", check=data)
    with pytest.raises(KeyError):
        fit("run", check=data, callbacks=[Stop(1, 2)], every_steps=1)
    assert fit("run", check=data) == whole


def test_more_epochs_go_on_after_the_last(fit):
    whole = fit("whole")
    assert fit("run", epochs=1)["history"]["loss"] == whole["history"]["loss"][:1]
    assert fit("run") == whole
    assert fit("run", epochs=1) == whole


def test_it_says_where_it_goes_on(fit, capsys):
    fit(epochs=1, verbose=2)
    assert "run: " not in capsys.readouterr().out
    with pytest.raises(KeyError):
        fit(callbacks=[Stop(1, 2)], every_steps=2, verbose=2)
    assert "run: going on at epoch 2, step 0 of 5\n" in capsys.readouterr().out
    fit(verbose=2)
    assert "run: going on at epoch 2, step 2 of 5\n" in capsys.readouterr().out
    fit(verbose=2)
    assert "run: the training is complete\n" in capsys.readouterr().out


def test_the_next_fit_begins_at_its_own_beginning(fit, dense):
    fit()
    model, _, (data, _) = dense
    assert model.fit(data, epochs=1, verbose=0).epoch == [0]


def test_early_stopping_has_stopped_for_good(fit):
    def stopping():
        return keras.callbacks.EarlyStopping("val_loss", min_delta=9, restore_best_weights=True)

    whole = fit("whole", epochs=5, callbacks=[stopping()])
    assert len(whole["history"]["loss"]) == 2
    assert fit("whole", epochs=5, callbacks=[stopping()]) == whole
    with pytest.raises(KeyError):
        fit("run", epochs=5, callbacks=[stopping(), Stop(1, 2)], every_steps=1)
    assert fit("run", epochs=5, callbacks=[stopping()]) == whole


def test_a_callback_that_begins_an_epoch_anew_does_not_count_twice(fit):
    def fall():
        return keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)

    whole = fit("whole", callbacks=[fall()])
    with pytest.raises(KeyError):
        fit("run", callbacks=[fall(), Stop(1, 2)], every_steps=1)
    assert fit("run", callbacks=[fall()]) == whole


def test_a_callback_that_is_missing_is_named(fit):
    def stopping():
        return keras.callbacks.EarlyStopping("val_loss", patience=5)

    fit(epochs=1, callbacks=[stopping()])
    with pytest.raises(ValueError, match=r"callbacks\.EarlyStopping: in the checkpoint, nothing"):
        fit()
    assert len(fit(allow=["callbacks"])["history"]["loss"]) == 2


def test_other_data_is_refused_unless_allowed(fit, dense):
    model, records, _ = dense
    fit(epochs=1)
    other = functools.partial(mm.dataset, records, model.preprocessor, kill.BATCH, shuffle=True)
    with pytest.raises(ValueError, match=r"data\.seed: 1 in the checkpoint, 2 now\n.*\['data'\]"):
        fit(x=other(seed=2))
    assert len(fit(x=other(seed=2), allow=["data.seed"])["history"]["loss"]) == 2


def test_an_allowed_learning_rate_is_that_of_this_run(fit, dense):
    fit(epochs=1)
    name = "compile.optimizer.config.learning_rate"
    with pytest.raises(ValueError, match=rf"{name}: 0\.0099\d+ in the checkpoint, 0\.5 now"):
        fit(rate=0.5)
    fit(rate=0.5, allow=[name])
    assert float(dense[0].optimizer.learning_rate) == 0.5


def test_another_model_is_refused(fit, dense, tmp_path):
    fit(epochs=1)
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    other.compile("adam", "mse")
    vectors = mm.Preprocessor({"vector": mm.Features((4,))}, {})
    data = mm.dataset({"vector": dense[1]["vector"]}, vectors, 4)
    expected = (
        r"model: .*dense/kernel float32 \(4, 8\) in the checkpoint, .*kernel float32 \(4, 3\)"
    )
    with pytest.raises(ValueError, match=expected):
        other.fit(data, callbacks=[mm.Resume(tmp_path / "run", allow=GROUPS)])


def test_a_damaged_checkpoint_costs_only_what_came_after_the_one_before(fit, tmp_path):
    whole = fit("whole")
    with pytest.raises(KeyError):
        fit(callbacks=[Stop(1, 2)], every_steps=1)
    newest = sorted((tmp_path / "run").glob("checkpoint-*"))[-1]
    os.truncate(newest / "arrays.npz", 10)
    with pytest.warns(UserWarning, match=f"{newest.name}: the files should be as"):
        assert fit() == whole
    for path in (tmp_path / "run").glob("checkpoint-*"):
        (path / "manifest.json").unlink()
    with pytest.raises(ValueError, match="should hold a checkpoint that verifies"):
        fit()


@pytest.fixture
def full_disk(monkeypatch):
    """A list of calls that write checkpoints, and a switch that makes them fail."""
    for name, value in {"os": checkpoint.os, "shutil": checkpoint.shutil, "open": open}.items():
        monkeypatch.setattr(checkpoint, name, value, raising=False)
    disk = {"full": True, "tries": 0}

    def notice(call):
        disk["tries"] += call == "mkdir"
        if disk["full"] and call == "fsync":
            raise OSError(errno.ENOSPC, "No space left on device")

    kill.watch_disk(notice)
    return disk


def test_training_outlives_a_full_disk_and_tries_again(fit, full_disk, tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "RETRY_SECONDS", 0)
    free = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: full_disk.update(full=batch < 2)
    )
    with pytest.warns(UserWarning, match=r"Training goes on.*No space left on device"):
        fit(epochs=1, every_steps=2, keep=9, callbacks=[free])
    assert places(tmp_path / "run") == [(0, 3), (1, 0)]
    assert full_disk["tries"] == 2 + 2


def test_it_tries_again_after_a_while_only(fit, full_disk):
    with pytest.warns(UserWarning, match="tries again in 60 seconds"):
        fit(epochs=1, every_steps=1)
    assert full_disk["tries"] == 1 + 2


def test_leaving_without_having_saved_says_so(fit, full_disk, capsys):
    with pytest.warns(UserWarning, match="No space"), pytest.raises(SystemExit) as leaving:
        fit(callbacks=[Stop(0, 1, signal.SIGTERM)])
    assert leaving.value.code == resume.NOT_SAVED
    assert "SIGTERM: stopped at epoch 1, step 2 of 5, NOT saved in" in capsys.readouterr().err


def test_a_signal_after_the_last_epoch_is_not_lost(fit):
    late = keras.callbacks.LambdaCallback(
        on_train_end=lambda logs: signal.raise_signal(signal.SIGTERM)
    )
    with pytest.raises(SystemExit) as leaving:
        fit("run", callbacks=[late])
    assert leaving.value.code == resume.STOPPED
    assert fit("run") == fit("whole")


@pytest.fixture
def interrupts():
    """What SIGINT does by default, wherever these tests were begun."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_signals_are_left_alone_afterwards(fit, interrupts):
    with pytest.raises(KeyError):
        fit(callbacks=[Stop(0, 1)])
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    fit()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_is_ignored_stays_so(fit, interrupts):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert len(fit(callbacks=[Stop(0, 1, signal.SIGINT)])["history"]["loss"]) == 2


class Noise(keras.layers.Layer):
    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x))


def test_seeds_of_no_layer_scales_of_the_loss_and_short_floats_go_on_too(tmp_path):
    def run(directory, *callbacks):
        keras.utils.clear_session()
        keras.utils.set_random_seed(len(list(tmp_path.glob(f"{directory}/checkpoint-*"))))
        vector = keras.Input((4,), name="vector")
        noisy = keras.layers.Dense(3, dtype="bfloat16")(Noise()(vector))
        logits = keras.layers.Dense(2, name="label")(noisy)
        fields = mm.Preprocessor({"vector": mm.Features((4,))}, {"label": mm.Labels(["a", "b"])})
        model = mm.Task({"vector": vector}, {"label": logits}, preprocessor=fields)
        scaled = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.Adam(), dynamic_growth_steps=2
        )
        model.compile(scaled, "mse", run_eagerly=True)
        random = np.random.default_rng(0)
        records = {"vector": random.normal(size=(16, 4)), "label": [*"ab"] * 8}
        data = mm.dataset(records, fields, 4)
        callbacks = [mm.Resume(tmp_path / directory, every_steps=1), *callbacks]
        model.fit(data, callbacks=callbacks, verbose=0)
        return kill.digest(model)

    whole = run("whole")
    with pytest.raises(KeyError):
        run("run", Stop(0, 1))
    assert run("run") == whole


def fit_bare(tmp_path, **options):
    """A `fit` that ends before its first step, if all is well with it."""
    fields = mm.Preprocessor({"vector": mm.Features((4,))}, {})
    data = mm.dataset({"vector": np.zeros((8, 4))}, fields, 4)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    callbacks = [mm.Resume(tmp_path)]
    model.fit(**{"x": data, "epochs": 0, "callbacks": callbacks, "verbose": 0, **options})
    return data


def test_data_of_unknown_order_are_refused(tmp_path):
    data = fit_bare(tmp_path)
    for other in (data.map(lambda x: x), data.repeat(2), np.zeros((8, 4))):
        with pytest.raises(ValueError, match="`fit` should be given what"):
            fit_bare(tmp_path, x=other)


def test_epochs_of_a_part_of_the_data_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"without `steps_per_epoch`.*steps_per_epoch=1"):
        fit_bare(tmp_path, steps_per_epoch=1)


def test_another_keras_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "VERIFIED", "99.")
    with pytest.warns(
        UserWarning, match=f"verified with Keras 99.x, and this is {keras.__version__}"
    ):
        fit_bare(tmp_path)


def test_what_is_no_fit_is_an_error(tmp_path):
    callbacks = keras.callbacks.CallbackList([mm.Resume(tmp_path)], model=keras.Sequential())
    with pytest.raises(RuntimeError, match="which does not call it the same way"):
        callbacks.on_train_begin()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_steps": 0}, "`every_steps` should be a whole number above 0. Received: .*=0"),
        ({"every_steps": 1.5}, "`every_steps` should be a whole number"),
        ({"every_minutes": -1}, "`every_minutes` should be above 0. Received: every_minutes=-1"),
        ({"keep": 0}, "`keep` should be a whole number above 0"),
        ({"allow": "data"}, "`allow` should be a list of names that begin with one of"),
        ({"allow": ["dat"]}, "Received: allow=."),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        mm.Resume("run", **options)
