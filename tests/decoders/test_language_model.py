import gzip
import itertools
import math
from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import mmkeras as mm
from mmkeras.decoders import ngrams
from mmkeras.decoders.ctc import CTC
from mmkeras.decoders.hot_words import HotWords
from mmkeras.decoders.language_model import NgramLanguageModel
from mmkeras.decoders.prefix_search import PrefixSearch
from mmkeras.decoders.spelling import hot_word_ids

TEXTS = ["a dog runs", "a cat runs", "the dog sees a cat", "a dog", "the cat runs to a dog"]
few = settings(max_examples=10, deadline=None, derandomize=True)
sentences = st.lists(st.lists(st.sampled_from("abcde"), max_size=6), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def letters():
    return mm.train_tokenizer([*TEXTS, "z"], kind="character")


def probability(tables, history, word):
    """By the definition of a backoff model."""
    gram = (*history, word)
    if gram in tables[len(gram) - 1]:
        return 10 ** tables[len(gram) - 1][gram][0]
    weight = tables[len(history) - 1].get(tuple(history), (0, 0))[1]
    return 10**weight * probability(tables, history[1:], word)


@few
@given(sentences, st.integers(1, 4))
def test_probabilities_sum_to_one_after_any_history(texts, order):
    tables = ngrams.estimate(texts, order)
    words = [word for (word,) in tables[0] if word != "<s>"]
    seen = {gram[:n] for table in tables for gram in table for n in range(order)}
    for history in [*seen, ("a", "a", "a")[: order - 1], ("e", "?", "b")[: order - 1]]:
        if len(history) < order:
            total = sum(probability(tables, history, word) for word in words)
            assert total == pytest.approx(1)


def many_texts():
    random = np.random.default_rng(0)
    words = list("abcdefghijklmnop")
    odds = 1 / np.arange(1, 17) ** 1.2
    lengths = random.integers(1, 9, 150)
    return [random.choice(words, n, p=odds / odds.sum()).tolist() for n in lengths]


def test_bigrams_equal_the_formula_of_chen_and_goodman():
    texts = many_texts()
    tables = ngrams.estimate(texts, 2)
    pairs = Counter()
    for text in texts:
        pairs.update(itertools.pairwise(["<s>", *text, "</s>"]))

    def discounts(counts):
        n = Counter(counts.values())
        y = n[1] / (n[1] + 2 * n[2])
        return [0, *(k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3))]

    d = discounts(pairs)
    assert all(d[1:])
    follows = Counter(second for _, second in pairs)  # how many words each follows
    # So few words have no counts of 1: the lower order is Witten and Bell's.
    types, total, size = len(follows), sum(follows.values()), len(follows) + 1

    def lower(word):
        return (follows[word] + types / size) / (total + types)

    def higher(first, second):
        after = [count for (one, _), count in pairs.items() if one == first]
        left = sum(d[min(count, 3)] for count in after) / sum(after)
        count = pairs[first, second]
        return (count - d[min(count, 3)]) / sum(after) + left * lower(second)

    assert 10 ** tables[0][("a",)][0] == pytest.approx(lower("a"))
    assert 10 ** tables[0][("<unk>",)][0] == pytest.approx(lower("?"))
    for pair in list(pairs)[:40]:
        assert 10 ** tables[1][pair][0] == pytest.approx(higher(*pair))


def test_scores_equal_the_definition_with_backoff(letters):
    model = NgramLanguageModel.train(TEXTS, letters, order=3)
    tables = ngrams.estimate([text.split() for text in TEXTS], 3)
    for text in [*TEXTS, "dog cat a", "z the runs", ""]:
        words = ["<s>", *(w if w in model.words else "<unk>" for w in text.split()), "</s>"]
        expected = [
            probability(tables, tuple(words[max(0, i - 2) : i]), words[i])
            for i in range(1, len(words))
        ]
        wanted = math.exp(-np.log(expected).sum() / len(expected))
        assert model.perplexity([text], letters) == pytest.approx(wanted, rel=1e-4)


# By KenLM 0.3.0 (its Python module): `kenlm.Model(path).score("...")` of this very file.
ARPA = """\\data\\
ngram 1=6
ngram 2=5
ngram 3=2

\\1-grams:
-1.5\t<unk>\t0
-99\t<s>\t-0.3
-0.9\t</s>
-0.7\ta\t-0.25
-0.8\tdog\t-0.1
-1.1\truns\t-0.2

\\2-grams:
-0.2\t<s> a\t-0.15
-0.4\ta dog\t-0.05
-0.5\tdog runs\t0
-0.6\tdog </s>
-0.1\truns </s>

\\3-grams:
-0.12\t<s> a dog
-0.07\tdog runs </s>

\\end\\
"""
KENLM = {
    "a dog runs": -0.94,
    "a dog": -0.97,
    "dog a": -3.05,
    "runs": -1.5,
    "a cat dog": -3.5,
    "": -1.2,
}


@pytest.fixture
def arpa(tmp_path):
    path = tmp_path / "words.arpa"
    path.write_text(ARPA, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", KENLM)
def test_scores_of_a_file_equal_kenlm(arpa, letters, text):
    model = NgramLanguageModel.from_arpa(arpa, letters)
    units = len(text.split()) + 1
    score = -math.log10(model.perplexity([text], letters)) * units
    assert score == pytest.approx(KENLM[text], abs=1e-4)


@pytest.mark.parametrize("unit", ["word", "token"])
def test_a_written_file_reads_as_it_was(tmp_path, letters, unit):
    model = NgramLanguageModel.train(TEXTS, letters, order=3, unit=unit)
    model.to_arpa(tmp_path / "model.arpa.gz")
    again = NgramLanguageModel.from_arpa(tmp_path / "model.arpa.gz", letters, unit=unit)
    assert again.sizes == model.sizes
    assert set(again.words) == set(model.words)
    texts = [*TEXTS, "z dog"]
    expected = model.perplexity(texts, letters)
    assert again.perplexity(texts, letters) == pytest.approx(expected, rel=1e-4)


FAULTS = {
    "no data": ("\\data\\", "nothing", "from `"),
    "count": ("ngram 1=6", "ngram 1=7", r"line 14.*7 different 1-grams.*Received: 6"),
    "header": ("ngram 2=5", "ngram 3=5", r"line 3: should be `ngram 2=COUNT`"),
    "words": ("a dog\t-0.05", "a\t-0.05", r"line 16: should be 2 words that are 1-grams"),
    "number": ("-0.8\tdog", "minus\tdog", r"line 11: should be numbers"),
    "above one": ("-0.8\tdog", "0.8\tdog", r"line 11.*at most 0"),
    "context": ("<s> a dog", "</s> a dog", r"line 22.*first 2 words"),
    "section": ("\\3-grams:", "\\4-grams:", r"line 21: should be `.3-grams:`"),
    "end": ("\\end\\", "", r"the end of the file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_at_fault_is_named_with_its_line(arpa, letters, fault):
    old, new, message = FAULTS[fault]
    arpa.write_text(ARPA.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        NgramLanguageModel.from_arpa(arpa, letters)
    assert str(arpa) in str(caught.value)


def test_a_file_that_is_no_text(tmp_path, letters):
    for name, data in {
        "a.arpa.gz": b"no gzip",
        "b.arpa.gz": gzip.compress(b"\\data\\")[:-9],
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=name):
            NgramLanguageModel.from_arpa(tmp_path / name, letters)


def log_probabilities(seed, frames, vocabulary, scale=2.0):
    logits = np.random.default_rng(seed).normal(0, scale, [2, frames, vocabulary])
    return tf.nn.log_softmax(logits.astype("float32"))


def whole(search, log_probs):
    return search.finish(search.advance(log_probs, search.initial_state(log_probs.shape[0])))


def texts_of(log_probs):
    totals = {}
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        text = tuple(token for token, _ in itertools.groupby(path) if token)
        value = log_probs[range(len(path)), path].sum(dtype="float64")
        totals[text] = np.logaddexp(totals.get(text, -np.inf), value)
    return totals


SMALL = ["ab b", "b ab", "ab ab a", "b"]


@pytest.fixture(scope="module")
def small():
    return mm.train_tokenizer(SMALL, kind="character")  # ids 4, 5 and 6 for "b", "a" and " "


@pytest.mark.parametrize(("unit", "unknown"), [("word", -3.0), ("word", None), ("token", 0.0)])
def test_fusion_equals_brute_force(small, unit, unknown):
    model = NgramLanguageModel.train(SMALL, small, order=3, unit=unit)
    tables = ngrams.estimate(
        [list(t.replace(" ", "▁")) if unit == "token" else t.split() for t in SMALL], 3
    )
    log_probs = log_probabilities(3, 5, small.vocabulary_size).numpy()
    log_probs[..., [1, 2, 3]] = -1e30
    weight, bonus = 0.7, 0.4

    def score(ids):
        text = small.decode([ids or (0,)]).numpy()[0].decode()
        if unit == "token":
            words = list(text.replace(" ", "▁"))
        elif text.startswith(" ") or "  " in text:
            return -np.inf
        else:
            words = text.split()
        total = 0.0
        history = ("<s>",)
        for word in [*words, "</s>"]:
            known = (word,) in tables[0]
            value = math.log(probability(tables, history, word if known else "<unk>"))
            total += weight * value
            if word != "</s>":
                total += bonus
            if not known:
                total += -np.inf if unknown is None else unknown
            history = (*history, word if known else "<unk>")[-2:]
        return total

    found = whole(PrefixSearch(400, 3, {"lm": model.scorer(weight, bonus, unknown)}), log_probs)
    for example in range(2):
        totals = {
            tuple(i + 3 for i in t): v + score(tuple(i + 3 for i in t))
            for t, v in texts_of(log_probs[example][:, [0, 4, 5, 6]]).items()
        }
        best = sorted(totals.items(), key=lambda item: -item[1])[:3]
        ids = [tuple(row[row != 0].tolist()) for row in found["ids"].numpy()[example]]
        assert ids == [text for text, _ in best]
        np.testing.assert_allclose(found["scores"][example], [v for _, v in best], atol=1e-3)


def spoken(tokenizer, text, sure=0.6, frames=2):
    """Log-probabilities that say a text, `sure` of each token in so many frames."""
    ids = np.repeat([i for t in tokenizer.encode([text]).to_list()[0] for i in (0, t)], frames)
    frames = np.full([1, len(ids), tokenizer.vocabulary_size], 0.001)
    frames[0, range(len(ids)), ids] = sure
    return np.log(frames / frames.sum(-1, keepdims=True)).astype("float32")


@pytest.mark.parametrize("kind", ["character", "subword", "word"])
def test_a_model_of_words_makes_words_of_any_tokens(kind):
    texts = [*TEXTS, "tha cet", "dag"] * 3
    size = {"character": 40, "subword": 290, "word": 40}[kind]
    tokenizer = mm.train_tokenizer(texts, kind=kind, vocabulary_size=size)
    model = NgramLanguageModel.train(TEXTS, tokenizer, order=3)
    log_probs = spoken(tokenizer, "the dag")
    if kind != "word":
        dog, dag = (tokenizer.encode([f"the {w}"]).to_list()[0] for w in ("dog", "dag"))
        assert dog != dag
    heard = tokenizer.decode(whole(PrefixSearch(8), log_probs)["ids"][:, 0]).numpy()
    assert heard.tolist() == [b"the dag"]
    closed = PrefixSearch(60, 1, {"lm": model.scorer(0.5, 0.0, None)})
    answer = whole(closed, log_probs)
    said = tokenizer.decode(answer["ids"][:, 0]).numpy()[0].decode()
    assert np.isfinite(answer["scores"]).all()
    assert set(said.split()) <= set(model.words)


def test_a_head_keeps_its_model_and_may_get_one_when_trained(tmp_path, letters):
    inputs = keras.Input((None, 6))
    head = CTC(letters.vocabulary_size, name="transcript")
    task = keras.Model(inputs, head(inputs))
    before = head.answer(np.ones((1, 9, 6)), beam_width=4)["scores"]
    head.set_language_model(NgramLanguageModel.train(TEXTS, letters, order=1))
    head.set_language_model(NgramLanguageModel.train(TEXTS, letters, order=2))
    assert len(head.trainable_variables) == 2
    context = np.random.default_rng(0).normal(size=(2, 9, 6)).astype("float32")
    expected = head.answer(context, beam_width=4, n_best=2)
    task.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").get_layer("transcript")
    found = again.answer(context, beam_width=4, n_best=2)
    np.testing.assert_array_equal(found["ids"], expected["ids"])
    np.testing.assert_allclose(found["scores"], expected["scores"])
    again.language_model.to_arpa(tmp_path / "model.arpa")
    without = head.answer(np.ones((1, 9, 6)), beam_width=4, language_weight=0)["scores"]
    np.testing.assert_allclose(without, before)


def test_refuses_a_model_for_other_tokens(letters):
    model = NgramLanguageModel.train(TEXTS, letters)
    with pytest.raises(ValueError, match="vocabulary_size"):
        CTC(letters.vocabulary_size + 1, language_model=model)


@pytest.mark.parametrize("bad", [{"order": 0}, {"order": 1.5}, {"unit": "letter"}])
def test_refuses_bad_arguments(letters, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        NgramLanguageModel.train(TEXTS, letters, **bad)


def test_refuses_texts_that_say_what_only_a_model_may(letters):
    with pytest.raises(ValueError, match="at least one text"):
        NgramLanguageModel.train([], letters)
    with pytest.raises(ValueError, match="</s>"):
        ngrams.estimate([["a", "</s>"]], 2)


def bonus_of(words, ids):
    """What hot words add to a text, token by token."""
    state = {"place": tf.fill([1, 1], words.start)}
    total = 0.0
    for token in ids:
        total += float(words.score(state, tf.constant([[token]]))[0, 0, 0])
        state = words.advance(state, tf.constant([[token]]))
    return total + float(words.end(state)[0, 0])


@few
@given(
    st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.integers(1, 3), max_size=8),
)
def test_hot_words_pay_for_whole_phrases_only(phrases, text):
    found = any(text[i : i + len(p)] == p for p in phrases for i in range(len(text) - len(p) + 1))
    words = HotWords([*phrases, [1, 2]], 4)  # which begin and end with different tokens
    found |= any(text[i : i + 2] == [1, 2] for i in range(len(text)))
    assert words.boundary is None
    assert (bonus_of(words, text) > 0) == found


def test_hot_words_of_characters_are_whole_words(letters):
    words = HotWords(hot_word_ids(["cat"], letters), letters.vocabulary_size, bonus=2.0)
    for text, bonus in {"cat": 10, "a cat runs": 10, "cats": 0, "a cat": 10, "tcat": 0}.items():
        assert bonus_of(words, letters.encode([text]).to_list()[0]) == bonus


@pytest.mark.parametrize("kind", ["character", "subword", "word"])
def test_hot_words_turn_an_answer(kind):
    tokenizer = mm.train_tokenizer(["a dog dag"], kind=kind, vocabulary_size=260)
    dog, dag = (spoken(tokenizer, f"a {word}", frames=1) for word in ("dog", "dag"))
    assert dog.shape == dag.shape
    log_probs = np.logaddexp(dog, dag + 0.4)
    head = CTC(tokenizer.vocabulary_size)
    for hot, said in {(): b"a dag", ("dog",): b"a dog"}.items():
        search = head.search(beam_width=4, hot_words=hot_word_ids(hot, tokenizer))
        answer = whole(search, tf.constant(log_probs))
        assert tokenizer.decode(answer["ids"][:, 0]).numpy().tolist() == [said]


def test_refuses_empty_hot_words():
    with pytest.raises(ValueError, match="hot_words"):
        HotWords([()], 5)
