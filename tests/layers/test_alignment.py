import re

import keras
import numpy as np
import pytest

import mmkeras as mm
from mmkeras.layers.alignment import EmbeddingPair, JointEmbedding, Similarity

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


class TestJointEmbedding:
    def test_hidden_places_leave_no_trace(self):
        layer = JointEmbedding(6)
        mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1]], bool)
        hidden = np.where(mask[..., None], V, np.nan)
        np.testing.assert_array_equal(layer(hidden, mask), layer(V, mask))
        np.testing.assert_allclose(layer(V[:1, :2]), layer(V, mask)[:1], atol=1e-6)

    def test_of_one_place_too(self):
        layer = JointEmbedding(6)
        mask = np.array([[True], [False]])
        hidden = np.where(mask[..., None], V[:, :1], np.nan)
        np.testing.assert_array_equal(layer(hidden, mask), layer(V[:, :1] * mask[..., None]))
        assert len(layer.weights) == 4

    def test_vectors_have_length_1_and_where_nothing_is_visible_they_are_finite(self):
        mask = np.array([[1, 0, 0, 0], [0, 0, 0, 0]], bool)
        got = np.asarray(JointEmbedding(6)(V, mask))
        np.testing.assert_allclose(np.linalg.norm(got[0]), 1, rtol=1e-5)
        assert np.isfinite(got).all()

    def test_saved_and_loaded_it_gives_the_same(self, tmp_path):
        inputs = keras.Input((None, 5)), keras.Input((None,), dtype="bool")
        model = keras.Model(inputs, JointEmbedding(6, 0.5)(*inputs))
        model.save(tmp_path / "m.keras")
        again = keras.models.load_model(tmp_path / "m.keras")
        values = [V, np.array([[1, 1, 0, 1], [0, 1, 0, 1]], bool)]
        np.testing.assert_array_equal(model(values), again(values))


class TestAlignment:
    """Drawn together beside another task."""

    SOUND = W[..., :3]

    def test_it_changes_nothing(self):
        layer = mm.Alignment()
        for training in (False, True):
            np.testing.assert_array_equal(layer(V, self.SOUND, training=training), V)

    @pytest.mark.parametrize("loss", ["info_nce", "siglip", "triplet", mm.Triplet(0.5)])
    def test_its_loss_has_its_weight_and_counts_in_training_only(self, loss):
        layer = mm.Alignment(0.5, loss)
        layer(V, self.SOUND, training=False)
        assert not layer.losses
        layer(V, self.SOUND, training=True)
        v, w = layer.embeddings
        expected = layer.loss(np.arange(2), layer.pair(v(V), w(self.SOUND)))
        np.testing.assert_allclose(layer.losses, [0.5 * expected], rtol=1e-5)

    @pytest.mark.parametrize("loss", ["info_nce", "siglip", "triplet"])
    def test_examples_that_lack_one_of_the_two_have_no_part(self, loss):
        layer = mm.Alignment(1.0, loss)
        v, w = np.concatenate([V, V[:1]]), np.concatenate([self.SOUND, self.SOUND[1:]])
        mask = np.array([[1], [1], [0]], bool) & np.ones((3, 4), bool)
        found = []
        for arguments in ((v, w, mask), (V, self.SOUND), (v, w, mask & False)):
            layer(*arguments, training=True)
            found += layer.losses
        np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
        assert float(found[1]) > float(found[2]) == 0.0

    def test_beside_any_fusion_training_draws_them_together(self, tmp_path):
        random = np.random.default_rng(0)
        x = random.normal(size=(64, 8)).astype("float32")
        records = {"image": x, "sound": x @ random.normal(size=(8, 6)).astype("float32")}
        records["label"] = ["yes", "no"] * 32
        inputs = {
            name: (mm.Features(records[name].shape[1:]), as_sequence(name))
            for name in ("image", "sound")
        }
        target = {"label": (mm.Labels(["yes", "no"]), mm.Classify(2, name="label"))}
        fusion = mm.aligned("gated", ("image", "sound"), weight=1.0, width=16)
        keras.utils.set_random_seed(0)
        task = mm.assemble(inputs, target, 8, fusion=fusion, optimizer=keras.optimizers.Adam(0.03))
        data = mm.dataset(records, task.preprocessor, 64, cache=True)
        history = task.fit(data, epochs=40, verbose=0).history["loss"]
        assert history[-1] < history[0] - 2
        task.save(tmp_path / "task.keras")
        again = keras.models.load_model(tmp_path / "task.keras")
        asked = {"image": x[:3], "sound": records["sound"][:3]}
        assert again.infer(asked) == task.infer(asked)
        layer = again.get_layer("alignment")
        assert layer.get_config() == task.get_layer("alignment").get_config()

    @pytest.mark.parametrize("names", [("image",), ("image", "image"), ("image", "text")])
    def test_names_of_no_two_inputs(self, names):
        encoded = {"image": (V, None), "sound": (W, None)}
        with pytest.raises(ValueError, match=re.escape("two of ['image', 'sound']. Received")):
            mm.aligned("gated", names)(encoded, 8, 0.0)

    def test_a_loss_that_is_none(self):
        with pytest.raises(ValueError, match=r"`loss` should be one of \['info_nce'.*loss='mse'"):
            mm.Alignment(loss="mse")


def as_sequence(name):
    return lambda x: (keras.layers.Reshape((1, -1), name=f"{name}_vector")(x), None)
