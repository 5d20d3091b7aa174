import gzip
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmkeras.data import (
    hold_out,
    read,
    read_clevr,
    read_daquar,
    read_easy_vqa,
    read_nlvr,
    read_vqa,
)

DATA = Path(__file__).parents[3] / "shared" / "data"
BOM = b"\xef\xbb\xbf"


def data(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"needs ../shared/data/{name}")
    return str(DATA / name)


def lay_out(folder, files):
    """Files by path; images are never opened, so they hold nothing."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder)


def without(entry, name):
    return {key: value for key, value in entry.items() if key != name}


QUESTIONS = [
    {"image_id": 9, "question": "What is it? ", "question_id": 9001},
    {"image_id": 262148, "question": "Is it wet?", "question_id": 262148000},
]
ANNOTATIONS = [
    {
        "question_id": 262148000,
        "image_id": 262148,
        "question_type": "is it",
        "answer_type": "yes/no",
        "multiple_choice_answer": "yes",
        "answers": [
            {"answer": "yes", "answer_confidence": "maybe", "answer_id": 1},
            {"answer": "no", "answer_confidence": "yes", "answer_id": 2},
        ],
    },
    {
        "question_id": 9001,
        "image_id": 9,
        "question_type": "what is",
        "answer_type": "other",
        "multiple_choice_answer": "dog",
        "answers": [{"answer": "dog"}] * 10,
    },
]


def asked(*entries):
    return json.dumps({"data_subtype": "train2014", "questions": entries or QUESTIONS})


def said(*entries):
    return json.dumps({"info": {}, "annotations": entries or ANNOTATIONS})


class TestVQA:
    def test_records_are_in_the_order_of_the_questions(self, tmp_path):
        files = {"q.json": BOM + asked().encode(), "a.json": said()}
        pictures = ("COCO_train2014_000000000009.jpg", "COCO_train2014_000000262148.jpg")
        folder = lay_out(tmp_path, files | {f"images/{name}": "" for name in pictures})
        assert read_vqa(f"{folder}/q.json", f"{folder}/a.json", f"{folder}/images") == {
            "image": [f"{folder}/images/{name}" for name in pictures],
            "question": ["What is it?", "Is it wet?"],
            "question_id": [9001, 262148000],
            "image_id": [9, 262148],
            "answer": [["dog"] * 10, ["yes", "no"]],
            "question_type": ["what is", "is it"],
            "answer_type": ["other", "yes/no"],
        }

    def test_images_of_later_years(self, tmp_path):
        files = {"q.json": asked(), "000000000009.jpg": "", "000000262148.jpg": ""}
        folder = lay_out(tmp_path, files)
        found = read_vqa(f"{folder}/q.json", images=folder)["image"]
        assert found == [f"{folder}/000000000009.jpg", f"{folder}/000000262148.jpg"]

    def test_neither_images_nor_answers(self, tmp_path):
        folder = lay_out(tmp_path, {"q.gzip": gzip.compress(asked().encode())})
        assert read_vqa(f"{folder}/q.gzip") == {
            "image": [None, None],
            "question": ["What is it?", "Is it wet?"],
            "question_id": [9001, 262148000],
            "image_id": [9, 262148],
        }

    def test_official_names(self, tmp_path):
        one = {
            "v2_OpenEnded_mscoco_val2014_questions.json": asked(QUESTIONS[0]),
            "v2_mscoco_val2014_annotations.json": said(ANNOTATIONS[1]),
            "v2_Questions_Test_mscoco/v2_OpenEnded_mscoco_test2015_questions.json": asked(),
            "val2014/COCO_val2014_000000000009.jpg": "",
        }
        folder = lay_out(tmp_path, one)
        train, valid, test = read("vqa", folder)
        assert train is None
        assert valid["image"] == [f"{folder}/val2014/COCO_val2014_000000000009.jpg"]
        assert valid["answer"] == [["dog"] * 10]
        assert test["question_id"] == [9001, 262148000]
        assert "answer" not in test

    def test_the_second_version_is_preferred(self, tmp_path):
        folder = lay_out(
            tmp_path,
            {
                "OpenEnded_mscoco_val2014_questions.json": asked(),
                "Questions/v2_OpenEnded_mscoco_val2014_questions.json": asked(QUESTIONS[0]),
            },
        )
        assert read("vqa", folder)[1]["question_id"] == [9001]

    @pytest.mark.parametrize(
        ("questions", "annotations", "message"),
        [
            (asked(QUESTIONS[0], QUESTIONS[0]), said(), r"q.json, questions\[1\]: .* twice"),
            (asked(QUESTIONS[1]), said(), r"a.json, annotations\[1\]: .*9001 is not among"),
            (asked(), said(ANNOTATIONS[1]), "a.json: question id 262148000 has no annotation"),
            (asked(), said(*ANNOTATIONS, ANNOTATIONS[0]), r"annotations\[2\]: .* comes twice"),
            (asked(QUESTIONS[0] | {"question": " "}), said(), r"\[0\]: `question` is empty"),
            (asked(QUESTIONS[0] | {"image_id": "9"}), said(), r"\[0\]: `image_id` should be of"),
            (asked(QUESTIONS[0] | {"image_id": 8}), said(), r"\[0\]: there is no image 'COCO_tr"),
            (asked("what"), said(), r"questions\[0\]: `question_id` should be of type int"),
            (asked(), said(ANNOTATIONS[0] | {"answers": []}), r"annotations\[0\]: `answers` is e"),
            (asked(), said(ANNOTATIONS[0] | {"answers": ["yes"]}), r"\[0\]: `answer` should be of"),
            (asked(), said(without(ANNOTATIONS[0], "answer_type")), r"\[0\]: `answer_type` should"),
            (asked(), asked(), "a.json: should be an object with a list `annotations`"),
            ("{", said(), "q.json: not valid JSON"),
            (b"\x1f\x8b and no more", said(), "q.json: not valid JSON"),
            (gzip.compress(asked().encode())[:-20], said(), "q.json: not valid JSON"),
            ('{"questions": "\xff"}'.encode("latin-1"), said(), "q.json: not valid JSON: 'utf-8'"),
            ('{"questions": []}', '{"annotations": []}', "q.json: holds no question"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, questions, annotations, message):
        pictures = {"000000000009.jpg": "", "000000262148.jpg": ""}
        folder = lay_out(tmp_path, {"q.json": questions, "a.json": annotations} | pictures)
        with pytest.raises(ValueError, match=message):
            read_vqa(f"{folder}/q.json", f"{folder}/a.json", folder)

    def test_skipping_counts_each_fault_once(self, tmp_path):
        bad = [{"image_id": 8, "question": "Why?", "question_id": number} for number in (1, 2)]
        files = {
            "q.json": asked(*QUESTIONS, bad[0], bad[1], QUESTIONS[0]),
            "a.json": said(
                *(ANNOTATIONS[0] | {"question_id": number} for number in (1, 2)),
                ANNOTATIONS[1],
                ANNOTATIONS[0] | {"answers": [1]},
            ),
            "000000000009.jpg": "",
            "000000262148.jpg": "",
        }
        folder = lay_out(tmp_path, files)
        with pytest.warns(UserWarning, match="q.json: skipped 4 wrong entries"):
            found = read_vqa(f"{folder}/q.json", f"{folder}/a.json", folder, on_error="skip")
        assert found["question_id"] == [9001]
        assert set(map(len, found.values())) == {1}

    def test_real_sample(self):
        train, valid, test = read("vqa", data("vqa_v2_sample"))
        assert (len(train["question"]), len(set(train["image_id"]))) == (48061, 33745)
        assert (len(valid["question"]), len(set(valid["image_id"]))) == (8977, 8260)
        assert test is None
        assert {len(answers) for answers in train["answer"]} == {10}
        assert len(set(train["question_type"])) == 65
        assert set(valid["answer_type"]) == {"yes/no", "number", "other"}
        assert set(train["image"]) == {None}
        rest, held = hold_out(train, 0.1, by="image_id")
        assert not set(rest["image_id"]) & set(held["image_id"])


EASY = [["what is the shape?", "circle", 0], ["is it red?", "yes", 0], ["is it blue?", "no", 1]]


class TestEasyVQA:
    def test_official_layout(self, tmp_path):
        files = {f"{split}/questions.json": json.dumps(EASY) for split in ("train", "test")}
        pictures = {f"{split}/images/{i}.png": "" for split in ("train", "test") for i in (0, 1)}
        folder = lay_out(tmp_path, files | pictures)
        train, valid, test = read("easy_vqa", folder)
        assert train == {
            "image": [f"{folder}/train/images/{i}.png" for i in (0, 0, 1)],
            "question": ["what is the shape?", "is it red?", "is it blue?"],
            "answer": ["circle", "yes", "no"],
        }
        assert valid is None
        assert test["image"][2] == f"{folder}/test/images/1.png"

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            (["is it red?", "yes", 7], r"there is no image '7.png'"),
            (["is it red?", "yes"], r"should be \[question, answer, image id\]"),
            (["is it red?", "yes", "0"], r"should be \[question, answer, image id\]"),
            ("is it red?", r"should be \[question, answer, image id\]"),
            (["", "yes", 0], "`question` is empty"),
            (["is it red?", "  ", 0], "`answer` is empty"),
        ],
    )
    def test_what_is_wrong_is_named_or_counted(self, tmp_path, entry, message):
        files = {"q.json": json.dumps([EASY[0], entry]), "images/0.png": ""}
        folder = lay_out(tmp_path, files)
        with pytest.raises(ValueError, match=rf"q.json, \[1\]: {message}"):
            read_easy_vqa(f"{folder}/q.json", f"{folder}/images")
        with pytest.warns(UserWarning, match="q.json: skipped 1 wrong entries"):
            found = read_easy_vqa(f"{folder}/q.json", f"{folder}/images", on_error="skip")
        assert found["answer"] == ["circle"]

    def test_files_that_hold_something_else(self, tmp_path):
        for content, message in (("{}", "should be a list of"), ("[]", "holds no question")):
            folder = lay_out(tmp_path, {"q.json": content})
            with pytest.raises(ValueError, match=f"q.json: {message}"):
                read_easy_vqa(f"{folder}/q.json", folder)

    def test_real(self):
        train, valid, test = read("easy_vqa", data("easy_vqa"))
        assert len(train["question"]) == 38575
        assert len(set(train["image"])) == 4000
        assert len(set(train["answer"])) == 13
        assert sum(answer in ("yes", "no") for answer in train["answer"]) == 28407
        assert len(set(train["question"])) == 107
        assert valid is test is None
        assert train["image"][0].endswith("/images_train.zip/0.png")
        rest, held = hold_out(train, 0.1, by="image")
        assert 0 <= len(held["image"]) / 38575 - 0.1 < 0.001
        assert not set(rest["image"]) & set(held["image"])


DAQUAR = """what is on the desk in the image3 ?
book, scissor
how many chairs are at the right of the image4 in the image4 ?
2
"""


class TestDAQUAR:
    def test_the_image_is_left_out_of_the_question(self, tmp_path):
        files = {"qa.894.raw.train.txt": DAQUAR.replace("\n", "\r\n")}
        pictures = {f"nyu_depth_images/image{i}.png": "" for i in (3, 4)}
        folder = lay_out(tmp_path, files | pictures)
        train, valid, test = read("daquar", folder)
        assert train == {
            "image": [f"{folder}/nyu_depth_images/image{i}.png" for i in (3, 4)],
            "question": ["what is on the desk ?", "how many chairs are at the right ?"],
            "answer": ["book, scissor", "2"],
        }
        assert valid is test is None

    def test_the_small_set(self, tmp_path):
        files = {"qa.894.raw.test.txt": DAQUAR, "qa.37.raw.test.txt": "what in image3 ?\ntable\n"}
        folder = lay_out(tmp_path, files | {"images/image3.jpg": ""})
        train, _, test = read("daquar", folder, classes=37)
        assert (train, test["question"]) == (None, ["what ?"])

    @pytest.mark.parametrize(
        ("question", "clean"),
        [
            ("what is seen in the image3 ?", "what is seen ?"),
            ("what is seen in this image3 ?", "what is seen ?"),
            ("what is the colour of the mirror in image3 ?", "what is the colour of the mirror ?"),
            ("what is on the table image3 ?", "what is on the table ?"),
            (
                "what is left of the image3 near the door in the image3 ?",
                "what is left near the door ?",
            ),
            (
                "what is under the images on the wall in the image3?",
                "what is under the images on the wall?",
            ),
        ],
    )
    def test_clean_questions(self, tmp_path, question, clean):
        folder = lay_out(tmp_path, {"qa.txt": f"{question}\nchair\n", "image3.jpg": ""})
        assert read_daquar(f"{folder}/qa.txt", folder)["question"] == [clean]

    @pytest.mark.parametrize(
        ("lines", "message"),
        [
            ("what is it in the image9 ?\nlamp", "line 5: there is no image 'image9.png' or 'im"),
            ("what is it in the image3 ?", "line 5: the next line should be its answer"),
            ("what is it in the image3 ?\n\n", "line 5: the next line should be its answer"),
            ("in the image3 ?\nlamp", "line 5: `question` is empty"),
            ("lamp", "line 5: should be a question such as"),
        ],
    )
    def test_what_is_wrong_is_named_and_the_next_pairs_are_read(self, tmp_path, lines, message):
        text = f"{DAQUAR}{lines}\nhow many lamps are in the image3 ?\n1\n"
        files = {"qa.txt": text, "image3.jpg": "", "image4.jpg": ""}
        folder = lay_out(tmp_path, files)
        with pytest.raises(ValueError, match=f"qa.txt, {message}"):
            read_daquar(f"{folder}/qa.txt", folder)
        with pytest.warns(UserWarning, match="qa.txt: skipped 1 wrong entries"):
            found = read_daquar(f"{folder}/qa.txt", folder, on_error="skip")
        assert found["answer"] == ["book, scissor", "2", "1"]

    def test_another_encoding(self, tmp_path):
        folder = lay_out(tmp_path, {"qa.txt": "what in the image3 ?\ncafé".encode("latin-1")})
        with pytest.raises(ValueError, match=r"qa.txt, line 2: 'utf-8' codec"):
            read_daquar(f"{folder}/qa.txt", folder)

    def test_real(self):
        train, valid, test = read("daquar", data("daquar"))
        assert len(train["question"]) == 6795
        assert len(set(train["image"])) == 794
        assert len(set(train["answer"])) == 968
        assert sum(" " not in answer for answer in train["answer"]) == 6149
        assert not any("image" in question for question in train["question"])
        words = {word for question in train["question"] for word in question.split()} - {"?"}
        assert len(words) == 853
        assert valid is test is None


SENTENCE = {
    "sentence": "There is a yellow circle.",
    "identifier": "72-0",
    "directory": "5",
    "label": "true",
    "evals": {"r1": "true"},
    "structured_rep": [[], [], []],
}


def json_lines(*rows):
    return "".join(f"{json.dumps(row)}\n" for row in rows)


class TestNLVR:
    def test_one_record_for_each_order_of_the_boxes(self, tmp_path):
        files = {"dev/dev.json": json_lines(SENTENCE)}
        names = [f"dev/images/5/dev-72-0-{order}.png" for order in range(6)]
        folder = lay_out(tmp_path, files | dict.fromkeys(names, ""))
        train, valid, test = read("nlvr", folder)
        assert valid == {
            "image": [f"{folder}/{name}" for name in names],
            "question": ["There is a yellow circle."] * 6,
            "answer": ["true"] * 6,
            "group": ["72"] * 6,
        }
        assert train is test is None

    def test_other_splits(self, tmp_path):
        files = {"dev.json": json_lines(SENTENCE), "hidden.json": json_lines(SENTENCE)}
        folder = lay_out(tmp_path, files)
        for split in ("dev", "hidden"):
            with zipfile.ZipFile(f"{folder}/images_{split}.zip", "w") as archive:
                archive.writestr(f"{split}-72-0-0.png", b"")
        train, valid, _ = read("nlvr", folder, train="hidden")
        assert train["image"] == [f"{folder}/images_hidden.zip/hidden-72-0-0.png"]
        assert valid["image"] == [f"{folder}/images_dev.zip/dev-72-0-0.png"]

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            (SENTENCE, "'72-0' comes twice"),
            (SENTENCE | {"identifier": "9-1"}, "there is no image 'dev-9-1-0.png'"),
            (SENTENCE | {"identifier": "72-1", "label": "maybe"}, "`label` should be"),
            (SENTENCE | {"identifier": "72-1", "label": True}, "`label` should be of type str"),
            (SENTENCE | {"identifier": "72-1", "sentence": ""}, "`question` is empty"),
            (["72-1"], "`identifier` should be of type str"),
        ],
    )
    def test_what_is_wrong_is_named_or_counted(self, tmp_path, row, message):
        pictures = {"dev-72-0-0.png": "", "dev-72-1-0.png": ""}
        folder = lay_out(tmp_path, {"dev.json": json_lines(SENTENCE, row)} | pictures)
        with pytest.raises(ValueError, match=f"dev.json, line 2: {message}"):
            read_nlvr(f"{folder}/dev.json", folder)
        with pytest.warns(UserWarning, match="dev.json: skipped 1 wrong entries"):
            found = read_nlvr(f"{folder}/dev.json", folder, on_error="skip")
        assert found["group"] == ["72"]

    def test_lines_that_are_not_json(self, tmp_path):
        folder = lay_out(tmp_path, {"dev.json": "72-0\ttrue\n"})
        with pytest.raises(ValueError, match=r"dev.json, line 1: Extra data"):
            read_nlvr(f"{folder}/dev.json", folder)

    def test_real(self):
        hidden, dev, test = read("nlvr", data("nlvr"), train="hidden")
        assert len(dev["image"]) == 989
        assert dev["answer"].count("true") == 547
        assert len(set(dev["question"])) == 249
        assert len(hidden["image"]) == 985
        assert hidden["answer"].count("true") == 546
        assert len(set(hidden["question"])) == 256
        assert test is None
        rest, held = hold_out(dev, 0.2, by="group")
        assert not set(rest["group"]) & set(held["group"])


CLEVR = {
    "question_index": 0,
    "image_index": 7,
    "image_filename": "CLEVR_val_000007.png",
    "split": "val",
    "question": "How many spheres are there?",
    "answer": "3",
    "program": [
        {"function": "scene", "inputs": [], "value_inputs": []},
        {"function": "filter_shape", "inputs": [0], "value_inputs": ["sphere"]},
        {"function": "count", "inputs": [1], "value_inputs": []},
    ],
}
BARE = {key: CLEVR[key] for key in ("image_filename", "question", "question_index")}


def clevr(*entries):
    return json.dumps({"info": {"split": "val"}, "questions": entries})


class TestCLEVR:
    def test_layout(self, tmp_path):
        files = {
            "questions/CLEVR_val_questions.json": clevr(CLEVR),
            "questions/CLEVR_test_questions.json": clevr(BARE),
            "images/val/CLEVR_val_000007.png": "",
            "images/test/CLEVR_val_000007.png": "",
        }
        folder = lay_out(tmp_path, files)
        train, valid, test = read("clevr", folder)
        assert train is None
        assert valid == {
            "image": [f"{folder}/images/val/CLEVR_val_000007.png"],
            "question": ["How many spheres are there?"],
            "answer": ["3"],
            "question_type": ["count"],
        }
        assert list(test) == ["image", "question"]

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            (CLEVR | {"image_filename": "x.png"}, "there is no image 'x.png'"),
            (CLEVR | {"question": ""}, "`question` is empty"),
            (CLEVR | {"answer": 3}, "`answer` should be of type str. Received: 3"),
            (CLEVR | {"program": []}, "`function` should be of type str. Received: None"),
            (BARE, "`answer` should be of type str. Received: None"),
            (7, "`image_filename` should be of type str"),
        ],
    )
    def test_what_is_wrong_is_named_or_counted(self, tmp_path, entry, message):
        folder = lay_out(tmp_path, {"q.json": clevr(CLEVR, entry), "CLEVR_val_000007.png": ""})
        with pytest.raises(ValueError, match=rf"q.json, questions\[1\]: {message}"):
            read_clevr(f"{folder}/q.json", folder)
        with pytest.warns(UserWarning, match="q.json: skipped 1 wrong entries"):
            found = read_clevr(f"{folder}/q.json", folder, on_error="skip")
        assert found["question_type"] == ["count"]


@pytest.mark.parametrize("layout", ["vqa", "easy_vqa", "daquar", "nlvr", "clevr"])
def test_a_folder_without_the_layout(tmp_path, layout):
    with pytest.raises(ValueError, match=f"in the layout '{layout}', but none of its files is"):
        read(layout, tmp_path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=8))
def test_any_lines_around_a_pair_leave_it_as_it_is(tmp_path, noise):
    """Whatever else stands in a file of DAQUAR, a question with its answer is read."""
    others = [text.replace("image", "").encode() for text in noise]
    good = [b"what is on the desk in the image3 ?", b"a lamp"]
    folder = lay_out(
        tmp_path, {"qa.txt": b"\n".join([*others, b"", *good, b"", *others]), "image3.png": ""}
    )
    try:
        found = read_daquar(f"{folder}/qa.txt", folder)
    except ValueError:
        with pytest.warns(UserWarning, match="skipped"):
            found = read_daquar(f"{folder}/qa.txt", folder, on_error="skip")
    assert (found["question"], found["answer"]) == (["what is on the desk ?"], ["a lamp"])
