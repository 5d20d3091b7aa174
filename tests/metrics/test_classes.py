"""Accuracy, macro-F1 and the confusion matrix, by scikit-learn's definitions."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mmkeras.metrics.classes
from mmkeras.metrics import ConfusionMatrix, class_scores, format_class_scores
from mmkeras.metrics.classes import most_confused

ANSWERS = ["cat", "cat", "dog", "cat", "cow", "dog", "dog"]
REFERENCES = ["cat", "dog", "dog", "cat", "dog", "owl", "cat"]
PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30)


def split(pairs):
    return map(list, zip(*pairs, strict=True))


class TestScores:
    def test_are_those_of_scikit_learn(self):
        # accuracy_score, precision_recall_fscore_support and confusion_matrix of scikit-learn 1.9.
        scores = class_scores(ANSWERS, REFERENCES)
        assert scores["accuracy"] == pytest.approx(3 / 7)
        assert scores["macro F1"] == pytest.approx(0.25)
        assert scores["classes"] == ["cat", "cow", "dog", "owl"]
        assert scores["confusion"] == [[2, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 0], [0, 0, 1, 0]]
        expected = {
            "cat": (2 / 3, 2 / 3, 2 / 3, 3),
            "cow": (0, 0, 0, 0),
            "dog": (1 / 3, 1 / 3, 1 / 3, 3),
            "owl": (0, 0, 0, 1),
        }
        for name, row in scores["by class"].items():
            assert tuple(row.values()) == pytest.approx(expected[name])

    @settings(max_examples=50, deadline=None)
    @given(PAIRS)
    def test_follow_from_the_confusion_matrix(self, pairs):
        answers, references = split(pairs)
        scores = class_scores(answers, references)
        confusion = np.array(scores["confusion"])
        assert scores["classes"] == sorted({*answers, *references})
        for i, reference in enumerate(scores["classes"]):
            for j, answer in enumerate(scores["classes"]):
                assert confusion[i, j] == pairs.count((answer, reference))
        assert scores["accuracy"] == pytest.approx(np.trace(confusion) / len(pairs))
        f1 = []
        for index, row in enumerate(scores["by class"].values()):
            right = confusion[index, index]
            precision = right / confusion[:, index].sum() if confusion[:, index].any() else 0
            recall = right / confusion[index].sum() if confusion[index].any() else 0
            both = precision + recall
            f1.append(2 * precision * recall / both if both else 0)
            assert row["precision"] == pytest.approx(precision)
            assert row["recall"] == pytest.approx(recall)
            assert row["F1"] == pytest.approx(f1[-1])
            assert row["references"] == confusion[index].sum()
        assert scores["macro F1"] == pytest.approx(np.mean(f1))

    @settings(max_examples=50, deadline=None)
    @given(PAIRS)
    def test_are_symmetric_but_for_precision_and_recall(self, pairs):
        answers, references = split(pairs)
        one, other = class_scores(answers, references), class_scores(references, answers)
        assert one["macro F1"] == pytest.approx(other["macro F1"])
        for label, row in one["by class"].items():
            assert row["precision"] == other["by class"][label]["recall"]

    @settings(max_examples=50, deadline=None)
    @given(PAIRS)
    def test_names_give_the_order_and_do_not_change_the_scores(self, pairs):
        answers, references = split(pairs)
        names = [4, 2, 7, 0, 1, 3]
        scores, plain = class_scores(answers, references, names), class_scores(answers, references)
        assert scores["classes"] == list(scores["by class"]) == names
        assert scores["macro F1"] == pytest.approx(plain["macro F1"])
        for label, row in plain["by class"].items():
            assert scores["by class"][label] == row

    def test_all_right(self):
        scores = class_scores(np.array([1, 0, 1]), [1, 0, 1])
        for name in ("accuracy", "macro F1"):
            assert scores[name] == 1
            assert scores[f"{name} interval"] == (1, 1)

    def test_intervals_are_those_of_drawing_again(self):
        random = np.random.default_rng(0)
        references = random.integers(0, 3, 400)
        answers = np.where(random.random(400) < 0.7, references, random.integers(0, 3, 400))
        scores = class_scores(answers, references)
        again = {"accuracy": [], "macro F1": []}
        for _ in range(1000):
            rows = random.integers(0, 400, 400)
            drawn, right = answers[rows], references[rows]
            again["accuracy"].append((drawn == right).mean())
            f1 = [
                2 * ((drawn == c) & (right == c)).sum() / ((drawn == c).sum() + (right == c).sum())
                for c in range(3)
            ]
            again["macro F1"].append(np.mean(f1))
        for name, values in again.items():
            low, high = np.quantile(values, [0.025, 0.975])
            assert scores[f"{name} interval"] == pytest.approx((low, high), abs=0.015)

    def test_printed(self):
        text = format_class_scores(class_scores(ANSWERS, REFERENCES))
        assert "accuracy   42.86 %  (95 %: " in text
        assert "\ncow       0.00 %     0.00 %     0.00 %           0" in text
        assert "\ndog taken for cat: 1\n" in text
        assert text.endswith(class_scores(ANSWERS, REFERENCES)["signatures"][0])

    def test_most_confused(self):
        scores = class_scores(["a", "b", "b", "c", "c", "a"], ["a", "a", "a", "a", "b", "b"])
        assert most_confused(scores, 2) == [("a", "b", 2), ("a", "c", 1)]


class TestStreaming:
    @settings(max_examples=50, deadline=None)
    @given(PAIRS, st.integers(0, 30))
    def test_batches_do_not_matter(self, pairs, cut):
        answers, references = split(pairs)
        parts = ConfusionMatrix()
        for part in (slice(cut), slice(cut, None)):
            parts.update(answers[part], references[part])
        result = parts.result()
        assert class_scores(answers, references) == result | {"signatures": [parts.signature]}

    def test_reset(self):
        matrix = ConfusionMatrix()
        matrix.update(["no"], ["yes"])
        matrix.reset()
        matrix.update(["yes"], ["yes"])
        assert matrix.result()["classes"] == ["yes"]

    def test_no_answer(self):
        with pytest.raises(ValueError, match=r"ConfusionMatrix should have .* 0 answers"):
            ConfusionMatrix().result()

    @pytest.mark.parametrize(
        ("answers", "references", "message"),
        [
            ("yes", ["yes"], "`answers` should be a list of classes"),
            ([0.5], [1], r"`answers\[0\]` should be a str or an int. Received: 0.5"),
            ([1], [None], r"`references\[0\]` should be a str or an int. Received: None"),
            ([1], ["1"], "all be str or all int. Received: 1 and '1'"),
            ([1, 2], [1], "2 answers and 1 references"),
        ],
    )
    def test_bad_input(self, answers, references, message):
        matrix = ConfusionMatrix()
        with pytest.raises(ValueError, match=message):
            matrix.update(answers, references)
        with pytest.raises(ValueError, match="0 answers"):
            matrix.result()

    def test_bad_names(self):
        with pytest.raises(
            ValueError, match=r"`references\[1\]` should be one of \['cat', 'dog'\]"
        ):
            class_scores(["cat", "dog"], ["cat", "cow"], ["cat", "dog"])
        with pytest.raises(ValueError, match="`names` should hold every class once"):
            ConfusionMatrix(["cat", "cat"])


def test_examples_in_the_docstrings():
    assert doctest.testmod(mmkeras.metrics.classes).failed == 0
