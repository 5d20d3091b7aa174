import re

import numpy as np
import pytest
from pages import Page

import mmkeras as mm

QUESTIONS = ["what is <red>", "is it & two", "what is that"]
ANSWERS = ["yes", "<b>", "two"]
ROWS = 6


@pytest.fixture(scope="module")
def words():
    return mm.train_tokenizer(["what is red", "is it two"], "word")


@pytest.fixture(scope="module")
def records(photo):
    people = [["yes"] * 7 + ["two"] * 3, ["<b>"] * 10, ["two"] * 10]
    return {
        "image": [None, *(photo(i, (40, 50)) for i in range(ROWS - 1))],
        "question": QUESTIONS * 2,
        "answer": people * 2,
        "question_type": ["what is", "is it", "what is"] * 2,
        "answer_type": ["yes/no", "<other>", "number"] * 2,
    }


@pytest.fixture(scope="module")
def page(words, records, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    task = mm.visual_question_answering(words, ANSWERS, 32, size="tiny", dropout=0.0)
    given = ["yes", "<b>", "yes", "yes", "<b>", "two"]
    return Page(
        mm.write_answer_report(
            path,
            task,
            records,
            given,
            {"loss": [3.0, 2.0], "val_loss": [3.5, 2.5]},
            title="Rings & <dogs>",
            notes="First <part>.",
            baselines={"always <yes>": {"accuracy": 0.3}},
            details={"seed": 17},
        )
    )


def labels(page):
    return [chart.get("aria-label", "") for chart in page.all("svg")]


def test_accuracy_is_told_beside_what_each_input_is_worth(page):
    # Of ten people of whom seven say so, an answer is right all the same.
    assert "accuracy 83.3 %" in page.text
    (worth,) = [label for label in labels(page) if "this model" in label]
    assert re.fullmatch(
        r"accuracy: this model 83.3 %, without image \d+.\d %, always <yes> 30.0 %", worth
    )
    assert "VQA-accuracy|annotators:10" in page.text


def test_kinds_of_questions_and_answers_have_their_bars(page):
    assert "accuracy: what is 75.0 %, is it 100.0 %" in labels(page)
    assert "accuracy: yes/no 100.0 %, <other> 100.0 %, number 50.0 %" in labels(page)


def test_classes_are_those_most_people_gave(page):
    titles = " ".join(page.said)
    assert "two, answered yes: 1 of 2" in titles
    assert "yes, answered yes: 2 of 2" in titles
    assert "Confusion matrix, 83.3 % on the diagonal" in labels(page)


def test_right_and_wrong_answers_are_apart(page):
    right, wrong = page.text.split("Answered right")[1].split("Answered wrong")
    assert [int(row) for row in re.findall(r"record (\d+) ·", right)] == [0, 1, 3, 4, 5]
    assert re.findall(r"record (\d+) ·", wrong) == ["2"]
    assert "right: yes 7 of 10, two 3 of 10" in right
    assert "right: two 10 of 10" in wrong
    assert "no image" in right
    answers = [tag["class"] for tag in page.all("p") if tag.get("class", "").startswith("answer")]
    assert answers == ["answer right"] * 5 + ["answer wrong"]


def test_what_was_read_is_shown(page):
    alts = [image["alt"] for image in page.all("img")]
    assert len(alts) == 3 * (ROWS - 1)
    for alt in ("image of record 1", "Attention of record 1", "Grad-CAM of record 1"):
        assert alt in alts
    shaded = [tag["style"] for tag in page.all("span") if "--weight" in tag.get("style", "")]
    assert shaded.count("--weight: 1.000") == ROWS
    # Marks and words that it does not know are told as they were asked.
    assert "what is [UNK] red [UNK] what is <red>" in page.text


def test_nothing_comes_from_outside(page):
    assert not {"script", "dogs", "part", "red", "other", "yes"} & {tag for tag, _ in page.found}
    assert not re.search(
        r"(?i)https?://|url\(|@import|src=\"(?!data:)|href=\"(?!data:)", page.source
    )
    for text in ("Rings & <dogs>", "First <part>.", "seed 17", "loss by epoch"):
        assert text in page.text + " ".join(labels(page))


def test_classes_of_texts(words, tmp_path):
    task = mm.text_classification(words, ["good", "bad"], "gru", "tiny")
    records = {"text": ["what is red", "is it", "two two"], "label": ["good", "bad", "good"]}
    page = Page(mm.write_answer_report(tmp_path / "r.html", task, records))
    right = np.mean(
        [
            a == b
            for a, b in zip(
                task.infer({"text": records["text"]})["label"], records["label"], strict=True
            )
        ]
    )
    assert f"accuracy {100 * right:.1f} %" in page.text
    assert "macro F1" in page.text
    assert "Accuracy" in page.text.split("Classes")[1]
    assert page.all("img") == []
    assert len([tag for tag in page.all("span") if "--weight" in tag.get("style", "")]) == 7


def test_answers_from_a_text(words, tmp_path):
    task = mm.question_answering(words, "extractive", "gru", size="tiny")
    records = {
        "context": ["it is <red>", "what it is", "two"],
        "question": ["what is it", "is it", "is it two"],
        "answer": [["red", "<red>"], ["it"], []],
    }
    page = Page(mm.write_answer_report(tmp_path / "r.html", task, records, ["red", "is", ""]))
    assert "EM 66.7 % F1 66.7 %" in page.text
    assert "F1: HasAns 50.0 %, NoAns 100.0 %" in labels(page)
    right, wrong = page.text.split("Answered right")[1].split("Answered wrong")
    assert "it is <red> what is it red right: red 1 of 2, <red> 1 of 2" in right
    assert "right: no answer" in right
    assert "right: it 1 of 1" in wrong


def test_sounds_and_readings_without_references(words, tmp_path):
    room = {
        "audio": mm.Audio(8000, optional=True),
        "readings": mm.Features((3,), optional=True),
        "frames": mm.Features((2, 5)),
    }
    task = mm.multimodal_question_answering(words, words, room, "gru", "concatenate", "tiny")
    records = {
        "audio": [room["audio"].example(0), None],
        "readings": [[0.5, 21.25, -3], [1, 2, 3]],
        "frames": np.ones((2, 2, 5)),
        "question": ["what is red", "is it two"],
    }
    page = Page(mm.write_answer_report(tmp_path / "r.html", task, records, ["yes", ""]))
    assert len(page.all("audio")) == 1
    assert "no audio" in page.text
    assert "readings 0.5 21.25 -3" in page.text
    assert "frames: 2 x 5 numbers" in page.text
    assert "(empty)" in page.text
    assert re.search(r"read audio \d+%, readings \d+%, frames \d+%, question \d+%", page.text)
    for left_out in ("Accuracy", "Classes", "right:", "Answered"):
        assert left_out not in page.text


def test_what_does_not_fit_is_named(words, records, tmp_path):
    task = mm.text_classification(words, ["good", "bad"], "gru", "tiny")
    texts = {"text": ["what", "is"], "label": ["good", "bad"]}
    with pytest.raises(ValueError, match=r"`answers` should hold one text for each of 2 .* 1"):
        mm.write_answer_report(tmp_path / "r.html", task, texts, ["good"])
    with pytest.raises(ValueError, match=r"`records` should hold a record .*\['text'\]"):
        mm.write_answer_report(tmp_path / "r.html", task, {"text": []})
    captioner = mm.image_captioning(words, 32, size="tiny", sequence_length=3)
    with pytest.raises(
        ValueError, match=r"`task` should have one target, a Labels, an Answer or a Span.*T"
    ):
        mm.write_answer_report(tmp_path / "r.html", captioner, records)
    assert not list(tmp_path.iterdir())
