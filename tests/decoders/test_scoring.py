"""Language models and hot words in the searches of all heads, against all texts that there are."""

import functools
import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm
from mmkeras.decoders import search
from mmkeras.decoders.prefix_search import PrefixSearch

TEXTS = ["ab b", "b ab", "ab ab a", "b"]
LETTERS = mm.train_tokenizer(TEXTS, kind="character")  # ids 4, 5 and 6 for "b", "a" and " "
SIZE, LONGEST = LETTERS.vocabulary_size, 3
WEIGHT, BONUS, UNKNOWN = 0.7, 0.4, -3.0
HOT = mm.hot_word_ids(["ab"], LETTERS)


def neural():
    keras.utils.set_random_seed(3)
    model = mm.LSTMLanguageModel(SIZE, width=8, depth=2)
    model.build((None, None))
    # So that it is sure of something.
    model.set_weights([3 * weights for weights in model.get_weights()])
    return model


MODELS = {
    "words": lambda: mm.NgramLanguageModel.train(TEXTS, LETTERS, order=3),
    "tokens": lambda: mm.NgramLanguageModel.train(TEXTS, LETTERS, order=3, unit="token"),
    "neural": neural,
}


@pytest.fixture(scope="module", params=MODELS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def model(kind):
    return MODELS[kind]()


def all_texts():
    """Of so many tokens at most; as ids."""
    for length in range(LONGEST + 1):
        yield from itertools.product((4, 5, 6), repeat=length)


def spelled(ids):
    return LETTERS.decode([ids or (0,)]).numpy()[0].decode()


@functools.cache
def added(model, kind, ids):
    """What a model adds to a text, and hot words, by the definition."""
    text = spelled(ids)
    units = text.split() if kind == "words" else list(text)
    if kind == "words" and (text[:1] == " " or "  " in text):
        return -np.inf
    total = -math.log(model.perplexity([text], LETTERS)) * (len(units) + 1) * WEIGHT
    total += BONUS * len(units)
    if kind == "words":
        total += UNKNOWN * sum(word not in model.words for word in units)
    return total + 4 * 0.9 * ("ab" in text.split())


def options():
    return {
        "language_weight": WEIGHT,
        "word_bonus": BONUS,
        "unknown_penalty": UNKNOWN,
        "hot_words": HOT,
        "hot_word_bonus": 0.9,
    }


def head_with(model):
    head = mm.CTC(SIZE, name="transcript")
    head.set_language_model(model)
    return head


def best_of(totals, count=3):
    best = sorted(totals.items(), key=lambda item: -item[1])[:count]
    return [text for text, _ in best], [score for _, score in best]


def check(found, example, totals):
    texts, scores = best_of(totals)
    ids = [tuple(row[row != 0].tolist()) for row in found["ids"].numpy()[example]]
    assert ids == texts
    np.testing.assert_allclose(found["scores"][example], scores, atol=1e-3)


def said_by_ctc(log_probs):
    totals = {}
    for path in itertools.product((0, 4, 5, 6), repeat=len(log_probs)):
        text = tuple(token for token, _ in itertools.groupby(path) if token)
        value = log_probs[range(len(path)), path].sum(dtype="float64")
        totals[text] = np.logaddexp(totals.get(text, -np.inf), value)
    return totals


def test_ctc_equals_brute_force(model, kind):
    logits = np.random.default_rng(3).normal(0, 2, [2, 3, SIZE]).astype("float32")
    logits[..., [1, 2, 3]] = -1e30
    log_probs = tf.nn.log_softmax(logits).numpy()
    searching = PrefixSearch(300, 3, head_with(model).scorers(**options()))
    found = searching.finish(searching.advance(log_probs, searching.initial_state(2)))
    for example in range(2):
        totals = said_by_ctc(log_probs[example])
        check(found, example, {t: v + added(model, kind, t) for t, v in totals.items()})


TABLE = np.random.default_rng(0).normal(0, 2, [2, LONGEST + 1, SIZE, SIZE]).astype("float32")
TABLE[..., 3] = -1e30


def step(ids, state, index):
    return tf.gather(state["table"][:, index], ids, batch_dims=1), state


def written(table, ids):
    """The log-probability of a text and its end by the table of an example."""
    log_probs = tf.nn.log_softmax(table).numpy()
    pairs = itertools.pairwise([1, *ids, 2])
    return sum(log_probs[i, before, after] for i, (before, after) in enumerate(pairs))


@pytest.mark.parametrize("penalty", [0.0, 0.6])
def test_attention_equals_brute_force(model, kind, penalty):
    scorers = head_with(model).scorers(**options())
    found = search.beam(
        *(step, {"table": tf.constant(TABLE)}, 2, LONGEST + 1, scorers),
        beam_width=90,
        n_best=3,
        length_penalty=penalty,
    )
    for example in range(2):
        totals = {
            ids: (written(TABLE[example], ids) + added(model, kind, ids))
            / ((6 + len(ids)) / 6) ** penalty
            for ids in all_texts()
        }
        check(found, example, totals)


def test_a_beam_does_not_stop_before_what_a_bonus_makes_better():
    """Log-probabilities only fall, so that without one the first answer would do."""
    table = np.full([1, 4, SIZE, SIZE], -9.0, "float32")
    table[:, :3, :, 2], table[:, :3, :, 4], table[:, 3, :, 2] = 2.0, 0.0, 2.0
    state = {"table": tf.constant(table)}
    scorers = head_with(None).scorers(hot_words=((4, 4, 4),), hot_word_bonus=4.0)
    found = search.beam(step, state, 1, 4, scorers, beam_width=2)
    assert found["ids"].numpy().tolist() == [[[4, 4, 4, 0]]]
    assert search.beam(step, state, 1, 4, beam_width=2)["lengths"].numpy().tolist() == [[0]]


@pytest.mark.parametrize("search_options", [{}, {"samples": 2, "seed": 1}, {"beam_width": 3}])
def test_scores_are_of_what_was_written(model, kind, search_options):
    scorers = head_with(model).scorers(**options())
    state = {"table": tf.constant(TABLE)}
    found = search.search(step, state, 2, LONGEST + 1, scorers, length_penalty=0, **search_options)
    scores = found["scores"].numpy()
    for example, rows in enumerate(found["ids"].numpy()):
        for row, score in zip(rows, scores[example], strict=True):
            ids = tuple(row[row != 0].tolist())
            total = written(TABLE[example], ids) + added(model, kind, ids)
            assert score == pytest.approx(total, abs=1e-3)


CONTEXT = np.random.default_rng(1).normal(size=(2, 4, 5)).astype("float32")


def decoder():
    keras.utils.set_random_seed(1)
    decoder = mm.TransformerDecoder(SIZE, LONGEST + 1, 16, 1, heads=2, name="decoder")
    decoder(np.ones((2, LONGEST + 1), "int32"), CONTEXT)
    return decoder


def test_a_decoder_takes_the_options(model, tmp_path):
    inputs = keras.Input((LONGEST + 1,), dtype="int32"), keras.Input((None, 5))
    head = decoder()
    task = keras.Model(inputs, head(*inputs))
    before = head.answer(CONTEXT, beam_width=4)
    head.set_language_model(model)
    trained = len(task.trainable_variables)
    found = head.answer(CONTEXT, beam_width=4, n_best=2, **options())
    assert not np.allclose(found["scores"][:, :1], before["scores"])
    without = head.answer(CONTEXT, beam_width=4, language_weight=0)
    np.testing.assert_allclose(without["scores"], before["scores"])
    assert len(task.trainable_variables) == trained
    task.save(tmp_path / "task.keras")
    again = keras.models.load_model(tmp_path / "task.keras")
    assert len(again.trainable_variables) == trained
    again = again.get_layer("decoder")
    loaded = again.answer(CONTEXT, beam_width=4, n_best=2, **options())
    np.testing.assert_array_equal(loaded["ids"], found["ids"])
    np.testing.assert_allclose(loaded["scores"], found["scores"], rtol=1e-5)


def test_both_kinds_join_ctc_and_attention(model, kind):
    head = mm.JointDecoder(mm.CTC(SIZE), decoder(), name="transcript")
    head(np.ones((2, LONGEST + 1), "int32"), CONTEXT)
    head.ctc.output_layer.bias.assign([0, -99, -99, -99, 0, 0, 0])
    head.set_language_model(model)
    found = head.answer(CONTEXT, n_best=200, beam_width=200, ctc_weight=0.4, **options())
    heard = head.answer(CONTEXT, method="ctc", n_best=200, beam_width=200, language_weight=0)
    for example in range(2):
        ids, scores = found["ids"].numpy()[example, :5], found["scores"].numpy()[example, :5]
        said = {
            tuple(row[row != 0].tolist()): score
            for row, score in zip(
                heard["ids"][example].numpy(), heard["scores"][example].numpy(), strict=True
            )
        }
        for row, score in zip(ids, scores, strict=True):
            text = tuple(row[row != 0].tolist())
            read = head.log_probability(np.array([[row]]), CONTEXT[example : example + 1])[0, 0]
            total = 0.4 * said[text] + 0.6 * read + added(model, kind, text)
            assert score == pytest.approx(float(total), abs=1e-2)
    alone = head.answer(CONTEXT, method="attention", beam_width=3, **options())
    head.decoder.set_language_model(model)
    expected = head.decoder.answer(CONTEXT, beam_width=3, **options())
    np.testing.assert_allclose(alone["scores"], expected["scores"])


def test_refuses_options_out_of_range():
    with pytest.raises(ValueError, match="language_weight"):
        head_with(neural()).scorers(language_weight=-1)
    with pytest.raises(ValueError, match=r"among \['beam_width', 'n_best', 'language_weight'"):
        head_with(None).search(temperature=2.0)
    with pytest.raises(ValueError, match="vocabulary_size=9"):
        head_with(mm.LSTMLanguageModel(9, width=4))
