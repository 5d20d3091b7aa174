"""Learning rates against those that others compute."""

import keras
import numpy as np
import pytest

import mmkeras as mm


def rates(schedule, steps):
    return np.array([float(schedule(step)) for step in range(steps)])


def test_warmup_cosine():
    found = rates(mm.WarmupCosine(2.0, steps=100, warmup=10, final=0.1), 120)
    np.testing.assert_allclose(found[:10], np.arange(1, 11) * 0.2, rtol=1e-6)
    # Keras counts the steps of the cosine after those of its warm-up.
    peer = keras.optimizers.schedules.CosineDecay(
        0.0, 90, alpha=0.1, warmup_target=2.0, warmup_steps=10
    )
    np.testing.assert_allclose(found[10:], rates(peer, 120)[10:], rtol=1e-5)
    np.testing.assert_allclose(found[100:], 0.2, rtol=1e-5)


def test_a_share_of_the_steps_is_warmup():
    same = mm.WarmupCosine(1.0, 200, warmup=0.1), mm.WarmupCosine(1.0, 200, warmup=20)
    np.testing.assert_array_equal(rates(same[0], 200), rates(same[1], 200))


def test_noam_is_that_of_the_paper():
    width, warmup = 512, 400
    found = rates(mm.Noam((width * warmup) ** -0.5, warmup), 1000)
    step = np.arange(1, 1001)
    paper = width**-0.5 * np.minimum(step**-0.5, step * warmup**-1.5)
    np.testing.assert_allclose(found, paper, rtol=1e-5)


def test_one_cycle_is_that_of_torch():
    # torch 2.13: OneCycleLR(SGD(lr=1), max_lr=1.0, total_steps=10), whose least is a 10,000th of
    # its first.
    torch = [0.04, 0.52, 1.0, 0.950484632, 0.811745654, 0.611262022, 0.388741978, 0.188258346]
    torch += [0.049519368, 4e-06]
    np.testing.assert_allclose(rates(mm.OneCycle(1.0, 10), 10), torch, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "schedule", [mm.WarmupCosine(1e-3, 50), mm.Noam(1e-3, 10), mm.OneCycle(1e-3, 50)]
)
def test_configs_bring_them_back(schedule):
    config = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(config)
    np.testing.assert_array_equal(rates(again, 60), rates(schedule, 60))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mm.WarmupCosine(0.0, 10), "`peak` should be above 0"),
        (lambda: mm.WarmupCosine(1.0, 0), "steps should be a whole number above 0"),
        (lambda: mm.WarmupCosine(1.0, 10, warmup=10), "`warmup` should be a share below 1"),
        (lambda: mm.OneCycle(1.0, 10, warmup=1.5), "`warmup` should be a share below 1"),
        (lambda: mm.OneCycle(1.0, 10, first=2), "`first` should be from 0 to 1"),
        (lambda: mm.Noam(1.0, 0.5), "steps should be a whole number above 0"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    schedules = {"cosine": mm.WarmupCosine(1e-3, 100), "Noam": mm.Noam(1e-3, 20)}
    path = mm.draw_schedules(schedules, 100, tmp_path / "rates.png")
    assert path.read_bytes().startswith(b"\x89PNG")
