"""Manifests of anything but captioned images and transcribed recordings."""

import csv
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmkeras.data import read, read_manifest


def lay_out(folder, files):
    """Files by path; images and recordings are never opened, so they hold nothing."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder)


def json_lines(*rows):
    return "".join(f"{json.dumps(row)}\n" for row in rows)


class TestRecords:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("m.csv", "image,question,answer\na.jpg,What?,a dog\na.jpg,Wet?,no\n"),
            ("m.tsv", "image\tquestion\tanswer\na.jpg\tWhat?\ta dog\na.jpg\tWet?\tno\n"),
            (
                "m.jsonl",
                json_lines(
                    {"image": "a.jpg", "question": "What?", "answer": "a dog"},
                    {"image": "a.jpg", "question": " Wet?", "answer": "no"},
                ),
            ),
        ],
    )
    def test_questions_on_one_image_are_records_of_their_own(self, tmp_path, name, content):
        folder = lay_out(tmp_path, {name: content, "a.jpg": ""})
        assert read_manifest(f"{folder}/{name}") == {
            "image": [f"{folder}/a.jpg"] * 2,
            "question": ["What?", "Wet?"],
            "answer": ["a dog", "no"],
        }

    def test_answers_may_be_several_or_none(self, tmp_path):
        rows = [
            {"question": "Who?", "context": "Ann and Ben.", "answers": ["Ann", "Ben"]},
            {"question": "When?", "context": "Ann and Ben.", "answers": []},
            {"question": "Where?", "context": "In Bath.", "answer": ["Bath"]},
        ]
        folder = lay_out(tmp_path, {"m.jsonl": json_lines(*rows)})
        found = read_manifest(f"{folder}/m.jsonl")
        assert found["answer"] == [["Ann", "Ben"], [], ["Bath"]]
        assert found["context"] == ["Ann and Ben.", "Ann and Ben.", "In Bath."]

    def test_labels(self, tmp_path):
        rows = [{"text": "fine", "label": 1}, {"text": "so so", "label": "none"}]
        folder = lay_out(
            tmp_path, {"m.jsonl": json_lines(*rows), "m.csv": "text,label\nfine,1\nso so,none\n"}
        )
        expected = {"text": ["fine", "so so"], "label": ["1", "none"]}
        assert read_manifest(f"{folder}/m.jsonl") == expected
        assert read_manifest(f"{folder}/m.csv") == expected

    def test_other_columns_are_kept(self, tmp_path):
        rows = [
            {"text": "a", "summary": "b", "stars": 3.5, "start": 1},
            {"text": "c", "summary": "d", "tags": ["x"]},
        ]
        folder = lay_out(tmp_path, {"m.jsonl": json_lines(*rows)})
        assert read_manifest(f"{folder}/m.jsonl") == {
            "text": ["a", "c"],
            "summary": ["b", "d"],
            "stars": [3.5, None],
            "start": [1, None],
            "tags": [None, ["x"]],
        }

    def test_other_columns_of_speech_are_kept(self, tmp_path):
        table = "audio,text,accent\na.wav,yes,welsh\nb.wav,no,\n"
        folder = lay_out(tmp_path, {"m.csv": table, "a.wav": "", "b.wav": ""})
        found = read_manifest(f"{folder}/m.csv")
        assert found["accent"] == ["welsh", ""]
        assert "speaker" not in found

    def test_an_image_or_a_recording_may_be_missing(self, tmp_path):
        rows = [
            {"image": "a.jpg", "audio": "a.wav", "start": 1, "duration": 2, "label": "x"},
            {"image": None, "audio": "", "label": "y"},
        ]
        folder = lay_out(tmp_path, {"m.jsonl": json_lines(*rows), "a.jpg": "", "a.wav": ""})
        assert read_manifest(f"{folder}/m.jsonl") == {
            "image": [f"{folder}/a.jpg", None],
            "audio": [f"{folder}/a.wav#t=1,3", None],
            "label": ["x", "y"],
        }

    def test_captions_beside_something_else(self, tmp_path):
        rows = [
            {"image": "a.jpg", "audio": "a.wav", "captions": ["a dog", "one dog"]},
            {"image": "a.jpg", "audio": "b.wav", "caption": "a cat"},
        ]
        files = {"m.jsonl": json_lines(*rows), "a.jpg": "", "a.wav": "", "b.wav": ""}
        found = read_manifest(lay_out(tmp_path, files) + "/m.jsonl")
        assert found["caption"] == [["a dog", "one dog"], "a cat"]

    def test_splits(self, tmp_path):
        table = "question,answer,split\na,b,train\nc,d,val\ne,f,train\n"
        folder = lay_out(tmp_path, {"m.csv": table})
        train, valid, test = read("manifest", f"{folder}/m.csv")
        assert train == {"question": ["a", "e"], "answer": ["b", "f"]}
        assert (valid["question"], test) == (["c"], None)
        assert read_manifest(f"{folder}/m.csv")["question"] == ["a", "e", "c"]

    def test_columns_that_only_one_split_has(self, tmp_path):
        rows = [
            {"text": "a", "label": "x", "split": "train", "note": "!"},
            {"text": "b", "label": "y", "split": "test"},
        ]
        folder = lay_out(tmp_path, {"m.jsonl": json_lines(*rows)})
        assert read_manifest(f"{folder}/m.jsonl")["note"] == ["!", None]
        assert "note" not in read_manifest(f"{folder}/m.jsonl", split="test")


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("second", "message"),
        [
            ({"image": "a.jpg", "question": "x"}, "should have `answer`, `image`, `question`, as"),
            ({"image": "z.jpg", "question": "x", "answer": "y"}, "there is no image '.*z.jpg'"),
            ({"image": 3, "question": "x", "answer": "y"}, "`image` should be a string"),
            ({"image": "a.jpg", "question": " ", "answer": "y"}, "`question` is empty"),
            ({"image": "a.jpg", "question": None, "answer": "y"}, "`question` should be a string"),
            ({"image": "a.jpg", "question": "x", "answer": 2}, "`answer` should be a string"),
            ({"image": "a.jpg", "question": "x", "answers": ["y", ""]}, "`answers` is empty"),
            ({"image": "a.jpg", "question": "x", "answers": [1]}, "`answers` should be a string"),
            (
                {"image": "a.jpg", "question": "x", "answer": "y", "split": "test"},
                "`split` should be on all lines or on none",
            ),
        ],
    )
    def test_it_is_named_or_counted(self, tmp_path, second, message):
        good = {"image": "a.jpg", "question": "What?", "answer": "a dog"}
        folder = lay_out(tmp_path, {"m.jsonl": json_lines(good, second), "a.jpg": ""})
        with pytest.raises(ValueError, match=f"m.jsonl, line 2: {message}"):
            read_manifest(f"{folder}/m.jsonl")
        with pytest.warns(UserWarning, match="m.jsonl: skipped 1 wrong entries"):
            found = read_manifest(f"{folder}/m.jsonl", on_error="skip")
        assert found["answer"] == ["a dog"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("text,label\n,x\n", "line 2: `text` is empty"),
            ("text,label\na,\n", "line 2: `label` is empty"),
            ("text,label\na\n", "line 2: should have 2 fields"),
            ("text,label\n", "m.csv: holds no "),
            ("image,label,split\na.jpg,x,train\na.jpg,y,test\n", "line 3: .* 'train' too"),
            ("audio,label\na.wav,x\n", "line 2: there is no audio '.*a.wav'"),
            (b"text,label\na,d\xf6g\n", "line 2: 'utf-8' codec"),
            ("source,target\na,b\n", r"line 1: the header should name \['caption', 'image'\]"),
        ],
    )
    def test_of_tables(self, tmp_path, content, message):
        folder = lay_out(tmp_path, {"m.csv": content, "a.jpg": ""})
        with pytest.raises(ValueError, match=f"m.csv.*{message}|{message}"):
            read_manifest(f"{folder}/m.csv")

    def test_labels_that_are_neither_words_nor_whole_numbers(self, tmp_path):
        for label in (True, 1.5, None, ["a"]):
            folder = lay_out(tmp_path, {"m.jsonl": json_lines({"text": "a", "label": label})})
            with pytest.raises(ValueError, match="line 1: `label` should be a string"):
                read_manifest(f"{folder}/m.jsonl")


words = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(str.strip)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(words, words), min_size=1, max_size=5))
def test_what_is_written_is_read(tmp_path, pairs):
    rows = [{"text": text, "label": label} for text, label in pairs]
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, ["text", "label"])
    writer.writeheader()
    writer.writerows(rows)
    folder = lay_out(tmp_path, {"m.jsonl": json_lines(*rows), "m.csv": table.getvalue()})
    expected = {name: [row[name].strip() for row in rows] for name in ("text", "label")}
    assert read_manifest(f"{folder}/m.jsonl") == expected
    assert read_manifest(f"{folder}/m.csv") == expected
