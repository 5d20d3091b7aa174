"""Questions about pictures, sounds and readings: the builders and what they give."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from contract import check_task

import mmkeras as mm

QUESTIONS = ["what is red", "how many dogs", "is it warm here"]
ANSWERS = ["a ring", "two", "yes"]


@pytest.fixture(scope="module")
def words():
    return mm.train_tokenizer([*QUESTIONS, *ANSWERS], "word")


@pytest.fixture(scope="module")
def records(photo):
    photos = [photo(i, (40, 50), "JPEG") for i in range(3)]
    return {"image": photos, "question": QUESTIONS, "answer": ANSWERS}


def build(words, answers=ANSWERS, **options):
    options = {"image": 32, "size": "tiny", "dropout": 0.0} | options
    return mm.visual_question_answering(words, answers, **options)


def test_closed_answers(words, records, tmp_path):
    check_task(build(words, fusion="co_attention"), records, tmp_path)


def test_open_answers(words, records, tmp_path):
    check_task(build(words, words, fusion="concatenate"), records, tmp_path)


def test_precomputed_features_and_people_who_disagree(words, records, tmp_path):
    grid = np.random.default_rng(0).normal(size=(3, 2, 2, 8)).astype("float32")
    people = [["a ring"] * 8 + ["two"] * 2, ["two"] * 10, ["yes"] * 10]
    task = build(words, image=mm.Features((2, 2, 8)), question_encoder="gru", fusion="gated")
    check_task(task, {**records, "image": grid, "answer": people}, tmp_path)


def test_a_room_with_a_picture_a_sound_and_readings(words, records, tmp_path):
    room = {
        "image": mm.Image(32, optional=True),
        "audio": mm.Audio(8000, optional=True),
        "readings": mm.Features((4,), optional=True),
    }
    task = mm.multimodal_question_answering(
        words, ANSWERS, room, "transformer", "perceiver", "tiny", dropout=0.0
    )
    sound = room["audio"].example(0)
    columns = {**records, "audio": [None, sound, sound], "readings": np.ones((3, 4))}
    columns["image"] = [records["image"][0], None, records["image"][2]]
    check_task(task, columns, tmp_path)


@pytest.fixture(scope="module")
def task(words):
    return build(words)


class TestMissing:
    def test_the_answer_does_not_depend_on_what_stood_in_the_missing_slot(self, task, records):
        """The tensors of a missing photo may be anything."""
        context = {"question": task.preprocessor.inputs["question"](QUESTIONS[:2])}
        context["image_mask"] = tf.zeros((2, 1), tf.bool)
        logits = [
            task({"image": tf.fill((2, 32, 32, 3), tf.constant(value, tf.uint8)), **context})[
                "answer"
            ]
            for value in (0, 255)
        ]
        np.testing.assert_array_equal(*logits)

    def test_a_row_without_a_photo_changes_no_other(self, task, records):
        photo = records["image"][0]
        both = task.infer({"image": [photo, None], "question": QUESTIONS[:2]})
        alone = task.infer({"image": [photo], "question": QUESTIONS[:1]})
        none = task.infer({"question": QUESTIONS[1:2]})
        assert both["answer"] == [*alone["answer"], *none["answer"]]
        np.testing.assert_allclose(both["score"], [*alone["score"], *none["score"]], rtol=1e-4)

    def test_behind_a_frozen_network_too(self, words, records):
        backbone = keras.applications.MobileNet(
            (32, 32, 3), alpha=0.25, include_top=False, weights=None
        )
        task = build(words, encoder=backbone)
        frozen, rest = mm.split_frozen(task)
        photos = [records["image"][0], None, records["image"][2]]
        computed = mm.precompute(frozen, photos, task.preprocessor.inputs["image"])
        assert np.isnan(computed).all(axis=(1, 2, 3)).tolist() == [False, True, False]
        whole = task.infer({"image": photos, "question": QUESTIONS})
        split = rest.infer({"image": list(computed), "question": QUESTIONS})
        np.testing.assert_allclose(whole["score"], split["score"], atol=1e-3)


def test_the_likeliest_classes_come_first(task, records):
    answers = task.infer({"question": QUESTIONS}, n_best=3)
    assert [sorted(row) for row in answers["answer"]] == [sorted(ANSWERS)] * 3
    np.testing.assert_allclose(np.sum(answers["score"], axis=1), 1, rtol=1e-5)
    assert np.all(np.diff(answers["score"], axis=1) <= 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"n_best": 4},
            "`n_best` should be from 1 to 3, the number of classes. Received: n_best=4",
        ),
        ({"beam_width": 4}, "A class has no option but `n_best`. Received: ['beam_width']"),
    ],
)
def test_bad_options(task, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        task.infer({"question": QUESTIONS}, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "vgg"}, "['conv', 'conv_lstm', 'grid_transformer', 'patch']"),
        (
            {"question_encoder": "bert"},
            "`encoder` should be one of ['bag', 'bigru', 'bilstm', 'gru', 'lstm',",
        ),
        ({"fusion": "cat"}, "`fusion` should be one of ['concatenate',"),
        ({"answers": []}, "`classes` should be different strings, at least one"),
        ({"answers": "yes"}, "`tokenizer` should be a tokenizer"),
        ({"size": "huge"}, "`size` should be one of"),
    ],
)
def test_errors_name_the_argument(words, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build(words, **options)


@pytest.mark.parametrize("inputs", [{}, [], {"question": mm.Image(32)}, {"image": 32}])
def test_bad_inputs_of_a_room(words, inputs):
    with pytest.raises(ValueError, match=r"`inputs` should be a dict|An input should be an Image"):
        mm.multimodal_question_answering(words, ANSWERS, inputs, size="tiny")


def test_a_head_for_other_classes_is_refused(words):
    inputs = {"image": (mm.Image(32), mm.conv("tiny"))}
    target = (mm.Labels(ANSWERS), mm.Classify(2, name="answer"))
    with pytest.raises(ValueError, match=r"for the 3 classes of its field. Received: Classify"):
        mm.assemble(inputs, {"answer": target}, 16)


@pytest.mark.parametrize("question", ["", "什么颜色", "why " * 10_000, "🦄 ?!", "\u0000"])
def test_strange_questions(task, question):
    """One without words is refused by its row; all others are answered."""
    if not question:
        with pytest.raises(ValueError, match="'question', row 0: is missing"):
            task.infer({"question": [question]})
        return
    assert task.infer({"question": [question]})["answer"][0] in ANSWERS
