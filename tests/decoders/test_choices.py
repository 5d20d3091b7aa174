"""Searches that write one of some texts, against the likeliest of these by the definition."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import mmkeras as mm
from mmkeras.decoders.choices import Choices
from mmkeras.decoders.search import beam, search

SIZE, LONGEST, END = 8, 4, 2
few = settings(max_examples=8, deadline=None, derandomize=True)
texts = st.lists(st.integers(3, SIZE - 1), min_size=1, max_size=LONGEST).map(tuple)
choices = st.lists(texts, min_size=1, max_size=9, unique=True)


def table(seed, examples=2):
    """Logits by example, position and last id."""
    random = np.random.default_rng(seed)
    return random.normal(0, 2, [examples, LONGEST + 1, SIZE, SIZE]).astype("float32")


def step(ids, state, index):
    return tf.gather(state["table"][:, index], ids, batch_dims=1), state


def score(logits, text, penalty):
    """What a search should give for a text of one example."""
    total, last = 0.0, 1
    for index, token in enumerate([*text, END]):
        row = logits[index, last].astype("float64")
        total += row[token] - np.log(np.exp(row).sum())
        last = token
    return total / ((6 + len(text)) / 6) ** penalty


def written(found, example):
    return [tuple(row[row != 0].tolist()) for row in found["ids"].numpy()[example]]


@few
@given(seed=st.integers(0, 99), chosen=choices, penalty=st.sampled_from([0.0, 0.6, 2.0]))
def test_as_many_beams_as_choices_find_the_likeliest_in_order(seed, chosen, penalty):
    logits, count = table(seed), len(chosen)
    found = beam(
        *(step, {"table": tf.constant(logits)}, 2, LONGEST + 1),
        scorers={"choices": Choices(chosen, SIZE)},
        beam_width=count,
        n_best=count,
        length_penalty=penalty,
    )
    for example in range(2):
        totals = {text: score(logits[example], text, penalty) for text in chosen}
        best = sorted(totals, key=totals.get, reverse=True)
        assert written(found, example) == best
        np.testing.assert_allclose(
            found["scores"][example], [totals[text] for text in best], atol=1e-4
        )


@few
@given(seed=st.integers(0, 99), chosen=choices)
@pytest.mark.parametrize(
    "options",
    [{}, {"beam_width": 2}, {"samples": 5, "seed": 1, "temperature": 3.0}, {"top_k": 2, "seed": 3}],
)
def test_whatever_the_search_an_answer_is_a_choice(options, seed, chosen):
    state = {"table": tf.constant(table(seed))}
    found = search(step, state, 2, LONGEST + 1, {"choices": Choices(chosen, SIZE)}, **options)
    assert np.isfinite(found["scores"]).all()
    for example in range(2):
        assert set(written(found, example)) <= set(chosen)


def test_memory_is_that_of_the_texts_and_not_of_the_vocabulary():
    random = np.random.default_rng(0)
    answers = {tuple(random.integers(3, 2000, random.integers(1, 4))) for _ in range(3000)}
    trie = Choices(answers, 2000)
    beginnings = {text[:end] for text in answers for end in range(1, len(text) + 1)}
    assert len(trie.edges) == len(beginnings) + 1
    assert trie.edges.nbytes + trie.whole.nbytes < 10 * (len(beginnings) + 2)


@pytest.mark.parametrize("bad", [[], [()], [(4,), (8,)], [(0, 4)]])
def test_what_is_no_text_is_refused(bad):
    with pytest.raises(ValueError, match="`choices` should hold texts of at least one token id"):
        Choices(bad, SIZE)


ANSWERS = ["yes", "New York", "new town", "it's 3.5"]
WORDS = mm.train_tokenizer([*ANSWERS, "where is it"], "word")
FIELD = mm.Answer(WORDS, choices=ANSWERS)
CONTEXT = np.random.default_rng(1).normal(size=(3, 4, 5)).astype("float32")


def decoder(make=mm.TransformerDecoder, **options):
    keras.utils.set_random_seed(2)
    head = make(WORDS.vocabulary_size, 9, 16, choices=FIELD.choice_ids(), name="answer", **options)
    head(np.ones((3, 9), "int32"), CONTEXT)
    return head


@pytest.mark.parametrize("make", [mm.LSTMDecoder, mm.TransformerDecoder])
def test_decoders_answer_with_choices_as_they_were_given(make):
    found = decoder(make).answer(CONTEXT, beam_width=4, n_best=4)
    answers = FIELD.decode(found["ids"]).numpy()
    assert [sorted(x.decode() for x in row) for row in answers] == [sorted(ANSWERS)] * 3
    assert (np.diff(found["scores"]) <= 0).all()


def test_choices_are_saved_with_the_task_and_exported(tmp_path):
    question = mm.Text(WORDS, 5)
    encoder = mm.text_rnn(WORDS.vocabulary_size, bidirectional=False, size="tiny")
    task = mm.assemble(
        {"question": (question, encoder)},
        {"answer": (FIELD, decoder(mm.LSTMDecoder))},
        CONTEXT.shape[2],
    )
    questions = {"question": ["where is it", "it"]}
    found = task.infer(questions, beam_width=2)
    assert set(found["answer"]) <= set(ANSWERS)
    task.save(tmp_path / "task.keras")
    again = keras.models.load_model(tmp_path / "task.keras")
    assert again.infer(questions, beam_width=2) == found
    exported = mm.Export(mm.export(task, tmp_path / "export", beam_width=2))
    assert exported.infer(questions)["answer"] == found["answer"]
    best = exported.infer(questions, "nbest")["answer"]
    assert all(set(row) <= set(ANSWERS) and len(set(row)) == 2 for row in best)


def test_builders_take_them():
    task = mm.visual_question_answering(WORDS, FIELD, 32, size="tiny")
    head = task.get_layer("answer")
    assert head.get_config()["choices"] == FIELD.choice_ids()
    assert mm.Answer.from_config(FIELD.get_config()).choices == ANSWERS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 2}, "`max_length` should be above 3, the tokens of the longest choice."),
        ({"min_length": 2}, "`min_length` should not be given where answers are chosen"),
        ({"no_repeat_ngram": 2}, "`no_repeat_ngram` should not be given"),
    ],
)
def test_options_that_would_break_off_a_choice_are_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        decoder().answer(CONTEXT, **options)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "`choices` should be strings, at least one"),
        ([3], "`choices` should be strings, at least one"),
        (["yes", "mauve"], "that the tokenizer knows. Received: 'mauve'"),
        (["yes", " "], "`choices` should have 1 to 8 tokens"),
        (["yes " * 9], "`choices` should have 1 to 8 tokens"),
        (["yes", "Yes"], "should differ in their tokens. Received: 'yes' and 'Yes'"),
        (["yes", "yes"], "should differ in their tokens. Received: 'yes' and 'yes'"),
    ],
)
def test_bad_choices_are_refused(bad, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        mm.Answer(WORDS, choices=bad)
