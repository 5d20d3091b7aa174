import keras
import numpy as np
import pytest

from mmkeras.layers.alignment import EmbeddingPair, Similarity

RANDOM = np.random.default_rng(0)
V = RANDOM.normal(size=(2, 4, 5)).astype("float32")
W = RANDOM.normal(size=(2, 3, 5)).astype("float32")


def one_by_one(function):
    return np.array(
        [[[function(v, w) for w in ws] for v in vs] for vs, ws in zip(V, W, strict=True)]
    )


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("cosine", lambda v, w: v @ w / np.linalg.norm(v) / np.linalg.norm(w)),
        ("dot", lambda v, w: v @ w),
        ("euclidean", lambda v, w: -np.linalg.norm(v - w)),
    ],
)
def test_every_part_with_every_other(kind, function):
    np.testing.assert_allclose(Similarity(kind)(V, W), one_by_one(function), atol=1e-5)


def test_a_learned_form_joins_two_widths():
    layer = Similarity("bilinear")
    got = layer(V, W[..., :2])
    form = np.asarray(layer.form.kernel)
    np.testing.assert_allclose(got, V @ form @ W[..., :2].swapaxes(1, 2), atol=1e-5)


@pytest.mark.parametrize("kind", ["cosine", "dot", "euclidean", "bilinear"])
def test_what_is_hidden_matches_nothing(kind):
    v_mask, w_mask = np.array([[1, 1, 0, 1], [0, 0, 0, 0]], bool), np.ones((2, 3), bool)
    v = np.where(v_mask[..., None], V, np.nan)
    layer = Similarity(kind)
    got = np.asarray(layer(v, W, v_mask=v_mask, w_mask=w_mask))
    plain = np.asarray(layer(V, W))
    np.testing.assert_allclose(got, np.where(v_mask[..., None], plain, 0), atol=1e-6)


def test_a_vector_of_zeros_and_equal_vectors_have_gradients():
    import tensorflow as tf

    zero = tf.zeros((2, 3))
    for kind in ("cosine", "euclidean"):
        with tf.GradientTape() as tape:
            tape.watch(zero)
            total = tf.reduce_sum(Similarity(kind)(zero, zero))
        assert np.isfinite(tape.gradient(total, zero)).all()


@pytest.mark.parametrize("kind", ["cosine", "bilinear"])
def test_saved_and_loaded_it_gives_the_same(kind, tmp_path):
    inputs = keras.Input((None, 5)), keras.Input((None, 5)), keras.Input((None,), dtype="bool")
    model = keras.Model(inputs, Similarity(kind)(inputs[0], inputs[1], v_mask=inputs[2]))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    values = [V, W, np.array([[1, 1, 0, 1], [0, 1, 0, 1]], bool)]
    np.testing.assert_array_equal(model(values), again(values))


def test_refusals():
    with pytest.raises(ValueError, match=r"`kind` should be one of .*kind='manhattan'"):
        Similarity("manhattan")
    with pytest.raises(ValueError, match=r"of one width\. Received: 5 and 2"):
        Similarity()(V, W[..., :2])
    with pytest.raises(ValueError, match=r"of one width\. Received: 5 and 2"):
        EmbeddingPair()(V[:, 0], W[:, 0, :2])
    with pytest.raises(ValueError, match=r"`temperature` should be at least 0\.01"):
        EmbeddingPair(temperature=0.0)


class TestEmbeddingPair:
    def test_products_are_scaled_cosines_and_a_bias(self):
        v, w = V[0, :3], W[0]
        pair = np.asarray(EmbeddingPair(temperature=0.2, bias=-3.0)(v, w))
        cosine = np.asarray(Similarity("cosine")(v, w))
        np.testing.assert_allclose(pair[:, 0] @ pair[:, 1].T, 5 * cosine - 3, atol=1e-5)

    def test_the_scale_never_passes_100(self):
        layer = EmbeddingPair()
        layer(V[0, :3], W[0])
        layer.log_scale.assign(50.0)
        pair = np.asarray(layer(V[0, :3], W[0]))
        np.testing.assert_allclose(np.linalg.norm(pair[:, 0], axis=-1), 100, rtol=1e-5)

    def test_saved_and_loaded_it_gives_the_same(self, tmp_path):
        inputs = keras.Input((5,)), keras.Input((5,))
        model = keras.Model(inputs, EmbeddingPair(0.1, -10.0)(*inputs))
        model.save(tmp_path / "m.keras")
        again = keras.models.load_model(tmp_path / "m.keras")
        np.testing.assert_array_equal(model([V[0, :3], W[0]]), again([V[0, :3], W[0]]))
