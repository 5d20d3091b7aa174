import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm
from mmkeras.decoders.ctc import CTC, CTCLoss
from mmkeras.decoders.joint import JointDecoder
from mmkeras.decoders.language_model import NgramLanguageModel

VOCABULARY, LENGTH = 9, 6


def decoder(kind):
    if kind == "lstm":
        return mm.LSTMDecoder(VOCABULARY, LENGTH, width=16, name="decoder")
    return mm.TransformerDecoder(VOCABULARY, LENGTH, width=16, depth=1, heads=2, name="decoder")


def joint(kind="transformer", **options):
    head = JointDecoder(CTC(VOCABULARY), decoder(kind), name="transcript", **options)
    head(np.ones((1, LENGTH), "int32"), np.ones((1, 5, 7), "float32"))
    return head


@pytest.fixture
def inputs():
    random = np.random.default_rng(0)
    context = random.normal(size=(3, 12, 7)).astype("float32")
    mask = np.arange(12) < [[12], [9], [6]]
    ids = np.array([[1, 4, 5, 5, 2, 0], [1, 6, 2, 0, 0, 0], [1, 3, 4, 5, 6, 7]], "int32")
    return ids, context, mask


def test_the_loss_of_ctc_is_added(inputs):
    ids, context, mask = inputs
    head = joint(ctc_weight=0.25)
    logits = head(ids, context, mask)
    np.testing.assert_allclose(logits, head.decoder(ids, context, mask), rtol=1e-5)
    labels = np.array([[4, 5, 5, 0, 0], [6, 0, 0, 0, 0], [3, 4, 5, 6, 7]])
    expected = CTCLoss(per_token=True)(labels, head.ctc(context, mask)) / 3
    np.testing.assert_allclose(head.losses[0], expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_answers_are_the_best_by_both(kind, inputs):
    _, context, mask = inputs
    head = joint(kind)
    proposed = head.ctc.answer(context, mask, beam_width=5, n_best=5)
    found = head.answer(context, mask, beam_width=5, n_best=5, ctc_weight=0.4)
    for example in range(3):
        scores = {}
        for ids, score in zip(
            proposed["ids"].numpy()[example], proposed["scores"].numpy()[example], strict=True
        ):
            text = [i for i in ids if i][: LENGTH - 1]
            read = np.zeros([1, LENGTH], "int32")
            read[0, : len(text) + 1] = [1, *text]
            log_probs = tf.nn.log_softmax(
                head.decoder(read, context[example : example + 1], mask[example : example + 1])
            ).numpy()[0]
            heard = log_probs[range(len(text) + 1), [*text, 2]].sum()
            scores[tuple(i for i in ids if i)] = 0.4 * score + 0.6 * heard
        expected = sorted(scores.items(), key=lambda item: -item[1])
        ids = [tuple(i for i in row if i) for row in found["ids"].numpy()[example]]
        assert ids == [text for text, _ in expected]
        np.testing.assert_allclose(found["scores"][example], [s for _, s in expected], rtol=1e-4)


def test_each_part_may_answer_alone(inputs):
    _, context, mask = inputs
    head = joint()
    for method, part in {"ctc": head.ctc, "attention": head.decoder}.items():
        found = head.answer(context, mask, method=method, beam_width=3)
        np.testing.assert_array_equal(found["ids"], part.answer(context, mask, beam_width=3)["ids"])
    with pytest.raises(ValueError, match="method"):
        head.answer(context, mask, method="both")


def test_more_answers_than_there_are(inputs):
    head = joint()
    found = head.answer(inputs[1][:, :1], n_best=12)
    assert found["ids"].shape[1] == 12
    assert np.isneginf(found["scores"]).any()


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
@pytest.mark.parametrize("length", [2, LENGTH + 2])
def test_explains_answers_of_any_length(kind, length, inputs):
    _, context, mask = inputs
    head = joint(kind)
    ids = np.zeros([3, length], "int32")
    ids[:, 0], ids[:2, 1] = 4, 5
    found = head.explain(ids, context, mask)
    assert found["attention"].shape == (3, length, 12)
    np.testing.assert_allclose(tf.reduce_sum(found["attention"][:, :2], axis=-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found["frames"], head.ctc.explain(ids, context, mask)["frames"])


def test_fits_and_comes_back_with_its_language_model(tmp_path, inputs):
    ids, context, mask = inputs
    taken = {
        "transcript_input": keras.Input((LENGTH,), dtype="int32", name="transcript_input"),
        "audio": keras.Input((None, 7), name="audio"),
        "mask": keras.Input((None,), dtype="bool", name="mask"),
    }
    head = JointDecoder(CTC(VOCABULARY), decoder("transformer"), name="transcript")
    outputs = {"transcript": head(*taken.values())}
    model = keras.Model(taken, outputs)
    model.compile(
        keras.optimizers.Adam(0.01),
        loss={"transcript": head.loss()},
        weighted_metrics={"transcript": head.metrics_to_compile()},
    )
    x = {"transcript_input": ids, "audio": context, "mask": mask}
    y = {"transcript": np.concatenate([ids[:, 1:], [[0], [0], [2]]], axis=1)}
    history = model.fit(x, y, epochs=15, verbose=0).history
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    letters = mm.train_tokenizer(["abcde"], kind="character")
    head.set_language_model(NgramLanguageModel.train(["ab", "de"], letters, 2, unit="token"))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").get_layer("transcript")
    expected = head.answer(context, mask, n_best=3)
    found = again.answer(context, mask, n_best=3)
    np.testing.assert_array_equal(found["ids"], expected["ids"])
    np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-5)


@pytest.mark.parametrize("weight", [-0.1, 1.0])
def test_refuses_weights_out_of_range(weight):
    with pytest.raises(ValueError, match="ctc_weight"):
        JointDecoder(CTC(VOCABULARY), decoder("lstm"), ctc_weight=weight)


def test_refuses_parts_of_different_ids():
    with pytest.raises(ValueError, match="vocabulary_size"):
        JointDecoder(CTC(VOCABULARY + 1), decoder("lstm"))


def test_search_takes_the_options_of_answer():
    head = JointDecoder(CTC(6), mm.TransformerDecoder(6, 5, 8, 1, heads=2))
    search = head.search(method="joint", ctc_weight=0.5, beam_width=3)
    assert search.beam_width == 3
