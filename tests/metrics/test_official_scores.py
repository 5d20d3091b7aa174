"""The numbers of the COCO caption toolkit, corpus and item by item."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmkeras.metrics import Bleu, CiderD, RougeL, caption_scores, tokenize

SHARED = Path(__file__).parents[3] / "shared" / "data" / "caption_metrics"
CORPUS_NAMES = {
    "Bleu_1": "BLEU-1",
    "Bleu_2": "BLEU-2",
    "Bleu_3": "BLEU-3",
    "Bleu_4": "BLEU-4",
    "ROUGE_L": "ROUGE-L",
    "CIDEr": "CIDEr-D",
}


def load(file_name):
    path = SHARED / file_name
    if not path.exists():
        pytest.skip(f"needs ../shared/data/caption_metrics/{file_name}")
    return json.loads(path.read_text(encoding="utf-8"))


def texts(file_name, candidate=None):
    content = load(file_name)
    items = list(content["references"])
    candidates = [candidate or content["candidates"][item] for item in items]
    return items, candidates, [content["references"][item] for item in items]


def check(name, items, candidates, references, tokenized):
    official = load(f"{name}.scores.json")
    corpus, per_item = {}, {}
    for metric in (Bleu(tokenized=tokenized), RougeL(tokenized), CiderD(tokenized=tokenized)):
        metric.update(candidates, references)
        corpus |= metric.result()
        per_item |= metric.per_item()
    for theirs, ours in CORPUS_NAMES.items():
        assert corpus[ours] == pytest.approx(official["corpus"][theirs], rel=1e-9, abs=1e-12)
    for column, theirs in enumerate(official["per_item_fields"]):
        if theirs != "METEOR":
            expected = [official["per_item"][item][column] for item in items]
            # The file rounds to six decimals.
            np.testing.assert_allclose(per_item[CORPUS_NAMES[theirs]], expected, atol=6e-7)


def test_untokenized_example_of_nlgeval():
    check("nlgeval_example", *texts("nlgeval_example.json"), tokenized=True)


@pytest.mark.parametrize(
    "name",
    [
        "clipscore_good",
        "clipscore_bad",
        "aac_example_1",
        "flickr8k_dev_human",
        "flickr8k_dev_random_train_caption",
    ],
)
def test_tokenized_files(name):
    check(name, *texts(f"{name}.ptb.json"), tokenized=True)


@pytest.mark.parametrize("name", ["clipscore_good", "clipscore_bad", "flickr8k_dev_knn_consensus"])
def test_raw_files_through_our_tokenizer(name):
    check(name, *texts(f"{name}.json"), tokenized=False)


def test_constant_caption():
    constant = "a man in a blue shirt is standing in front of a building"
    items = texts("flickr8k_dev_random_train_caption.ptb.json", constant)
    check("flickr8k_dev_constant", *items, tokenized=True)


@pytest.mark.parametrize("name", ["flickr8k_dev_human", "aac_example_1"])
def test_tokenizer_agrees_with_the_java_one(name):
    pairs = []
    raw_file, gold_file = texts(f"{name}.json"), texts(f"{name}.ptb.json")
    for raw, gold in zip(raw_file[1:], gold_file[1:], strict=True):
        pairs += zip(np.ravel(raw), np.ravel(gold), strict=True)
    equal = [tokenize(str(raw)) == str(gold) for raw, gold in pairs]
    assert np.mean(equal) > 0.999


def test_collapse_shows_on_real_captions():
    _, candidates, references = texts("flickr8k_dev_human.json")
    human = caption_scores(candidates[:300], references[:300], shuffle_seed=0)
    assert human["unique"] > 0.99
    assert human["vocabulary"] > 500
    assert human["CIDEr-D shuffled"] < 0.1 * human["CIDEr-D"]
    constant = caption_scores(candidates[:1] * 300, references[:300], shuffle_seed=0)
    assert constant["unique"] == 1 / 300
    assert constant["vocabulary"] < 25
    assert constant["CIDEr-D shuffled"] == pytest.approx(constant["CIDEr-D"])
