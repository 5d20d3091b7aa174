import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import mmkeras as mm


def targets(field, values):
    column = field.column([field.load(value) for value in values])
    extra, credits, weights = field.target("answer", column)
    assert extra == {}
    return credits.numpy(), weights.numpy()


def test_one_answer_has_all_the_credit():
    credits, weights = targets(mm.Labels(["red", "green", "blue"]), ["green", "red"])
    np.testing.assert_array_equal(credits, [[0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(weights, [1, 1])


def test_three_of_ten_people_are_enough():
    field = mm.Labels(["yes", "no"])
    credits, weights = targets(field, [["yes"] * 7 + ["no"] * 2 + ["maybe"], ["no"] * 10])
    np.testing.assert_allclose(credits, [[1, 2 / 3], [0, 1]])
    np.testing.assert_array_equal(weights, [1, 1])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12), min_size=1))
def test_credits_are_those_of_the_definition(answers):
    credits, weights = targets(mm.Labels(["a", "b", "c"], unknown="ignore"), answers)
    for row, given_answers in enumerate(answers):
        enough = min(3, len(given_answers))
        expected = [min(given_answers.count(each) / enough, 1) for each in "abc"]
        np.testing.assert_allclose(credits[row], expected, rtol=1e-6)
        assert weights[row] == any(expected)


def test_an_answer_that_is_no_class_is_refused_skipped_or_ignored():
    records = {"features": np.ones((3, 2)), "answer": ["red", "mauve", ["green", "mauve"]]}
    fields = mm.Preprocessor(
        {"features": mm.Features((2,))}, {"answer": mm.Labels(["red", "green"])}
    )
    with pytest.raises(ValueError, match=r"record 1: 'answer' is none of the 2 classes.*mauve"):
        mm.dataset(records, fields, 2)
    with pytest.warns(UserWarning, match="skipped 1 wrong"):
        data = mm.dataset(records, fields, 2, on_error="skip")
    assert len(data.skipped) == 1
    fields.targets["answer"] = mm.Labels(["red", "green"], unknown="ignore")
    ((_, y, weight),) = mm.dataset(records, fields, 3)
    np.testing.assert_array_equal(weight["answer"], [1, 0, 1])
    np.testing.assert_array_equal(y["answer"], [[1, 0], [0, 0], [0, 0.5]])


@pytest.mark.parametrize("value", [3, None, [], ["red", 1]])
def test_what_is_no_label_is_refused(value):
    with pytest.raises(ValueError, match="A label should be a string or a list of these"):
        mm.Labels(["red"]).load(value)


@pytest.mark.parametrize("classes", [[], ["a", "a"], ["", "a"], [1, 2]])
def test_bad_classes_are_refused(classes):
    with pytest.raises(ValueError, match="`classes` should be different strings"):
        mm.Labels(classes)


def test_unknown_should_be_known():
    with pytest.raises(ValueError, match=re.escape('`unknown` should be "raise" or "ignore"')):
        mm.Labels(["a"], unknown="drop")


def test_decodes_in_a_graph_and_comes_back_from_its_config():
    field = mm.Labels(["rot", "grün", "紅"])
    again = mm.Labels.from_config(field.get_config())
    ids = tf.constant([[[2], [0]], [[1], [1]]])
    found = tf.function(again.decode, autograph=False)(ids)
    assert [[x.decode() for x in row] for row in found.numpy()] == [["紅", "rot"], ["grün", "grün"]]


def test_most_common():
    answers = ["b", ["a", "c", "a"], "b", "c", "a", ["b"] * 10]
    assert mm.most_common(answers) == ["b", "a", "c"]
    assert mm.most_common(answers, 2) == ["b", "a"]
    assert mm.most_common(answers, minimum_count=3) == ["b"]
