"""Passages and spans: every token knows where it stands, and an answer is the text to the byte."""

import re
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mmkeras as mm

TEXTS = [
    "  A Dog\u3000runs: it's 3.5 km,\nso he's\ttired. ",
    "一只狗在草地上奔跑。Dog犬が走る",
    "family 👨‍👩‍👧‍👦 waves 👋🏽 \u0000\fहिन्दी\u00a0\u2028STRASSE İstanbul e\u0301",
]
KINDS = ["word", "character", "subword"]
quick = settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
texts = st.lists(
    st.sampled_from(TEXTS) | st.text(max_size=25) | st.text("aA 犬👋🏽'’.,3\n\u00a0", max_size=25),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def passages():
    made = {kind: mm.train_tokenizer(TEXTS * 3, kind, vocabulary_size=400) for kind in KINDS}
    return {kind: mm.Passage(tokenizer) for kind, tokenizer in made.items()}


@pytest.fixture(scope="module")
def in_graph(passages):
    """What `tokens` gives of any batch, traced once per kind."""
    signature = [tf.TensorSpec([None], tf.string)]
    return {kind: tf.function(each.tokens, signature) for kind, each in passages.items()}


def is_space(text):
    return all(unicodedata.category(c)[0] == "Z" or unicodedata.category(c) == "Cc" for c in text)


@quick
@given(texts=texts)
def test_words_are_those_of_the_tokenizer(passages, in_graph, texts):
    ids, begins, ends = in_graph["word"](texts)
    assert ids.to_list() == passages["word"].tokenizer.encode(texts).to_list()
    for text, *places in zip(texts, begins.to_list(), ends.to_list(), strict=True):
        at = 0
        for begin, end in zip(*places, strict=True):
            assert begin < end
            assert is_space(text.encode()[at:begin].decode())
            at = end
        assert is_space(text.encode()[at:].decode())


@pytest.mark.parametrize("kind", ["character", "subword"])
@quick
@given(texts=texts)
def test_all_tokens_of_a_word_stand_where_the_word_does(in_graph, kind, texts):
    _, *words = in_graph["word"](texts)
    _, *places = in_graph[kind](texts)
    for all_begins, begins in zip(places[0].to_list(), words[0].to_list(), strict=True):
        assert list(dict.fromkeys(all_begins)) == begins
    for all_ends, ends in zip(places[1].to_list(), words[1].to_list(), strict=True):
        assert list(dict.fromkeys(all_ends)) == ends


@quick
@given(texts=texts)
def test_tokens_spell_the_words(passages, in_graph, texts):
    ids, begins, ends = (x.to_list() for x in in_graph["subword"](texts))
    for text, spelled, *places in zip(texts, ids, begins, ends, strict=True):
        words = dict.fromkeys(zip(*places, strict=True))
        joined = b"".join(text.encode()[begin:end] for begin, end in words)
        found = passages["subword"].tokenizer.decode([spelled or [0]]).numpy()[0]
        assert found.replace(b" ", b"") == joined


@quick
@given(raw=st.lists(st.binary(max_size=30), min_size=1, max_size=4))
def test_bytes_that_are_no_text_are_parted_too(in_graph, raw):
    _, begins, ends = in_graph["word"](raw)
    for each, *places in zip(raw, begins.to_list(), ends.to_list(), strict=True):
        assert places == [sorted(places[0]), sorted(places[1])]
        assert all(0 <= begin <= end <= len(each) for begin, end in zip(*places, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@quick
@given(text=st.sampled_from(TEXTS) | st.text(min_size=1, max_size=40), data=st.data())
def test_an_answer_comes_back_to_the_character(passages, in_graph, kind, text, data):
    _, begins, ends = (x.to_list()[0] for x in in_graph["word"]([text]))
    if not begins:
        return
    first = data.draw(st.integers(0, len(begins) - 1))
    last = data.draw(st.integers(first, len(begins) - 1))
    begin, end = begins[first], ends[last]
    answer = text.encode()[begin:end].decode()
    span = mm.Span(passages[kind])
    loaded = span.load((text, [answer], [len(text.encode()[:begin].decode())]))
    _, places, weight = span.target("answer", span.column([loaded]))
    assert weight.numpy().tolist() == [[1, 1]]
    assert span.decode(places, [text]).numpy()[0].decode() == answer
    if kind == "word":
        assert places.numpy().tolist() == [[first + 1, last + 1]]


def test_ids_are_padded_to_the_longest_with_one_place_at_least(passages):
    passage = passages["word"]
    assert passage(["a dog runs", "a"]).shape == (2, 3)
    np.testing.assert_array_equal(passage([" \n", "\u3000"]), [[0], [0]])
    assert passage(tf.constant([], tf.string)).shape == (0, 1)
    short = mm.Passage(passage.tokenizer, sequence_length=2)
    np.testing.assert_array_equal(short(["a dog runs"]), passage(["a dog"]))


def fields(**options):
    words = mm.train_tokenizer(TEXTS, "word")
    passage = mm.Passage(words, **options)
    return mm.Preprocessor({"context": passage}, {"answer": mm.Span(passage)})


RECORDS = {
    "context": ["a dog runs", "👋🏽 犬が走る", "a dog", "so he's tired"],
    "answer": [["dog"], ["走る", "犬", "犬"], [], "he"],
    "answer_start": [[2], [5, 3, 3], [], 3],
}


def only(records, **options):
    return next(iter(mm.dataset(records, fields(**options), 10)))


def test_records_become_places(monkeypatch):
    monkeypatch.setattr(mm.preprocessing.passage, "_TEXTS_AT_ONCE", 2)
    _, y, weight = only(RECORDS)
    # What most people gave; none; a part of a word is the whole of it.
    assert y["answer"].numpy().tolist() == [[2, 2], [2, 2], [0, 0], [2, 2]]
    np.testing.assert_array_equal(weight["answer"], np.ones((4, 2)))


def test_an_answer_beyond_the_cut_teaches_nothing():
    with pytest.warns(UserWarning, match=r"2 of 4 answers do not end within the first 1 tokens"):
        _, y, weight = only(
            {**RECORDS, "answer": ["dog", "👋🏽", [], "he"]} | {"answer_start": [2, 0, [], 3]},
            sequence_length=1,
        )
    assert y["answer"].numpy().tolist() == [[0, 0], [1, 1], [0, 0], [0, 0]]
    np.testing.assert_array_equal(weight["answer"][:, 0], [0, 1, 1, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer_start": [[1], [5], [], 3]}, "the answer 'dog' should stand in its passage at 1"),
        ({"answer_start": [[-8], [5], [], 3]}, "should stand in its passage at -8. Received: ''"),
        ({"answer_start": [[99], [5], [], 3]}, "should stand in its passage at 99. Received: ''"),
        ({"answer_start": [["2"], [5], [], 3]}, "with a whole number where it begins"),
        ({"answer_start": [[], [5], [], 3]}, "as many answers as places where they begin"),
        ({"answer_start": [2, [5], [], 3]}, "a string or a list of these"),
        ({"answer": [[" "], ["走る"], [], "he"]}, "a string that is not empty"),
    ],
)
def test_a_span_that_is_wrong_names_its_record(change, message):
    records = {
        **RECORDS,
        "answer": [["dog"], ["走る"], [], "he"],
        "answer_start": [[2], [5], [], 3],
    }
    with pytest.raises(ValueError, match=f"record 0: 'answer': .*{message}"):
        only(records | change)
    with pytest.warns(UserWarning, match="skipped 1 wrong"):
        data = mm.dataset(records | change, fields(), 10, on_error="skip")
    _, y, _ = next(iter(data))
    assert y["answer"].numpy().tolist() == [[4, 5], [0, 0], [2, 2]]


def test_a_column_that_lacks_is_told():
    records = {key: RECORDS[key] for key in ("context", "answer")}
    with pytest.raises(ValueError, match=re.escape("should hold ['answer_start'], too, to find")):
        only(records)
    with pytest.raises(ValueError, match=r"equally long lists.*'answer_start': 1"):
        only({**records, "answer_start": [[2]]})


def test_what_is_no_passage_is_refused():
    words = mm.train_tokenizer(TEXTS, "word")
    with pytest.raises(ValueError, match="`passage` should be a Passage field"):
        mm.Span(mm.Text(words))
    with pytest.raises(ValueError, match=r"its passage should be a string\. Received: None"):
        mm.Span(mm.Passage(words)).load((None, [], []))


def test_fields_come_back_from_their_configs():
    before = fields(sequence_length=3)
    after = mm.Preprocessor.from_config(before.get_config())
    assert after.get_config() == before.get_config()
    np.testing.assert_array_equal(after.inputs["context"](TEXTS), before.inputs["context"](TEXTS))
    decode = tf.function(after.targets["answer"].decode, autograph=False)
    found = decode(tf.constant([[[1, 2], [0, 0]]]), tf.constant(["A Dog runs"]))
    assert found.numpy().tolist() == [[b"A Dog", b""]]


def test_the_words_of_a_passage_are_spelled_as_they_are():
    span = mm.Span(mm.Passage(mm.train_tokenizer(TEXTS, "word")))
    found = span.spelled(tf.zeros([2, 2], tf.int32), tf.constant(["A  Dog", "犬"]))
    assert [[x.decode() for x in row] for row in found.numpy()] == [["A", "Dog"], ["犬", ""]]
