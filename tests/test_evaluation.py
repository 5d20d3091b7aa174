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
