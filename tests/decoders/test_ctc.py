import keras
import numpy as np
import pytest
import tensorflow as tf

from mmkeras.decoders.ctc import CTC, CTCLoss, TokenErrorRate, frames_needed

# By torch 2.13.0:
#   x = 2 sin(3b + 1.7t + 0.9v^2), float32, of 4 examples b, 8 frames t, 5 ids v
#   ctc_loss(x.log_softmax(-1).transpose(0, 1), LABELS, [4, 4, 0, 5], [8, 8, 8, 7],
#            blank=0, reduction="none"), and the gradient of its sum by x
LABELS = np.array([[1, 2, 3, 4, 0], [2, 2, 3, 3, 0], [0, 0, 0, 0, 0], [4, 1, 4, 1, 1]])
FRAMES = np.array([8, 8, 8, 7])
LOSSES = [6.811566352844238, 9.990378379821777, 19.524333953857422, 14.435345649719238]
GRADIENTS = {
    (1, 3): [-0.28944173, 0.22307569, -0.00776584, 0.03720557, 0.03692633],
    (3, 6): [-0.01692991, -0.53336984, 0.01221589, 0.27161434, 0.26646954],
    (3, 7): [0.0, 0.0, 0.0, 0.0, 0.0],
}


def logits():
    b, t, v = np.ogrid[:4, :8, :5]
    return (2 * np.sin(3 * b + 1.7 * t + 0.9 * v * v)).astype("float32")


def head(vocabulary=5, width=5):
    """A head that passes its context through, as logits."""
    layer = CTC(vocabulary, dropout=0.0, name="transcript")
    layer.build((None, None, width))
    layer.output_layer.kernel.assign(np.eye(width))
    return layer


def test_loss_and_gradient_equal_torch():
    x, mask = tf.Variable(logits()), np.arange(8) < FRAMES[:, None]
    with tf.GradientTape() as tape:
        losses = CTCLoss(reduction="none")(LABELS, head()(x, mask))
        total = tf.reduce_sum(losses)
    np.testing.assert_allclose(losses, LOSSES, rtol=1e-5)
    gradient = tape.gradient(total, x).numpy()
    for place, values in GRADIENTS.items():
        np.testing.assert_allclose(gradient[place], values, atol=1e-5)


def test_loss_per_token():
    losses = CTCLoss(per_token=True, reduction="none")(LABELS[:2], head()(logits()[:2]))
    np.testing.assert_allclose(losses, np.array(LOSSES[:2]) / 4, rtol=1e-5)


def test_padding_of_labels_and_frames_changes_nothing():
    x = np.pad(logits(), [[0, 0], [0, 30], [0, 0]], constant_values=3)
    labels = np.pad(LABELS, [[0, 0], [0, 3]])
    losses = CTCLoss(reduction="none")(labels, head()(x, np.arange(38) < FRAMES[:, None]))
    np.testing.assert_allclose(losses, LOSSES, rtol=1e-5)


def test_a_text_longer_than_its_frames_has_no_loss_and_teaches_nothing():
    x, mask = tf.Variable(logits()[:2]), np.array([[True] * 8, [True] * 5 + [False] * 3])
    labels = np.array([[1, 1, 1, 1, 1], [1, 1, 2, 2, 0]])  # 9 frames needed of 8, 6 of 5
    with tf.GradientTape() as tape:
        losses = CTCLoss(reduction="none")(labels, head()(x, mask))
    assert not np.any(losses)
    assert not np.abs(tape.gradient(losses, x)).any()
    labels = np.array([[1, 2, 1, 1, 1], [1, 1, 2, 0, 0]])
    assert np.isfinite(CTCLoss()(labels, head()(x, mask)))


def test_frames_needed():
    assert frames_needed(LABELS).numpy().tolist() == [4, 6, 0, 6]
    assert frames_needed(np.zeros([2, 0], "int32")).numpy().tolist() == [0, 0]


def test_beyond_the_mask_the_blank_is_certain():
    log_probs = head()(logits(), np.arange(8) < FRAMES[:, None]).numpy()
    assert np.exp(log_probs[3, 7]).tolist() == [1, 0, 0, 0, 0]
    np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, rtol=1e-5)


def test_log_probabilities_are_float32_under_mixed_precision():
    layer = CTC(7, dtype="mixed_bfloat16")
    assert layer(np.ones([1, 3, 4], "float32")).dtype == tf.float32


def test_best_path():
    frames = np.eye(5)[[[0, 2, 2, 0, 2, 3, 3, 0], [0] * 8]] * 9
    answer = head().answer(frames.astype("float32"))
    assert answer["ids"].numpy().tolist() == [[[2, 2, 3]], [[0, 0, 0]]]
    assert answer["lengths"].numpy().tolist() == [[3], [0]]


def test_token_error_rate_streams():
    rate = TokenErrorRate()
    said = head()(np.eye(5, dtype="float32")[[[1, 1, 0, 2, 3, 0], [4, 0, 4, 4, 0, 0]]] * 9)
    rate.update_state(np.array([[1, 2, 4], [4, 4, 0]]), said)  # one substitution in five
    assert float(rate.result()) == pytest.approx(1 / 5)
    rate.update_state(np.array([[1, 2, 3], [0, 0, 0]]), said)  # two inserted into nothing
    assert float(rate.result()) == pytest.approx(3 / 8)
    rate.reset_state()
    rate.update_state(np.array([[1, 2, 4], [0, 0, 0]]), said, sample_weight=[1.0, 0.0])
    assert float(rate.result()) == pytest.approx(1 / 3)


def test_fits_and_comes_back(tmp_path):
    keras.utils.set_random_seed(0)
    inputs, mask = keras.Input((None, 6)), keras.Input((None,), dtype="bool")
    layer = CTC(5, dropout=0.0, name="transcript")
    model = keras.Model([inputs, mask], {"transcript": layer(inputs, mask)})
    model.compile(
        keras.optimizers.Adam(0.05),
        loss={"transcript": layer.loss()},
        weighted_metrics={"transcript": layer.metrics_to_compile()},
    )
    random = np.random.default_rng(0)
    x = [random.normal(size=(4, 9, 6)).astype("float32"), np.arange(9) < [[9], [9], [7], [6]]]
    y = {"transcript": np.array([[1, 2, 3], [2, 2, 0], [3, 0, 0], [0, 0, 0]])}
    history = model.fit(x, y, epochs=80, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert model.evaluate(x, y, verbose=0, return_dict=True)["token_error_rate"] < 0.8
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model(x)["transcript"], again(x)["transcript"])


def test_refuses_a_vocabulary_of_the_blank_alone():
    with pytest.raises(ValueError, match="vocabulary_size"):
        CTC(1)
