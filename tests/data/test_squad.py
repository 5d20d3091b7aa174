import copy
import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmkeras.data import read, read_squad

CONTEXT = "  Zoë was born in Bath.\n\nShe died in Ulm, in 1999. "
ONE = {
    "id": "a1",
    "question": "Where was she born?",
    "answers": [
        {"text": "Bath", "answer_start": 18},
        {"text": "in Bath", "answer_start": 15},
    ],
}
NONE = {
    "id": "a2",
    "question": " Whom did she love? ",
    "answers": [],
    "is_impossible": True,
    "plausible_answers": [{"text": "Ulm", "answer_start": 36}],
}


def squad(*questions, context=CONTEXT):
    paragraph = {"context": context, "qas": list(questions)}
    return {"version": "v2.0", "data": [{"title": "Zoë", "paragraphs": [paragraph]}]}


def broken(change):
    content = copy.deepcopy(squad(ONE))
    change(content["data"])
    return content


def written(folder, content, name="dev-v2.0.json"):
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / name).write_bytes(raw)
    return str(folder / name)


def test_records(tmp_path):
    assert read_squad(written(tmp_path, squad(ONE, NONE))) == {
        "question": ["Where was she born?", "Whom did she love?"],
        "context": [CONTEXT] * 2,
        "answer": [["Bath", "in Bath"], []],
        "answer_start": [[18, 15], []],
        "question_id": ["a1", "a2"],
        "title": ["Zoë", "Zoë"],
    }


def test_a_context_is_held_once(tmp_path):
    first, second = read_squad(written(tmp_path, squad(ONE, NONE)))["context"]
    assert first is second


def test_an_article_may_have_no_title(tmp_path):
    path = written(tmp_path, broken(lambda data: data[0].pop("title")))
    assert read_squad(path)["title"] == [None]


def test_packed_and_with_a_byte_order_mark(tmp_path):
    content = squad(ONE)
    raw = b"\xef\xbb\xbf" + json.dumps(content, ensure_ascii=False).encode()
    expected = read_squad(written(tmp_path, content))
    assert read_squad(written(tmp_path, raw)) == expected
    assert read_squad(written(tmp_path, gzip.compress(raw), "dev.json.gz")) == expected


def test_versions_by_name(tmp_path):
    written(tmp_path, squad(ONE), "train-v1.1.json")
    written(tmp_path, squad(ONE, NONE), "train-v2.0.json")
    written(tmp_path, squad(NONE), "dev-v2.0.json")
    train, valid, test = read("squad", tmp_path)
    assert (train["question_id"], valid, test) == (["a1"], None, None)
    train, valid, _ = read("squad", tmp_path, version="2.0")
    assert (train["question_id"], valid["answer"]) == (["a1", "a2"], [[]])
    with pytest.raises(ValueError, match="in the layout 'squad', but none of its files is there"):
        read("squad", tmp_path, version="3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": ""}, "question id 'a1': `question` is empty"),
        ({"question": None}, "question id 'a1': `question` should be of type str"),
        ({"id": 7}, "question id 7: `id` should be of type str. Received: 7"),
        ({"id": "a2"}, "question id 'a2': comes twice"),
        ({"answers": None}, "question id 'a1': `answers` should be of type list"),
        ({"answers": ["Bath"]}, "question id 'a1': `text` should be of type str"),
        ({"answers": [{"text": "Bath"}]}, "question id 'a1': `answer_start` should be of type int"),
        (
            {"answers": [{"text": "Bath", "answer_start": 17}]},
            "'a1': the answer 'Bath' should stand in the context at 17. Received: ' Bat' there",
        ),
        ({"answers": [{"text": "Ulm", "answer_start": 999}]}, "context at 999. Received: '' there"),
        ({"answers": [{"text": " ", "answer_start": -1}]}, "'a1': the answer ' ' should stand"),
        ({"answers": [{"text": "", "answer_start": 0}]}, "'a1': the answer '' should stand"),
        ({"is_impossible": True}, "'a1': `is_impossible` should be false, with 2 answers"),
        ({"answers": [], "is_impossible": False}, "'a1': `is_impossible` should be true, with 0"),
    ],
)
def test_what_is_wrong_with_a_question_is_named_or_counted(tmp_path, change, message):
    path = written(tmp_path, squad(NONE, ONE | change))
    with pytest.raises(ValueError, match=f"dev-v2.0.json, .*{message}"):
        read_squad(path)
    with pytest.warns(UserWarning, match=r"dev-v2.0.json: skipped 1 wrong entries"):
        assert read_squad(path, on_error="skip")["question_id"] == ["a2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (broken(lambda data: data[0].pop("paragraphs")), r"data\[0\]: `paragraphs` should be of"),
        (broken(lambda data: data.append("x")), r"data\[1\]: `paragraphs` should be of type list"),
        (
            broken(lambda data: data[0]["paragraphs"].append({"context": "x"})),
            r"data\[0\].paragraphs\[1\]: `qas` should be of type list",
        ),
        (
            broken(lambda data: data[0]["paragraphs"][0]["qas"].append("x")),
            r"data\[0\].paragraphs\[0\].qas: `id` should be of type str",
        ),
        ({"data": []}, "holds no question"),
        ([], "should be an object with a list `data`"),
        (b"{", "not valid JSON"),
        ("é".encode("latin-1"), "not valid JSON"),
    ],
)
def test_what_is_wrong_with_the_file_is_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=f"dev-v2.0.json(: |, ){message}"):
        read_squad(written(tmp_path, content))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
    st.integers(0, 20),
    st.integers(1, 20),
)
def test_every_span_of_every_context_is_found_where_it_stands(tmp_path, context, start, length):
    text = context[start : start + length]
    answers = [{"text": text, "answer_start": start}] if text else []
    path = written(tmp_path, squad(ONE | {"answers": answers}, context=context))
    found = read_squad(path)
    assert found["context"] == [context]
    for said, begin in zip(found["answer"][0], found["answer_start"][0], strict=True):
        assert found["context"][0][begin : begin + len(said)] == said
    assert found["answer"] == [[text] if text else []]
