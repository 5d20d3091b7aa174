import base64
import io
import re

import keras
import numpy as np
import PIL.Image
import pytest
from keras import ops
from pages import Page

from mmkeras.assembly import assemble
from mmkeras.builders import image_captioning
from mmkeras.decoders import LSTMDecoder
from mmkeras.layers import FlattenGrid
from mmkeras.metrics import caption_scores
from mmkeras.preprocessing import Features, Text, WordTokenizer
from mmkeras.report import write_report

WORDS = WordTokenizer(["[PAD]", "[START]", "[END]", "[UNK]", "<b>", "star", "狗"])
HISTORY = {"loss": [3.0, 2.0], "val_loss": [3.5, 2.5], "token_accuracy": [0.25, 0.5]}
ROWS = 8
ANSWERS = ["<script>alert(1)</script>", "一只狗在草地上跑", 'a "dog" & a 🐶', "", *["a star"] * 4]
REFERENCES = [[f"a <i>star</i> number {row}", "a red star", "the star"] for row in range(ROWS)]


@pytest.fixture(scope="module")
def task():
    def pooled(image):
        pixels = ops.cast(image, "float32") / 255
        return FlattenGrid()(keras.layers.AveragePooling2D(16)(pixels)), None

    keras.utils.set_random_seed(0)
    return image_captioning(WORDS, 32, None, pooled, "lstm", "tiny", sequence_length=4)


@pytest.fixture(scope="module")
def records():
    photos = np.random.default_rng(0).integers(0, 255, (ROWS, 40, 60, 3), "uint8")
    return {"image": list(photos), "caption": REFERENCES}


@pytest.fixture(scope="module")
def page(task, records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    path = write_report(
        folder / "new" / "report.html",
        task,
        records,
        ANSWERS,
        HISTORY,
        title="Stars & <dogs>",
        notes="First <part>.\n\nSecond part.",
        baselines={"says <one> thing": (caption_scores(["a star"] * ROWS, REFERENCES), [])},
        details={"seed": 17, "command": "train --out <here>"},
        min_length=2,
    )
    return Page(path)


def charts(page):
    return [chart["aria-label"] for chart in page.all("svg")]


def written(tmp_path, *args, **options):
    return Page(write_report(tmp_path / "report.html", *args, **options))


def test_every_answer_and_reference_is_told_and_escaped(page):
    for answer in ANSWERS:
        assert (answer or "(empty)") in page.text
    for row in range(ROWS):
        assert f"a <i>star</i> number {row}" in page.text
    for text in ("Stars & <dogs>", "First <part>. Second part.", "says <one> thing"):
        assert text in page.text
    assert not {"script", "dogs", "part", "one", "here"} & {tag for tag, _ in page.found}
    assert "<script" not in page.source
    assert "&lt;script&gt;alert(1)" in page.source


def test_the_page_needs_nothing_else(page):
    assert not re.search(
        r"(?i)https?://|url\(|@import|src=\"(?!data:)|href=\"(?!data:)", page.source
    )
    assert "default-src 'none'" in page.source


def test_photos_decode_and_say_what_they_show(page):
    for image in page.all("img"):
        data = image["src"].removeprefix("data:image/jpeg;base64,")
        picture = PIL.Image.open(io.BytesIO(base64.b64decode(data)))
        assert picture.size == (int(image["width"]), int(image["height"]))
        assert np.asarray(picture).std() > 5
        assert image["alt"]
    assert "Photo of record 0: <script>alert(1)</script>" in {i["alt"] for i in page.all("img")}


def test_curves_are_drawn(page):
    loss, accuracy = charts(page)
    assert loss == "loss by epoch: train ends at 2, valid ends at 2.5"
    assert accuracy == "token accuracy by epoch: train ends at 0.5"
    assert "valid, epoch 1: 3.5" in page.text


def test_scores_stand_beside_the_baselines(page):
    scores = caption_scores(ANSWERS, REFERENCES, shuffle_seed=0)
    weak = caption_scores(["a star"] * ROWS, REFERENCES)
    assert f"BLEU-4 {scores['BLEU-4']:.4f} {weak['BLEU-4']:.4f}" in page.text
    assert f"CIDEr-D {scores['CIDEr-D']:.4f} {weak['CIDEr-D']:.4f}" in page.text
    assert f"{scores['CIDEr-D shuffled']:.4f} –" in page.text
    assert scores["signatures"][0] in page.text


def test_best_and_worst_are_ranked(page):
    best, worst = (
        re.search(f"{which} by CIDEr-D(.*)", page.text)[1] for which in ("Best", "Worst")
    )
    ranks = [
        [float(x) for x in re.findall(r"· CIDEr-D ([\d.]+)", part)[:4]] for part in (best, worst)
    ]
    assert ranks[0] == sorted(ranks[0], reverse=True)
    assert ranks[1] == sorted(ranks[1])
    assert ranks[0][-1] >= ranks[1][-1]


def test_attention_model_and_run_are_told(page, task):
    assert "Where each word looked" in page.text
    assert any(image["alt"].startswith("Where “") for image in page.all("img"))
    assert f"{task.count_params():,} parameters" in page.text
    assert "WordTokenizer 7 ids" in page.text
    for row in ("seed 17", "command train --out <here>", "search min_length=2", "TensorFlow 2."):
        assert row in page.text


def test_the_task_answers_when_no_answers_are_given(task, records, tmp_path):
    few = {name: values[:2] for name, values in records.items()}
    page = written(tmp_path, task, few, min_length=2)
    for answer in task.infer({"image": few["image"]}, min_length=2)["caption"]:
        assert answer in page.text
    assert "Training" not in page.text
    assert charts(page) == []


def test_one_record_without_references(task, records, tmp_path):
    page = written(tmp_path, task, {"image": records["image"][:1]}, ["a star"])
    assert "a star" in page.text
    for left_out in ("Scores", "CIDEr-D", "Best", "In bold"):
        assert left_out not in page.text


def test_one_record_with_one_reference(task, records, tmp_path):
    page = written(tmp_path, task, {"image": records["image"][:1], "caption": ["one star"]}, ["a"])
    assert "one star" in page.text
    assert "BLEU-4" in page.text
    assert "Best" not in page.text


@pytest.mark.parametrize("history", [None, {}, [], {"loss": []}])
def test_an_empty_history_draws_nothing(history, task, records, tmp_path):
    few = {"image": records["image"][:1]}
    assert charts(written(tmp_path, task, few, ["a"], history)) == []


def test_stages_and_odd_values_are_drawn(task, records, tmp_path):
    kept = keras.callbacks.History()
    kept.history = {"loss": [2.0], "val_loss": [2.0]}
    rare = {"loss": list(np.linspace(900, 0.1, 60)), "val_loss": [5.0, float("nan"), 4.0]}
    lost = {"loss": [float("nan"), float("inf")]}
    few = {"image": records["image"][:1]}
    page = written(tmp_path, task, few, ["a"], [kept, rare, lost])
    assert charts(page)[0] == "loss by epoch: train ends at 2, valid ends at 2"
    assert charts(page)[1] == "loss by epoch: train ends at 0.1, valid ends at 4"
    assert "loss was never finite" in page.text
    assert "Stage 3" in page.text
    assert "nan" not in page.source.split("<svg")[1]


def test_a_task_without_photos_has_cards_of_text(tmp_path):
    fields = {"vector": (Features((4,)), lambda x: (ops.expand_dims(x, 1), None))}
    decoder = LSTMDecoder(WORDS.vocabulary_size, 4, width=8, name="caption")
    task = assemble(fields, {"caption": (Text(WORDS, 3), decoder)}, width=8)
    page = written(tmp_path, task, {"vector": np.eye(4), "caption": ["a star"] * 4}, ["a"] * 4)
    assert page.all("img") == []
    assert "looked" not in page.text
    assert "a star" in page.text


def test_what_does_not_fit_is_named(task, records, tmp_path):
    with pytest.raises(ValueError, match=r"`answers` should hold one text for each of 8 .* 1"):
        written(tmp_path, task, records, ["a"])
    with pytest.raises(ValueError, match="`answers` should be a list of str"):
        written(tmp_path, task, records, [["a"]] * ROWS)
    with pytest.raises(
        ValueError, match=r"`records` should hold columns of one length.* 1 of 'cap"
    ):
        written(tmp_path, task, {**records, "caption": ["a"]}, ANSWERS)
    for empty in ({"image": []}, {"caption": ["a"]}):
        with pytest.raises(ValueError, match=r"`records` should hold a record .*\['image'\]"):
            written(tmp_path, task, empty)
    assert not list(tmp_path.iterdir())
