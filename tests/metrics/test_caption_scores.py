"""Properties, errors and the printed form of the caption metrics."""

import doctest
import importlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkeras.metrics import Bleu, CiderD, DocumentFrequency, RougeL, caption_scores, format_scores

METRICS = [Bleu, RougeL, CiderD]
HIGHEST = {"CIDEr-D": 10.0}

CANDIDATES = ["a dog runs on grass", "two cats sleep on a red sofa", "a man rides a horse"]
REFERENCES = [
    ["a brown dog runs on the grass", "the dog is running"],
    ["two cats sleep on a red sofa", "cats on a sofa"],
    ["a man is riding a horse on a beach", "a rider", "man on a horse"],
]

word = st.sampled_from(["a", "dog", "cat", "runs", "on", "grass", "red"])
sentence = st.lists(word, max_size=8).map(" ".join)
plain_item = st.tuples(sentence, st.lists(sentence, min_size=1, max_size=4))
wild_item = st.tuples(st.text(), st.lists(st.text(), min_size=1, max_size=3))
items = st.lists(plain_item, min_size=1, max_size=6)


def scored(make, pairs):
    metric = make()
    metric.update([candidate for candidate, _ in pairs], [refs for _, refs in pairs])
    return metric.result(), metric.per_item()


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("make", METRICS)
@given(pairs=st.lists(plain_item | wild_item, min_size=1, max_size=5))
def test_scores_of_any_text_are_bounded(make, pairs):
    result, per_item = scored(make, pairs)
    for name, value in result.items():
        assert isinstance(value, float)
        assert 0 <= value <= HIGHEST.get(name, 1.0) + 1e-9
        assert per_item[name].shape == (len(pairs),)
        assert np.all((per_item[name] >= 0) & (per_item[name] <= HIGHEST.get(name, 1.0) + 1e-9))


@pytest.mark.parametrize("make", METRICS)
@given(pairs=items, data=st.data())
def test_streaming_equals_one_update(make, pairs, data):
    cut = data.draw(st.integers(0, len(pairs)))
    metric = make()
    for part in (pairs[:cut], pairs[cut:]):
        metric.update([candidate for candidate, _ in part], [refs for _, refs in part])
    result, per_item = scored(make, pairs)
    assert_same(metric.result(), result)
    assert_same(metric.per_item(), per_item)


@pytest.mark.parametrize("make", METRICS)
@given(pairs=items, data=st.data())
def test_order_of_items_and_references_does_not_matter(make, pairs, data):
    shuffled = [
        (candidate, data.draw(st.permutations(refs)))
        for candidate, refs in data.draw(st.permutations(pairs))
    ]
    assert_same(scored(make, shuffled)[0], scored(make, pairs)[0])


@given(st.lists(st.lists(word, min_size=4, max_size=9).map(" ".join), min_size=1, max_size=5))
def test_a_reference_as_candidate_is_perfect(captions):
    pairs = [(caption, [caption, "something else here"]) for caption in captions]
    for name, value in scored(Bleu, pairs)[0].items():
        assert value == pytest.approx(1.0), name
    assert scored(RougeL, pairs)[0]["ROUGE-L"] == pytest.approx(1.0)


def test_cider_of_distinct_references_as_candidates_is_ten():
    captions = ["a dog runs on grass", "two cats sleep inside now", "one man rides his horse"]
    pairs = [(caption, [caption]) for caption in captions]
    assert scored(CiderD, pairs)[0]["CIDEr-D"] == pytest.approx(10.0)


@given(st.lists(word, max_size=9), st.lists(word, min_size=1, max_size=9))
def test_rouge_finds_the_longest_common_subsequence(candidate, reference):
    table = np.zeros((len(candidate) + 1, len(reference) + 1), int)
    for row, ours in enumerate(candidate):
        for column, theirs in enumerate(reference):
            table[row + 1, column + 1] = (
                table[row, column] + 1
                if ours == theirs
                else max(table[row, column + 1], table[row + 1, column])
            )
    common = table[-1, -1]
    expected = 0.0
    if common:
        precision, recall = common / len(candidate), common / len(reference)
        expected = 2.44 * precision * recall / (recall + 1.44 * precision)
    score = scored(RougeL, [(" ".join(candidate), [" ".join(reference)])])[0]["ROUGE-L"]
    assert score == pytest.approx(expected)


def test_empty_candidate_scores_nothing():
    scores = caption_scores(["", "a cat"], [["a dog"], ["a cat"]])
    assert 0 < scores["CIDEr-D"] < 10
    for make in METRICS:
        for values in scored(make, [("", ["a dog"]), ("a cat", ["a cat"])])[1].values():
            assert values[0] < 1e-6


@pytest.mark.parametrize("make", METRICS)
def test_reset_forgets(make):
    metric = make()
    metric.update(CANDIDATES, REFERENCES)
    first = metric.result()
    metric.reset()
    with pytest.raises(ValueError, match="at least one item"):
        metric.result()
    metric.update(CANDIDATES, REFERENCES)
    assert metric.result() == first


# CIDEr-D as a reward


def test_rewards_are_the_metric_itself():
    scorer = CiderD.from_references(REFERENCES)
    metric = CiderD()
    metric.update(CANDIDATES, REFERENCES)
    per_item = metric.per_item()["CIDEr-D"]
    rewards = scorer.rewards(CANDIDATES, range(3))
    assert rewards.dtype == np.float32
    np.testing.assert_allclose(rewards, per_item, rtol=1e-6)
    np.testing.assert_allclose(scorer.score(CANDIDATES, REFERENCES), per_item, rtol=1e-12)


def test_rewards_take_any_order_and_repeats_of_images():
    scorer = CiderD.from_references(REFERENCES)
    rewards = scorer.rewards([CANDIDATES[2], CANDIDATES[0], CANDIDATES[2]], np.array([2, 2, 0]))
    assert rewards[0] == scorer.rewards([CANDIDATES[2]], [2])[0]
    assert rewards[0] > rewards[1]
    assert rewards[2] < rewards[0]
    assert scorer.rewards([], []).shape == (0,)


def test_fixed_frequencies_make_item_scores_independent_of_the_set():
    frequency = DocumentFrequency(REFERENCES)
    metric = CiderD(frequency)
    metric.update(CANDIDATES[:1], REFERENCES[:1])
    alone = metric.per_item()["CIDEr-D"][0]
    metric.update(CANDIDATES[1:], REFERENCES[1:])
    assert alone > 0
    assert metric.per_item()["CIDEr-D"][0] == alone
    assert frequency.items == 3
    assert "df:fixed(3)" in metric.signature


@pytest.mark.parametrize(
    ("candidates", "indices", "message"),
    [
        (["a"], [3], "less than 3"),
        (["a"], [-1], "at least 0"),
        (["a", "b"], [0], "2 candidates and 1 indices"),
        ("a", [0], "list of str"),
    ],
)
def test_wrong_rewards_calls(candidates, indices, message):
    with pytest.raises(ValueError, match=message):
        CiderD.from_references(REFERENCES).rewards(candidates, indices)


def test_score_needs_fixed_frequencies():
    with pytest.raises(ValueError, match="from_references"):
        CiderD().score(CANDIDATES, REFERENCES)


@pytest.mark.parametrize("frequency", [{("a",): 2}, DocumentFrequency()])
def test_wrong_document_frequency(frequency):
    with pytest.raises(ValueError, match="document_frequency"):
        CiderD(frequency)


def test_no_reference_set_at_all():
    with pytest.raises(ValueError, match="at least one image"):
        CiderD.from_references([])


# Bad input


@pytest.mark.parametrize("make", METRICS)
@pytest.mark.parametrize(
    ("candidates", "references", "message"),
    [
        (["a", "b"], [["a"]], "2 candidates and 1 lists"),
        (["a"], [[]], r"references\[0\].*at least one reference"),
        (["a", "b"], [["a"], "b"], r"references\[1\].*list of str"),
        (["a"], [["a", None]], r"references\[0\]\[1\].*should be a str"),
        (["a", 3], [["a"], ["b"]], r"candidates\[1\].*Received: candidates\[1\]=3"),
        ([b"a"], [["a"]], r"candidates\[0\].*should be a str"),
        ("a", [["a"]], "`candidates` should be a list of str"),
        (None, [["a"]], "`candidates` should be a list of str"),
        (["a"], "a", "`references` should be a list of lists of str"),
        (["a"], [None], r"references\[0\].*list of str"),
    ],
)
def test_wrong_items_are_refused_and_leave_nothing(make, candidates, references, message):
    metric = make()
    with pytest.raises(ValueError, match=message):
        metric.update(candidates, references)
    with pytest.raises(ValueError, match="Received: 0 items"):
        metric.per_item()


def test_wrong_n():
    with pytest.raises(ValueError, match="`n` should be at least 1"):
        Bleu(n=0)


def test_scores_of_nothing():
    with pytest.raises(ValueError, match="at least one item"):
        caption_scores([], [])


def test_one_item_cannot_be_shuffled():
    with pytest.raises(ValueError, match="shuffle_seed"):
        caption_scores(["a"], [["a"]], shuffle_seed=0)


# All at once, and what is printed


def test_caption_scores_holds_every_score():
    scores = caption_scores(CANDIDATES, REFERENCES)
    assert list(scores) == [
        "BLEU-1",
        "BLEU-2",
        "BLEU-3",
        "BLEU-4",
        "ROUGE-L",
        "CIDEr-D",
        "unique",
        "vocabulary",
        "signatures",
    ]
    assert scores["unique"] == 1.0
    assert scores["vocabulary"] == 13


def test_shuffling_is_a_derangement_fixed_by_its_seed():
    captions = ["a dog runs on grass", "two cats sleep inside now", "one man rides his horse"]
    references = [[caption] for caption in captions]
    first, again = (caption_scores(captions, references, shuffle_seed=7) for _ in range(2))
    assert first == again
    assert first["CIDEr-D"] == pytest.approx(10.0)
    assert first["CIDEr-D shuffled"] == 0.0


def test_signatures_name_what_matters():
    bleu, tokenized = Bleu(), Bleu(n=2, tokenized=True)
    assert "refs:any" in bleu.signature
    bleu.update(CANDIDATES, REFERENCES)
    tokenized.update(CANDIDATES[:2], REFERENCES[:2])
    assert bleu.signature.startswith(
        "BLEU|n:1-4|length:closest|smooth:none|refs:2-3|case:lower|tok:ptb-like|v:mmkeras-"
    )
    assert "n:1-2" in tokenized.signature
    assert "refs:2|case:given|tok:given" in tokenized.signature
    assert RougeL().signature.startswith("ROUGE-L|beta:1.2|")
    assert CiderD().signature.startswith("CIDEr-D|n:1-4|sigma:6|df:references|")


def test_printed_table():
    scores = caption_scores(CANDIDATES, REFERENCES, shuffle_seed=1)
    lines = format_scores(scores).splitlines()
    assert len(lines) == 9 + 3
    assert lines[0].split() == ["BLEU-1", f"{scores['BLEU-1']:.4f}"]
    assert "vocabulary        13" in lines
    assert lines[-3:] == scores["signatures"]


@pytest.mark.parametrize("module", ["bleu", "captions", "cider", "rouge", "tokenization"])
def test_examples_run(module):
    tried = doctest.testmod(importlib.import_module(f"mmkeras.metrics.{module}"))
    assert tried.attempted
    assert not tried.failed


def test_import_needs_neither_tensorflow_nor_keras():
    code = "import sys, mmkeras.metrics; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
