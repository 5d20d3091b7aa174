"""Exact match and F1 of words, by the official scripts of SQuAD 1.1 and 2.0."""

import doctest
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mmkeras.metrics.spans
from mmkeras.metrics import SpanF1, format_span_scores, span_scores
from mmkeras.metrics.spans import normalize_span

TEXTS = st.lists(st.sampled_from(["a", "The", "red", "dog", "dog's", "?", ""]), max_size=4)
TEXTS = TEXTS.map(" ".join)
REFERENCES = st.lists(TEXTS, max_size=3)
SAID = st.sampled_from(["red", "dog", "red dog", "a cat"])
ITEMS = st.lists(st.tuples(TEXTS, REFERENCES), min_size=1, max_size=8)

# Exact match and F1 by script 2.0, then by script 1.1, which were run on these.
OFFICIAL = [
    ("the Eiffel Tower!", ["Eiffel tower"], (1, 1), (1, 1)),
    ("tower in Paris", ["the Eiffel Tower", "Paris"], (0, 0.5), (0, 0.5)),
    ("a well-known dog dog", ["well known dog", "wellknown dog"], (0, 0.8), (0, 0.8)),
    ("U.S.", ["US", "U S"], (1, 1), (1, 1)),
    ("", [], (1, 1), None),
    ("the", [], (1, 1), None),
    ("no", [], (0, 0), None),
    ("", ["Paris"], (0, 0), (0, 0)),
    ("the", ["The"], (1, 1), (1, 0)),
    ("the", ["A", "dog"], (0, 0), (1, 0)),
    ("theatre", ["the atre"], (0, 0), (0, 0)),
    ("x y z", ["y z x w"], (0, 6 / 7), (0, 6 / 7)),
]


def judged(answer, references, version="2.0"):
    return tuple(SpanF1(version).judge([answer], [references])[0].tolist())


def written_out(answer, references):
    """The definition of 2.0 in words: the best harmonic mean of precision and recall."""
    exact, f1 = 0, 0
    there = [text for text in map(normalize_span, references) if text]
    words = normalize_span(answer).split()
    for right in [text.split() for text in there] or [[]]:
        exact = max(exact, int(words == right))
        shared = sum(min(count, right.count(word)) for word, count in Counter(words).items())
        if words == right:
            f1 = 1
        elif shared:
            f1 = max(f1, 2 / (len(words) / shared + len(right) / shared))
    return exact, f1


class TestOneAnswer:
    @pytest.mark.parametrize(("answer", "references", "by_20", "by_11"), OFFICIAL)
    def test_is_scored_as_the_official_scripts_do(self, answer, references, by_20, by_11):
        assert judged(answer, references) == pytest.approx(by_20)
        if by_11 is not None:
            assert judged(answer, references, "1.1") == pytest.approx(by_11)

    @settings(max_examples=50, deadline=None)
    @given(TEXTS, REFERENCES)
    def test_is_scored_by_the_definition(self, answer, references):
        assert judged(answer, references) == pytest.approx(written_out(answer, references))

    def test_one_reference_may_be_a_str(self):
        assert judged("a dog", "dog") == judged("a dog", ["dog"]) == (1, 1)

    @settings(max_examples=50, deadline=None)
    @given(st.text())
    def test_any_text_is_normalized_once(self, text):
        assert not {"a", "an", "the"} & set(normalize_span(text).split())
        assert judged(text, [text]) == (1, 1)


class TestStreaming:
    @settings(max_examples=50, deadline=None)
    @given(ITEMS, st.integers(0, 8))
    def test_batches_do_not_matter(self, items, cut):
        answers, references = map(list, zip(*items, strict=True))
        whole, parts = SpanF1(), SpanF1()
        whole.update(answers, references)
        for part in (slice(cut), slice(cut, None)):
            parts.update(answers[part], references[part])
        result = whole.result()
        assert result == parts.result()
        assert result["EM"] <= result["F1"]
        for name in ("EM", "F1"):
            low, high = result[f"{name} interval"]
            assert 0 <= low <= high <= 1

    def test_mean_of_all(self):
        metric = SpanF1()
        metric.update(*map(list, zip(*[row[:2] for row in OFFICIAL], strict=True)))
        result = metric.result()
        assert result["EM"] == pytest.approx(sum(row[2][0] for row in OFFICIAL) / 12)
        assert result["F1"] == pytest.approx(sum(row[2][1] for row in OFFICIAL) / 12)
        assert result["questions"] == 12

    def test_reset(self):
        metric = SpanF1()
        metric.update(["no"], ["yes"])
        metric.reset()
        metric.update(["yes"], ["yes"])
        assert metric.result()["EM"] == 1

    def test_no_answer_to_score(self):
        with pytest.raises(ValueError, match=r"SpanF1 should have .* 0 answers"):
            SpanF1().result()

    def test_bad_input(self):
        with pytest.raises(ValueError, match=r"one of \['1.1', '2.0'\]. Received: version='3'"):
            SpanF1("3")
        with pytest.raises(ValueError, match=r"`references\[0\]` should be a list of at least 1"):
            SpanF1("1.1").update(["a"], [[]])
        with pytest.raises(ValueError, match=r"`answers\[0\]` should be a str"):
            SpanF1().update([None], [[]])
        with pytest.raises(ValueError, match="1 answers and 0 references"):
            SpanF1().update(["a"], [])


class TestScores:
    ANSWERS = ("Paris", "the cat", "", "ten")
    REFERENCES = (["Paris"], ["cat", "a dog"], [], [])
    DOUBTS = (0.1, 0.6, 0.4, 0.5)

    def test_with_and_without_an_answer(self):
        scores = span_scores(self.ANSWERS, self.REFERENCES)
        assert scores["EM"] == 0.75
        parts = {label: (row["F1"], row["questions"]) for label, row in scores["by answer"].items()}
        assert parts == {"HasAns": (1, 2), "NoAns": (0.5, 2)}
        assert "by answer" not in span_scores(["a"], ["a"])

    def test_answers_above_the_threshold_are_none(self):
        scores = span_scores(self.ANSWERS, self.REFERENCES, self.DOUBTS, threshold=0.45)
        assert scores["by answer"]["HasAns"]["EM"] == 0.5
        assert scores["by answer"]["NoAns"]["EM"] == 1
        # A number that equals the threshold is not above it.
        scores = span_scores(self.ANSWERS, self.REFERENCES, self.DOUBTS, threshold=0.6)
        assert scores["by answer"]["HasAns"]["EM"] == 1

    def test_best_threshold(self):
        scores = span_scores(self.ANSWERS, self.REFERENCES, self.DOUBTS)
        # Only the first is answered: two right without an answer, and Paris.
        assert (scores["best EM"], scores["best EM threshold"]) == (0.75, 0.1)
        assert (scores["best F1"], scores["best F1 threshold"]) == (0.75, 0.1)
        assert scores["EM"] == 0.75

    def test_no_threshold_is_better_than_never_to_answer(self):
        scores = span_scores(["x", "y"], [[], ["z"]], [0.2, 0.3])
        assert (scores["best EM"], scores["best EM threshold"]) == (0.5, 0)

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.tuples(SAID, st.lists(SAID, max_size=2)), min_size=1, max_size=8))
    def test_the_best_is_that_of_the_best_threshold(self, items):
        answers, references = map(list, zip(*items, strict=True))
        doubts = [(3 * i % 8 + 1) / 10 for i in range(len(items))]
        scores = span_scores(answers, references, doubts)
        tried = {t: span_scores(answers, references, doubts, t) for t in (0, *doubts)}
        for name in ("EM", "F1"):
            best = max(found[name] for found in tried.values())
            assert scores[f"best {name}"] == pytest.approx(best)
            assert tried[scores[f"best {name} threshold"]][name] == pytest.approx(best)

    def test_printed(self):
        text = format_span_scores(span_scores(self.ANSWERS, self.REFERENCES, self.DOUBTS))
        assert "EM   75.00 %  (95 %: " in text
        assert "best F1 75.00 %, with no answer above 0.1" in text
        assert "HasAns   100.00 %   100.00 %          2" in text
        assert "EM-F1|squad:2.0|" in text

    def test_bad_numbers(self):
        with pytest.raises(ValueError, match="2 answers and 1 no_answer_scores"):
            span_scores(["a", "b"], ["a", "b"], [0.1])
        with pytest.raises(ValueError, match=r"should hold finite numbers\. Received: nan"):
            span_scores(["a"], ["a"], [float("nan")])


def test_examples_in_the_docstrings():
    assert doctest.testmod(mmkeras.metrics.spans).failed == 0
