"""One batch learnt by heart, or not."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_nan import model as task_of

import mmkeras as mm


def batches(task, grid, label):
    return mm.dataset({"grid": grid, "label": label}, task.preprocessor, 4, shuffle=True)


@pytest.fixture(scope="module")
def task():
    return task_of("sgd")


GRID = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], "float32")


def test_a_model_that_learns(task, capsys):
    data, before = batches(task, GRID, [*"abab"]), task.get_weights()
    assert mm.check(task, data, learning_rate=0.3)
    curve, verdict = capsys.readouterr().out.splitlines()
    assert curve.startswith("One batch, ")
    assert curve.split()[6][-1] == "▁"
    assert verdict == "The model learns."
    assert data.epoch == 0
    for one, other in zip(before, task.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not task.optimizer.built or int(task.optimizer.iterations) == 0


def test_a_model_that_does_not_learn(task, capsys):
    # The same input with two answers.
    data = batches(task, GRID * 0, [*"abab"])
    assert not mm.check(task, data, steps=20)
    assert "The model does NOT learn" in capsys.readouterr().out
    assert not mm.check(task, batches(task, GRID, [*"abab"]), steps=30, learning_rate=0.01)
    assert "The model learns slowly" in capsys.readouterr().out


def test_a_loss_that_is_not_finite_is_explained(capsys):
    task = task_of("sgd", root=True)
    assert not mm.check(task, batches(task, -GRID, [*"abab"]))
    curve, verdict = capsys.readouterr().out.splitlines()
    assert curve.startswith("One batch, 1 steps: loss nan")
    assert verdict == "The output of 'root' is not finite."


def test_any_data_will_do(task):
    data = tf.data.Dataset.from_tensors(({"grid": GRID}, {"label": tf.tile(tf.eye(2), [2, 1])}))
    assert mm.check(task, data, learning_rate=0.3)


def test_bad_arguments(task):
    with pytest.raises(ValueError, match="`steps` should be a whole number above 1"):
        mm.check(task, None, steps=1)
    with pytest.raises(ValueError, match="`data` should give inputs and targets"):
        mm.check(task, mm.dataset({"grid": GRID}, task.preprocessor, 4))
    bare = mm.Task.from_config(task.get_config())
    with pytest.raises(ValueError, match="`model` should be compiled"):
        mm.check(bare, None)
    assert isinstance(task.optimizer, keras.optimizers.SGD)
