"""The two smallest builders: one class for a text or a picture."""

import numpy as np
import pytest
from contract import check_task

import mmkeras as mm

TEXTS = ["what a film", "dull and long", "a fine cast"]
CLASSES = ["good", "bad"]


@pytest.mark.parametrize("encoder", ["lstm", "bilstm", "gru", "transformer"])
def test_texts(encoder, tmp_path):
    words = mm.train_tokenizer(TEXTS, "word")
    task = mm.text_classification(words, CLASSES, encoder, "tiny", dropout=0.0)
    check_task(task, {"text": TEXTS, "label": ["good", "bad", "good"]}, tmp_path)


@pytest.mark.parametrize("encoder", ["conv", "conv_lstm"])
def test_pictures(encoder, photo, tmp_path):
    task = mm.image_classification(CLASSES, 32, encoder, "tiny", dropout=0.0)
    photos = [photo(i) for i in range(3)]
    check_task(task, {"image": photos, "label": ["good", "bad", "good"]}, tmp_path)


def test_word_vectors_to_begin_with(tmp_path):
    words = mm.train_tokenizer(TEXTS, "word")
    vectors = np.random.default_rng(0).normal(size=(words.vocabulary_size, 12)).astype("float32")
    task = mm.text_classification(words, CLASSES, size="tiny", vectors=vectors)
    assert any(
        weight.shape == vectors.shape and np.allclose(weight, vectors) for weight in task.weights
    )


def test_several_texts_in_a_row_do_not_change_each_other():
    words = mm.train_tokenizer(TEXTS, "word")
    task = mm.text_classification(words, CLASSES, size="tiny")
    together = task.infer({"text": [*TEXTS, "a " * 30]})["score"]
    alone = [task.infer({"text": [text]})["score"][0] for text in TEXTS]
    np.testing.assert_allclose(together[:3], alone, rtol=1e-4)
