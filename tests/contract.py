"""What every task has to keep, whatever builder made it."""

import keras
import numpy as np
import tensorflow as tf

import mmkeras as mm
from mmkeras.preprocessing import Field


def check_task(task, records, tmp_path):
    """Train, save, load and ask a task; `records` holds its inputs and targets, two or more."""
    inputs = {name: records[name] for name in task.preprocessor.inputs}
    check_training(task, records)
    answers = task.infer(inputs)
    check_answers(task, inputs, answers)
    check_steps_equal_the_wide_pass(task, records)
    task.save(tmp_path / "task.keras")
    again = keras.models.load_model(tmp_path / "task.keras")
    assert again.infer(inputs) == answers
    assert again.preprocessor.get_config() == task.preprocessor.get_config()
    assert not again.get_layer(next(iter(task.preprocessor.targets))).losses


def check_training(task, records):
    """Loss falls on one batch, in plain `fit`."""
    rows = len(next(iter(records.values())))
    # Cached, because these tests are not about reading files again and again.
    data = mm.dataset(records, task.preprocessor, rows).cache()
    mm.compile_task(task, keras.optimizers.Adam(3e-3))
    before = task.evaluate(data, verbose=0, return_dict=True)["loss"]
    task.fit(data.repeat(8), verbose=0)
    after = task.evaluate(data, verbose=0, return_dict=True)["loss"]
    assert np.isfinite([before, after]).all()
    assert after < 0.9 * before


def check_answers(task, inputs, answers):
    rows = len(next(iter(inputs.values())))
    targets = task.preprocessor.targets.items()
    # Whether inputs belong together is told by the score alone.
    told = [name for name, field in targets if type(field).decode is not Field.decode]
    assert set(answers) == {*told, "score"}
    assert all(len(values) == rows for values in answers.values())
    # A row's answer does not depend on how many stand beside it.
    alone = task.infer({name: values[:1] for name, values in inputs.items()})
    for target in told:
        assert alone[target] == answers[target][:1]
    np.testing.assert_allclose(alone["score"], answers["score"][:1], atol=1e-4)
    assert task.infer({name: [] for name in inputs}) == {name: [] for name in answers}


def check_steps_equal_the_wide_pass(task, records):
    batch = next(iter(mm.dataset(records, task.preprocessor, 2)))
    x, y, _ = batch
    wide = task(x, training=False)
    own = {f"{target}_input" for target in y}
    contexts = task.context({name: value for name, value in x.items() if name not in own})
    for target, ids in y.items():
        head = task.get_layer(target)
        if f"{target}_input" not in x:
            # What reads no answer takes no steps: all that training sees comes from the context.
            np.testing.assert_allclose(head(**contexts[target]), wide[target], atol=1e-3)
            continue
        # Of a joint head the decoder takes the steps.
        decoder, read = getattr(head, "decoder", head), x[f"{target}_input"]
        state = decoder.initial_state(**contexts[target], max_length=decoder.max_length)
        for index in range(min(4, ids.shape[1])):
            logits, state = decoder.step(read[:, index], state, tf.constant(index))
            np.testing.assert_allclose(logits, wide[target][:, index], atol=1e-3)
