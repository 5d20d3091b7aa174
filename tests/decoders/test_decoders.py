import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm

VOCABULARY, LENGTH = 23, 9


def make(kind, **options):
    """A decoder, built."""
    decoder = unbuilt(kind, **options)
    decoder(np.ones((1, LENGTH), "int32"), np.ones((1, 7, 12), "float32"))
    return decoder


def unbuilt(kind, **options):
    if kind == "lstm":
        return mm.LSTMDecoder(VOCABULARY, LENGTH, width=16, name="caption", **options)
    return mm.TransformerDecoder(
        VOCABULARY, LENGTH, width=16, depth=2, heads=4, name="caption", **options
    )


@pytest.fixture(params=["lstm", "transformer"])
def kind(request):
    return request.param


@pytest.fixture
def inputs():
    random = np.random.default_rng(0)
    ids = random.integers(3, VOCABULARY, (3, LENGTH)).astype("int32")
    context = random.normal(size=(3, 7, 12)).astype("float32")
    mask = np.array([[True] * 7, [True] * 4 + [False] * 3, [True] + [False] * 6])
    return ids, context, mask


@pytest.mark.parametrize("tied", [True, False])
def test_steps_equal_the_wide_pass(kind, tied, inputs):
    ids, context, mask = inputs
    decoder = make(kind, tied=tied)
    wide = decoder(ids, context, mask).numpy()
    state = decoder.initial_state(context, mask, LENGTH)
    for i in range(LENGTH):
        logits, state = decoder.step(ids[:, i], state, i)
        np.testing.assert_allclose(logits, wide[:, i], atol=1e-5)


def test_a_token_depends_on_earlier_ones_only(kind, inputs):
    ids, context, mask = inputs
    decoder = make(kind)
    before = decoder(ids, context, mask).numpy()
    ids[:, 5:] = 3 + (ids[:, 5:] + 1) % (VOCABULARY - 3)
    after = decoder(ids, context, mask).numpy()
    np.testing.assert_allclose(before[:, :5], after[:, :5], atol=1e-6)
    assert np.abs(before[:, 5:] - after[:, 5:]).max() > 1e-3


def test_what_the_mask_hides_does_not_matter(kind, inputs):
    ids, context, mask = inputs
    decoder = make(kind)
    before = decoder(ids, context, mask).numpy()
    context[~mask] = 1e3
    np.testing.assert_allclose(before, decoder(ids, context, mask), atol=1e-5)


def test_attention_on_request(kind, inputs):
    ids, context, mask = inputs
    decoder = make(kind)
    weights = decoder.attention(ids, context, mask).numpy()
    assert weights.shape == (3, LENGTH, 7)
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-5)
    assert weights[1, :, 4:].max() == 0.0


def forced_score(decoder, ids, context, mask):
    """Log-probability of an answer, ended, by teacher forcing."""
    written = [i for i in ids if i] + [decoder.end_id]
    read = np.array([[decoder.start_id, *written[:-1]]], "int32")
    logits = decoder(read, context[None], mask[None])
    log_p = tf.nn.log_softmax(logits)[0].numpy()
    return sum(log_p[i, token] for i, token in enumerate(written))


def test_beams_share_the_context_and_score_as_teacher_forcing_does(kind, inputs):
    _, context, mask = inputs
    decoder = make(kind)
    found = decoder.answer(
        tf.constant(context), tf.constant(mask), beam_width=3, n_best=3, length_penalty=0.0
    )
    for row in range(3):
        for answer in range(3):
            expected = forced_score(
                decoder, found["ids"][row, answer].numpy(), context[row], mask[row]
            )
            assert float(found["scores"][row, answer]) == pytest.approx(expected, abs=1e-4)


def test_an_answer_does_not_depend_on_its_neighbours(kind, inputs):
    _, context, mask = inputs
    decoder = make(kind)
    together = decoder.answer(tf.constant(context), tf.constant(mask), beam_width=3)
    for row in range(3):
        alone = decoder.answer(
            tf.constant(context[row : row + 1]), tf.constant(mask[row : row + 1]), beam_width=3
        )
        assert alone["ids"].numpy().tolist() == together["ids"][row : row + 1].numpy().tolist()


def test_saving_keeps_logits(kind, inputs, tmp_path):
    ids, context, _ = inputs
    taken = keras.Input((LENGTH,), dtype="int32"), keras.Input((7, 12))
    model = keras.Model(taken, unbuilt(kind, dropout=0.5)(*taken))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(model([ids, context]), again([ids, context]))


def test_every_weight_gets_a_gradient(kind, inputs):
    ids, context, mask = inputs
    decoder = make(kind)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(decoder(ids, context, mask, training=True) ** 2)
    gradients = tape.gradient(loss, [v.value for v in decoder.trainable_variables])
    assert all(g is not None for g in gradients)


def test_doubly_stochastic_penalty_is_added_in_training_only(inputs):
    ids, context, mask = inputs
    decoder = make("lstm", attention_penalty=1.0, dropout=0.0)
    decoder(ids, context, mask, training=False)
    assert decoder.losses == []
    decoder(ids, context, mask, training=True)
    weights = decoder.attention(ids, context, mask).numpy()
    expected = np.mean((1.0 - weights.sum(axis=1)) ** 2)
    assert float(decoder.losses[0]) == pytest.approx(expected, rel=1e-4)


def test_max_length_is_checked(kind, inputs):
    _, context, mask = inputs
    with pytest.raises(ValueError, match="`max_length` should be from 1 to 9"):
        make(kind).answer(tf.constant(context), tf.constant(mask), max_length=10)


def test_reads_a_cache_whose_cost_does_not_grow(inputs):
    """A step's operations are the same at every position: none works on the ids written so far."""
    _, context, mask = inputs
    decoder = make("transformer")
    state = decoder.initial_state(tf.constant(context), tf.constant(mask), LENGTH)
    graph = tf.function(
        lambda ids, index: decoder.step(ids, state, index)[0]
    ).get_concrete_function(tf.TensorSpec((3,), tf.int32), tf.TensorSpec((), tf.int32))
    products = [op for op in graph.graph.get_operations() if op.type == "MatMul"]
    rows = {op.outputs[0].shape[0] for op in products}
    assert rows == {3}


def test_several_answers_need_no_beam_width(kind, inputs):
    _, context, mask = inputs
    decoder = make(kind)
    found = decoder.answer(context, mask, n_best=2)
    expected = decoder.answer(context, mask, n_best=2, beam_width=4)
    np.testing.assert_array_equal(found["ids"], expected["ids"])
