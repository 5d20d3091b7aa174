import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm

TEXTS = ["a dog runs", "a cat runs", "the dog sees a cat", "a dog"]
LETTERS = mm.train_tokenizer(TEXTS, kind="character")
SIZE = LETTERS.vocabulary_size


@pytest.fixture(scope="module", autouse=True)
def _unoptimized():
    """Optimizing graphs that run once takes longer than running them."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


def model(**options):
    keras.utils.set_random_seed(0)
    model = mm.LSTMLanguageModel(SIZE, width=8, **options)
    model.build((None, None))
    return model


@pytest.mark.parametrize("options", [{}, {"depth": 1, "tied": False}])
def test_steps_equal_the_wide_pass(options):
    language = model(**options)
    ids = np.random.default_rng(0).integers(1, SIZE, [2, 5]).astype("int32")
    wide = tf.nn.log_softmax(language(ids))
    scorer = language.scorer(weight=1.0)
    # Two beams, of which the second stands still every other time.
    ids = tf.constant(ids)
    state = language.initial_state(2)
    state = {name: x[:, None] for name, x in scorer._after(ids[:, 0], state).items()}
    for index in range(1, 5):
        np.testing.assert_allclose(state["log_probs"][:, 0], wide[:, index - 1], atol=1e-5)
        still = scorer.advance(state, tf.zeros([2, 1], tf.int32))
        np.testing.assert_array_equal(still["log_probs"], state["log_probs"])
        state = scorer.advance(state, ids[:, index, None])


def test_dropout_is_of_training_alone():
    language, ids = model(dropout=0.5), np.ones([1, 4], "int32")
    np.testing.assert_array_equal(language(ids), language(ids))
    assert not np.allclose(language(ids, training=True), language(ids))


def test_learns_in_plain_fit_and_comes_back(tmp_path):
    keras.utils.set_random_seed(0)
    task = mm.language_model(LETTERS, size="tiny", sequence_length=20)
    head = task.get_layer("text")
    assert head.perplexity(TEXTS, LETTERS) > 0.5 * SIZE
    data = mm.dataset({"text": TEXTS * 4}, task.preprocessor, 8, shuffle=True)
    mm.compile_task(task, keras.optimizers.Adam(0.01))
    task.fit(data, epochs=12, verbose=0)
    learnt = head.perplexity(TEXTS, LETTERS)
    assert learnt < 4
    # The loss that `fit` shows is its logarithm.
    shown = task.evaluate(mm.dataset({"text": TEXTS}, task.preprocessor, 4), verbose=0)[0]
    assert np.exp(shown) == pytest.approx(learnt, rel=1e-4)
    assert head.perplexity(["sgod eht"], LETTERS) > 5 * learnt
    task.save(tmp_path / "text.keras")
    again = mm.load_model(tmp_path / "text.keras").get_layer("text")
    assert again.perplexity(TEXTS, LETTERS) == pytest.approx(learnt)


def test_says_that_it_answers_nothing():
    task = mm.language_model(LETTERS, size="tiny", sequence_length=3)
    with pytest.raises(ValueError, match=r"with the names \[\]"):
        task.infer({"text": ["a"]})
    with pytest.raises(ValueError, match="`size` should be one of"):
        mm.language_model(LETTERS, size="huge")


def test_a_head_takes_a_copy_and_the_model_may_learn_on():
    language = model()
    head = mm.CTC(SIZE)
    head.set_language_model(language)
    kept = head.language_model
    assert kept is not language
    assert not kept.trainable_weights
    np.testing.assert_array_equal(kept.embedding, language.embedding)
    language.embedding.assign_add(tf.ones_like(language.embedding))
    assert not np.allclose(kept.embedding, language.embedding)
    assert language.trainable_weights
    head.set_language_model(kept)
    assert head.language_model is kept


@pytest.mark.parametrize("method", ["ctc", "attention"])
def test_an_export_of_core_ops(method, tmp_path):
    frames, mask = keras.Input((None, 6)), keras.Input((None,), dtype="bool")
    decoder = mm.TransformerDecoder(SIZE, 6, 8, 1, heads=2)
    ids = keras.Input((6,), dtype="int32")
    head = mm.JointDecoder(mm.CTC(SIZE), decoder, name="transcript")
    task = keras.Model([ids, frames, mask], head(ids, frames, mask))
    head.set_language_model(model())

    def serve(context, mask):
        return head.answer(context, mask, method=method, beam_width=4, language_weight=0.5)

    signature = [tf.TensorSpec([None, None, 6]), tf.TensorSpec([None, None], tf.bool)]
    served = tf.function(serve, input_signature=signature, autograph=False)
    archive = keras.export.ExportArchive()
    archive.track(task)
    archive.add_endpoint("serve", served)
    archive.write_out(str(tmp_path / "1"), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    context = np.random.default_rng(0).normal(size=(2, 9, 6)).astype("float32")
    for rows in (2, 0):
        shown = context[:rows], (np.arange(9) < [[9], [5]])[:rows]
        expected, found = serve(*shown), loaded.serve(*shown)
        np.testing.assert_array_equal(found["ids"], expected["ids"])
        np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-4)
    functions = served.get_concrete_function().graph.as_graph_def().library.function
    ops = {node.op for function in functions for node in function.node_def}
    assert not [op for op in ops if op.startswith(("Xla", "PyFunc", "EagerPy", "StatefulPy"))]


def test_chunks_give_the_answer_of_the_whole():
    head = mm.CTC(SIZE)
    head.set_language_model(model())
    search = head.search(beam_width=4)
    logits = np.random.default_rng(0).normal(0, 2, [2, 9, SIZE]).astype("float32")
    log_probs = tf.nn.log_softmax(logits)
    state = search.initial_state(2)
    for chunk in tf.split(log_probs, [4, 0, 5], axis=1):
        state = search.advance(chunk, state)
    found = search.finish(state)
    expected = search.finish(search.advance(log_probs, search.initial_state(2)))
    np.testing.assert_array_equal(found["ids"], expected["ids"])
    np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-5)
