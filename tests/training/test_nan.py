"""Losses that are not finite."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm
from mmkeras.training.diagnosis import diagnose

COUNT = 12


@keras.saving.register_keras_serializable("test")
class Root(keras.layers.Layer):
    """A layer that cannot take numbers below zero."""

    def call(self, x):
        return keras.ops.sqrt(x)


def model(optimizer="sgd", root=False):
    grid = keras.Input((2,), name="grid")
    x = Root(name="root")(grid) if root else grid
    fields = mm.Preprocessor({"grid": mm.Features(2)}, {"label": mm.Labels(["a", "b"])})
    made = mm.Task(
        {"grid": grid}, {"label": keras.layers.Dense(2, name="label")(x)}, preprocessor=fields
    )
    made.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True))
    return made


def fit(task, bad=(), callback=None, epochs=1, value=-1.0):
    grid = np.ones((COUNT, 2), "float32")
    grid[list(bad)] = value
    records = {"grid": grid, "label": ["a", "b"] * (COUNT // 2)}
    data = mm.dataset(records, task.preprocessor, 2, shuffle=True, seed=1)
    callback = callback or mm.StopOnNaN()
    history = task.fit(data, epochs=epochs, callbacks=[callback], verbose=0).history
    return data, history


def skipping():
    optimizer = keras.optimizers.SGD(0.1)
    return keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1.0)


def test_the_first_tensor_and_its_records_are_named():
    task = model(skipping(), root=True)
    before = task.get_weights()
    records = {"grid": np.ones((COUNT, 2)), "label": ["a"] * COUNT}
    data = mm.dataset(records, task.preprocessor, 2, shuffle=True, seed=1)
    (step,) = [step for step in range(COUNT // 2) if 7 in data.records_of(0, step)]
    with pytest.raises(FloatingPointError) as caught:
        fit(task, [7])
    both = ", ".join(map(str, data.records_of(0, step)))
    assert f"nan in epoch 1, step {step + 1}, of records {both}. " in str(caught.value)
    assert "The output of 'root' is not finite in record 7. " in str(caught.value)
    assert np.isfinite(task.get_weights()[0]).all()
    assert step == 0 or not np.array_equal(before[0], task.get_weights()[0])


def test_weights_that_are_spoilt_are_named():
    with pytest.raises(
        FloatingPointError, match=r"The weights 'label.*/kernel' and 1 more are not"
    ):
        fit(model(keras.optimizers.SGD(1e38)), [3], epochs=3, value=1e30)


def steep(optimizer):
    """A model whose loss is finite at first, and its gradient is not: the slope of a root at 0."""
    grid = keras.Input((2,), name="grid")
    x = keras.layers.Dense(2, kernel_initializer="zeros", name="inner")(grid)
    label = keras.layers.Dense(2, name="label")(Root(name="root")(x))
    made = mm.Task({"grid": grid}, {"label": label}, preprocessor=model().preprocessor)
    made.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True))
    return made


def test_a_gradient_is_named():
    made = steep(skipping())
    (batch,) = mm.dataset({"grid": np.ones((2, 2)), "label": ["a", "b"]}, made.preprocessor, 2)
    assert diagnose(made, batch, [0, 1]) == "The gradient of 'inner/kernel' is not finite."
    assert diagnose(model(), batch, [0, 1]) is None


def test_steps_are_left_out_with_patience(capsys):
    stop = mm.StopOnNaN(patience=1)
    _, history = fit(model(skipping(), root=True), [7], stop, epochs=3)
    assert stop.skipped == 3
    assert np.isfinite(history["loss"]).all()
    assert "3 steps whose loss was not finite were left out." in capsys.readouterr().out
    with pytest.raises(FloatingPointError, match="step 2, 2 such steps in a row, of"):
        fit(model(skipping(), root=True), range(COUNT), mm.StopOnNaN(patience=1))


def test_weights_that_are_spoilt_are_not_saved(tmp_path):
    task = steep("sgd")
    records = {"grid": np.ones((COUNT, 2)), "label": ["a", "b"] * (COUNT // 2)}
    callbacks = [mm.StopOnNaN(), mm.Resume(tmp_path, every_steps=1)]
    with (
        pytest.warns(UserWarning, match=r"not saved at epoch 1, step 1 of 6, because '.+' is not"),
        pytest.raises(FloatingPointError, match="epoch 1, step 2"),
    ):
        task.fit(mm.dataset(records, task.preprocessor, 2), callbacks=callbacks, verbose=0)
    assert not list(tmp_path.glob("checkpoint-*"))


def test_any_data_will_do():
    task = model(root=True)
    data = tf.data.Dataset.from_tensors(({"grid": -tf.ones([2, 2])}, {"label": tf.eye(2)}))
    with pytest.raises(FloatingPointError, match=r"nan in epoch 1, step 1. Try a lower"):
        task.fit(data, callbacks=[mm.StopOnNaN()], verbose=0)


def test_bad_arguments():
    with pytest.raises(ValueError, match="`patience` should be a whole number"):
        mm.StopOnNaN(patience=-1)
    with pytest.raises(ValueError, match="`patience` should be 0 with an optimizer that takes"):
        fit(model(), callback=mm.StopOnNaN(patience=1))
