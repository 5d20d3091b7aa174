import keras
import numpy as np
import pytest

from mmkeras import replicas
from mmkeras.layers.alignment import EmbeddingPair
from mmkeras.losses import InfoNCE, SigLIP, Triplet

V = np.array([[1, 2, 0], [0, 1, -1], [2, -1, 1], [-1, 0.5, 2]], "float32")
W = np.array([[1, 1, 0.5], [1, -1, 0], [0.5, 1, -2], [0, 1, 1]], "float32")
EACH_ITS_OWN = np.arange(4)


def pairs(**options):
    return EmbeddingPair(**options)(V, W)


# The golden values are from torch 2 with `v, w = F.normalize(V), F.normalize(W)`.


def test_info_nce_equals_clip():
    """`lg = v @ w.T / 0.07; (F.cross_entropy(lg, t) + F.cross_entropy(lg.T, t)) / 2`."""
    assert float(InfoNCE()(EACH_ITS_OWN, pairs())) == pytest.approx(9.477777, rel=1e-5)


def test_info_nce_shares_the_target_among_several_partners():
    """The same against `same / same.sum(1, keepdim=True)`, where the labels 0, 1, 0, 2 agree."""
    assert float(InfoNCE()([0, 1, 0, 2], pairs())) == pytest.approx(8.838278, rel=1e-5)


def test_siglip_equals_open_clip():
    """`-F.logsigmoid((2 * torch.eye(4) - 1) * (10 * v @ w.T - 10)).sum() / 4`."""
    got = SigLIP()(EACH_ITS_OWN, pairs(temperature=0.1, bias=-10.0))
    assert float(got) == pytest.approx(8.239033, rel=1e-5)


@pytest.mark.parametrize(("margin", "expected"), [(0.2, 0.1942971), (0.8, 0.6718290)])
def test_triplet_equals_a_loop_over_semi_hard_strangers(margin, expected):
    """A loop over the rows of `v @ w.T` and of its transpose."""
    got = Triplet(margin)(EACH_ITS_OWN, pairs(temperature=None))
    assert float(got) == pytest.approx(expected, rel=1e-5)


def test_triplet_takes_no_partner_for_a_stranger():
    assert float(Triplet()([5, 5, 5, 5], pairs(temperature=None))) == 0.0


@pytest.mark.parametrize("loss", [InfoNCE(), SigLIP(), Triplet()])
def test_one_loss_per_example_whatever_the_order(loss):
    order = np.array([2, 0, 3, 1])
    labels = np.array([0, 1, 0, 2])
    got = np.asarray(loss.call(labels, pairs()))
    moved = np.asarray(loss.call(labels[order], EmbeddingPair()(V[order], W[order])))
    assert got.shape == (4,)
    np.testing.assert_allclose(moved, got[order], rtol=1e-5)


@pytest.mark.parametrize("loss", [InfoNCE(), SigLIP(), Triplet(), Triplet(2.0)])
def test_a_pair_that_lacks_one_half_has_no_part(loss):
    """It costs nothing, and the others cost what they cost without it; nor is there a gradient."""
    import tensorflow as tf

    labels = np.array([0, -1, 0, 2])
    together = tf.constant(pairs())
    with tf.GradientTape() as tape:
        tape.watch(together)
        got = loss.call(labels, together)
        total = tf.reduce_sum(got)
    alone = np.asarray(loss.call(labels[[0, 2, 3]], np.asarray(together)[[0, 2, 3]]))
    np.testing.assert_allclose(got, np.insert(alone, 1, 0.0), rtol=1e-5)
    gradient = tape.gradient(total, together).numpy()
    assert np.isfinite(gradient).all()
    assert not gradient[1].any()


@pytest.mark.parametrize("loss", [InfoNCE(), SigLIP(), Triplet()])
def test_nothing_but_missing_pairs_costs_nothing(loss):
    assert float(loss(np.array([-1, -1, -1, -1]), pairs())) == 0.0


@pytest.mark.parametrize("loss", [InfoNCE(), SigLIP(), Triplet()])
def test_all_replicas_together_are_one_batch(loss, monkeypatch):
    """What an all-gather has to do, and nothing else."""
    labels, everyone = np.array([0, 1, 0, 2]), pairs()
    whole = np.asarray(loss.call(labels, everyone))

    def gather(x):
        return everyone if len(x.shape) == 3 else labels

    monkeypatch.setattr(replicas, "gather", gather)
    halves = [loss.call(labels[rows], everyone[rows]) for rows in (slice(0, 2), slice(2, 4))]
    np.testing.assert_allclose(np.concatenate(halves), whole, rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (InfoNCE(), {}),
        (SigLIP(), {"temperature": 0.1, "bias": -10.0}),
        (Triplet(), {"temperature": None}),
    ],
)
def test_training_finds_the_partners(loss, options):
    random = np.random.default_rng(0)
    x = random.normal(size=(64, 8)).astype("float32")
    y = (x @ random.normal(size=(8, 6))).astype("float32")
    inputs = [keras.Input((8,)), keras.Input((6,))]
    keras.utils.set_random_seed(0)
    embedded = [keras.layers.Dense(16)(value) for value in inputs]
    model = keras.Model(inputs, EmbeddingPair(**options, name="pair")(*embedded))
    model.compile(keras.optimizers.Adam(0.03), loss=loss)
    model.fit([x, y], np.arange(64), batch_size=64, epochs=40, verbose=0)
    v, w = np.split(model.predict([x, y], verbose=0), 2, axis=1)
    found = (v[:, 0] @ w[:, 0].T).argmax(1) == np.arange(64)
    assert found.mean() > 0.8


@pytest.mark.parametrize("loss", [InfoNCE(), SigLIP(), Triplet(0.5)])
def test_config_round_trip(loss):
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
