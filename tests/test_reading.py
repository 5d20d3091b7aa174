"""Questions about a text: answers from the first file to the served graph, to the character."""

import json
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from contract import check_task

import mmkeras as mm

RECIPES = Path(__file__).parents[1] / "recipes"
# Two texts in several scripts, with white space, capitals and emoji to keep.
TEXTS = {
    "  Zoë Ó Súilleabháin was born in \u3000Bath.\n\nShe lives in 北京市, with two CATS 🐈‍⬛🐈. ": [
        ("Who was born?", "Zoë Ó Súilleabháin"),
        ("Where was she born?", "Bath"),
        ("Where does she live?", "北京市"),
        ("What has she got?", "two CATS 🐈‍⬛🐈"),
        ("Whom does she love?", None),
    ],
    "Bath is a town; its river, the Avon,\tis 154 km long. 巴斯 is its Chinese name.": [
        ("What is Bath?", "a town"),
        ("How long is the river?", "154 km"),
        ("What is the river called?", "Avon"),
        ("What is its Chinese name?", "巴斯"),
        ("Who was born?", None),
    ],
}


def squad(texts):
    """A file of SQuAD's form."""
    paragraphs = [
        {
            "context": context,
            "qas": [
                {
                    "id": f"{number}.{i}",
                    "question": question,
                    "is_impossible": answer is None,
                    "answers": []
                    if answer is None
                    else [{"text": answer, "answer_start": context.index(answer)}],
                }
                for i, (question, answer) in enumerate(asked)
            ],
        }
        for number, (context, asked) in enumerate(texts.items())
    ]
    return json.dumps({"version": "v2.0", "data": [{"title": "", "paragraphs": paragraphs}]})


@pytest.fixture(scope="module", autouse=True)
def _unoptimized():
    """Optimizing graphs that run a few times takes longer than running them."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squad")
    (folder / "train-v2.0.json").write_text(squad(TEXTS))
    return mm.read("squad", folder, version="2.0")[0]


@pytest.fixture(scope="module")
def words(records):
    return mm.train_tokenizer(records["context"] + records["question"], "word")


def inputs(records, rows=slice(None)):
    return {name: records[name][rows] for name in ("context", "question")}


def build(words, *args, **options):
    options = {"size": "tiny", "dropout": 0.0, "encoder": "lstm", "fusion": "film"} | options
    return mm.question_answering(words, *args, **options)


@pytest.fixture(scope="module")
def learnt(words, records):
    """A small model that has learnt the file by heart."""
    keras.utils.set_random_seed(0)
    task = build(words, encoder="bilstm", fusion="cross_attention")
    mm.compile_task(task, keras.optimizers.Adam(3e-3))
    data = mm.dataset(records, task.preprocessor, 10).cache()
    task.fit(data.repeat(80), verbose=0)
    return task


def test_a_file_is_learnt_by_heart(learnt, records):
    scores, answers = mm.evaluate(learnt, records, progress=False)
    assert answers == [each[0] if each else "" for each in records["answer"]]
    assert scores["EM"] == scores["F1"] == 1
    assert scores["by answer"]["NoAns"]["questions"] == 2


def test_the_served_graph_gives_the_same_characters(learnt, records, tmp_path):
    asked = inputs(records)
    exported = mm.Export(mm.export(learnt, tmp_path / "export", inputs(records, slice(2))))
    assert exported.infer(asked)["answer"] == learnt.infer(asked)["answer"]
    best = exported.infer(asked, "nbest")
    assert [row[0] for row in best["answer"]] == learnt.infer(asked)["answer"]
    assert all(row == sorted(row, reverse=True) and len(row) == 5 for row in best["score"])
    # Of any text what is found stands in it, also of bytes that are none.
    raw = {"question": [b"Who?"] * 3, "context": [b"\xff\xfe \x80cats", "猫🐈".encode(), b" \n"]}
    answers = exported.run({key: tf.constant(x) for key, x in raw.items()}, "nbest")["answer"]
    assert all(
        answer.decode() in context.decode(errors="replace")
        for row, context in zip(answers, raw["context"], strict=True)
        for answer in row
    )
    assert set(answers[2]) == {b""}
    assert exported.infer({"question": [], "context": []}) == {"answer": [], "score": []}
    operations = (tmp_path / "export" / "1" / "saved_model.pb").read_bytes()
    assert not re.search(rb"PyFunc|XlaDynamic", operations)
    assert mm.verify(tmp_path / "export") == []


def test_it_tells_where_it_looked(learnt, records):
    asked = inputs(records, slice(5))
    raw = learnt.raw_tensors(learnt.preprocessor.load(asked))
    told = {key: x.numpy() for key, x in learnt.serve_function("explain")(raw).items()}
    assert set(told) == {"answer", "score", "answer_tokens", "answer_starts", "answer_ends"}
    tokens = [[x.decode() for x in row] for row in told["answer_tokens"]]
    found = [
        "" if starts.sum() < 0.5 else f"{row[starts.argmax()]} ... {row[ends.argmax()]}"
        for row, starts, ends in zip(
            tokens, told["answer_starts"], told["answer_ends"], strict=True
        )
    ]
    assert found == [
        "Zoë ... Súilleabháin",
        "Bath ... Bath",
        "北 ... 市",
        "two ... 🐈",
        "",
    ]
    assert (told["answer_starts"].sum(axis=1) <= 1 + 1e-5).all()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("extractive", {"encoder": "transformer"}),
        ("generative", {"fusion": "concatenate"}),
    ],
)
def test_both_kinds_keep_the_contract(kind, options, words, records, tmp_path):
    some = {
        name: column[2:5] if kind == "extractive" else column[1:4]
        for name, column in records.items()
    }
    if kind == "generative":
        some["answer"] = [answers[0] for answers in some["answer"]]
    check_task(build(words, kind, **options), some, tmp_path)


def test_written_answers_are_scored_by_their_words(words, records):
    task = build(words, "generative", fusion="concatenate")
    rows = {name: column[:4] for name, column in records.items()}
    scores, answers = mm.evaluate(task, rows, progress=False)
    assert scores == mm.span_scores(answers, rows["answer"])


@pytest.mark.parametrize("fusion", ["bottleneck", "co_attention", "early", "film", "recurrent"])
def test_whatever_the_fusion_the_places_are_those_of_the_context(fusion, words, records):
    task = build(words, fusion=fusion)
    x, _, _ = next(iter(mm.dataset(records, task.preprocessor, 10)))
    logits = task(x, training=False)["answer"]
    assert logits.shape == (10, 2, 1 + x["context"].shape[1])
    hidden = np.repeat(x["context"].numpy()[:, None] == 0, 2, axis=1)
    assert (logits.numpy()[..., 1:][hidden] < -1e4).all()
    assert (logits.numpy()[..., 1:][~hidden] > -1e4).all()


@pytest.fixture(scope="module")
def head():
    keras.utils.set_random_seed(3)
    head = mm.Locate(longest=3, name="answer")
    head.build((None, None, 6))
    head.output_layer.kernel.assign(5 * head.output_layer.kernel)
    return head


def test_spans_are_the_likeliest_of_all(head):
    random = np.random.default_rng(0)
    context = random.normal(size=(3, 7, 6)).astype("float32")
    mask = np.arange(7) < np.array([[7], [4], [0]])
    first, last = np.moveaxis(keras.ops.softmax(head(context, mask)).numpy(), 1, 0)
    found = head.answer(context, mask, n_best=20)
    for row, length in enumerate((7, 4, 0)):
        chances = {(0, 0): first[row, 0] * last[row, 0]}
        for begin in range(1, length + 1):
            for end in range(begin, min(begin + 2, length) + 1):
                chances[begin, end] = first[row, begin] * last[row, end]
        best = sorted(chances, key=chances.get, reverse=True)[:20]
        ids = [tuple(each) for each in found["ids"].numpy()[row, : len(best)].tolist()]
        assert ids == best
        np.testing.assert_allclose(
            found["scores"][row],
            [chances[span] for span in best] + [0.0] * (20 - len(best)),
            rtol=1e-4,
            atol=1e-6,
        )
    alone = head.answer(context[1:2, :4])
    np.testing.assert_array_equal(alone["ids"], found["ids"][1:2, :1])


def test_strange_questions_and_contexts(learnt):
    strange = ["什么", "why " * 10_000, "🦄 ?!", "\u0000"]
    found = learnt.infer(
        {"question": strange, "context": [" \u3000", "x" * 10_000, "🐈" * 500, "a\u0000b"]}
    )
    assert found["answer"][0] == ""
    with pytest.raises(ValueError, match="'question', row 0: is missing"):
        learnt.infer({"question": [""], "context": ["Bath"]})
    with pytest.raises(ValueError, match="'context', row 0: is missing"):
        learnt.infer({"question": ["Who?"], "context": [None]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "abstractive"}, "`kind` should be one of ['extractive', 'generative']"),
        ({"fusion": "mean"}, "which keep the places of the context, a layer or a function."),
        ({"encoder": "bert"}, "`encoder` should be one of ['bag', 'bigru', 'bilstm',"),
        ({"size": "huge"}, "`size` should be one of"),
        ({"sequence_length": 0}, "`sequence_length` should be a whole number of tokens"),
    ],
)
def test_errors_name_the_argument(words, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build(words, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_best": 0}, "`n_best` should be a whole number from 1. Received: n_best=0"),
        ({"beam_width": 4}, "A span has no option but `n_best`. Received: ['beam_width']"),
    ],
)
def test_bad_options(head, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        head.answer(np.zeros((1, 2, 6), "float32"), **options)


def test_longest_should_be_a_length():
    with pytest.raises(ValueError, match="`longest` should be a whole number from 1"):
        mm.Locate(longest=0)


def test_the_recipe(tmp_path):
    (tmp_path / "train-v2.0.json").write_text(squad(TEXTS))
    (tmp_path / "dev-v2.0.json").write_text(squad(dict(list(TEXTS.items())[:1])))
    command = [sys.executable, RECIPES / "question_answering.py", "--data", "squad"]
    command += ["--path", tmp_path, "--version", "2.0", "--out", tmp_path / "out"]
    command += ["--epochs", "1", "--minimum-words", "1", "--fusion", "film", "--encoder", "lstm"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "valid split\nEM " in done.stdout
    assert "verified, equal" in done.stdout
    model = mm.load_model(tmp_path / "out" / "model.keras")
    assert len(model.infer({"question": ["Who?"], "context": ["Zoë"]})["answer"]) == 1
