import pytest

import mmkeras as mm


@pytest.fixture(scope="module")
def world():
    train, _, test = mm.read("world", train=80, valid=1, test=12, size=32)
    return train, test


def test_evaluate_scores_every_record_and_tells_collapse(world):
    train, test = world
    words = mm.train_tokenizer(train["caption"], "word")
    model = mm.image_captioning(words, 32, decoder="lstm", size="tiny", sequence_length=6)
    scores, captions = mm.evaluate(model, test, batch_size=5, progress=False)
    assert captions == model.infer({"image": test["image"]})["caption"]
    again = mm.caption_scores(captions, test["caption"], shuffle_seed=0)
    assert scores == again
    assert {"CIDEr-D", "CIDEr-D shuffled", "unique", "vocabulary"} <= set(scores)


def test_baselines_are_one_caption_for_all_and_the_nearest_photo(world):
    train, test = world
    found = mm.baselines(train, test, mm.Image(32))
    _, constant = found["ignores the image"]
    _, nearest = found["memorises"]
    assert len(set(constant)) == 1
    assert len(set(nearest)) > 1
    known = {texts[0] for texts in train["caption"]}
    assert set(constant) | set(nearest) <= known
    itself = mm.baselines(train, train, mm.Image(32))["memorises"][1]
    assert itself == [texts[0] for texts in train["caption"]]


QUESTIONS = {
    "question": ["is it red", "is it red", "how many", "how many"],
    "question_type": ["is", "is", "how", "how"],
    "answer": ["no", "no", "two", ["two"] * 6 + ["3"] * 4],
}


def test_baselines_of_questions_know_the_question_and_not_the_photo():
    asked = {
        "question": ["is it red", "how many", "how tall", "why"],
        "question_type": ["is", "how", "how", "why"],
        "answer": ["no", "no", "two", "because"],
    }
    found = mm.answer_baselines(QUESTIONS, asked)
    assert found["most frequent answer"]["accuracy"] == 0.5
    assert found["most frequent answer to the question"]["accuracy"] == 0.5
    assert (
        found["most frequent answer to the question"]["by question type"]["how"]["questions"] == 2
    )
    same = mm.answer_baselines(QUESTIONS, QUESTIONS)
    assert same["most frequent answer to the question"]["accuracy"] == 1.0


class TestAnswers:
    @pytest.fixture(scope="class")
    def task(self):
        words = mm.train_tokenizer(QUESTIONS["question"], "word")
        return mm.visual_question_answering(
            words, ["no", "two"], 32, "conv", "lstm", "gated", "tiny"
        )

    def test_by_type_and_without_the_photo(self, task, photo):
        records = {**QUESTIONS, "image": [photo(row) for row in range(4)]}
        scores, answers = mm.evaluate(task, records, batch_size=3, progress=False)
        expected = mm.answer_scores(answers, records["answer"], records["question_type"])
        assert scores == expected
        found = mm.without(task, records, progress=False)
        assert list(found) == ["", "image"]
        assert found[""] == scores
        assert found["image"] == mm.evaluate(task, QUESTIONS, progress=False)[0]

    def test_classes_are_scored_as_classes(self, photo):
        task = mm.image_classification(["a", "b"], 32, "conv", "tiny")
        records = {"image": [photo(row) for row in range(3)], "label": ["a", "b", "a"]}
        scores, labels = mm.evaluate(task, records, progress=False)
        assert scores["accuracy"] == mm.class_scores(labels, records["label"])["accuracy"]
        with pytest.raises(ValueError, match="`task` should have an input that is `optional=True`"):
            mm.without(task, records)
