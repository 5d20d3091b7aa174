import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from contract import check_task

import mmkeras as mm

TEXTS = ["a red dog", "a blue cat sleeps", "two birds"]


@pytest.fixture(scope="module")
def records(photo):
    photos = [photo(i, (40, 50), "JPEG") for i in range(3)]
    return {"image": photos, "caption": [[text] for text in TEXTS]}


@pytest.fixture(scope="module")
def words():
    return mm.train_tokenizer(TEXTS, "word")


def build(tokenizer, **options):
    options = {"image_size": 32, "size": "tiny", "sequence_length": 6, "dropout": 0.0} | options
    return mm.image_captioning(tokenizer, **options)


@pytest.mark.parametrize("decoder", ["lstm", "transformer"])
def test_conv_encoder(decoder, words, records, tmp_path):
    check_task(build(words, decoder=decoder), records, tmp_path)


def test_patch_encoder_and_subwords(records, tmp_path):
    subwords = mm.train_tokenizer(TEXTS, "subword", vocabulary_size=300)
    check_task(build(subwords, encoder="patch"), records, tmp_path)


def test_frozen_backbone(words, records, tmp_path):
    backbone = keras.applications.MobileNet(
        (32, 32, 3), alpha=0.25, include_top=False, weights=None
    )
    check_task(build(words, encoder=backbone, decoder="lstm"), records, tmp_path)


@pytest.mark.parametrize("shape", [(12,), (5, 12), (2, 3, 12)])
def test_precomputed_features_alone(shape, words, tmp_path):
    features = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    columns = {"features": features, "caption": [[text] for text in TEXTS]}
    check_task(build(words, image_size=None, features=shape), columns, tmp_path)


def test_photo_and_features_together(words, records, tmp_path):
    features = np.random.default_rng(0).normal(size=(3, 12)).astype("float32")
    check_task(build(words, features=(12,)), {**records, "features": features}, tmp_path)


def test_learns_captions_by_heart(words, records):
    keras.utils.set_random_seed(0)
    model = build(words, decoder="lstm")
    mm.compile_task(model, keras.optimizers.Adam(1e-2))
    data = mm.dataset(records, model.preprocessor, 3).cache().repeat(60)
    model.fit(data, verbose=0)
    assert model.infer({"image": records["image"]}, beam_width=3)["caption"] == TEXTS


def test_nbest_and_samples_are_lists_per_example(words, records):
    model = build(words)
    answers = model.infer({"image": records["image"]}, beam_width=3, n_best=2)
    assert np.shape(answers["caption"]) == np.shape(answers["score"]) == (3, 2)
    drawn = model.infer({"image": records["image"]}, samples=4, seed=1)
    assert np.shape(drawn["caption"]) == (3, 4)
    assert drawn == model.infer({"image": records["image"]}, samples=4, seed=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"encoder": "vgg"},
            "`encoder` should be one of ['conv', 'conv_lstm', 'grid_transformer', 'patch'], "
            "a keras.Model or",
        ),
        ({"decoder": "gru"}, "`decoder` should be one of ['lstm', 'transformer'] or a Decoder"),
        (
            {"size": "huge"},
            "`size` should be one of ['base', 'small', 'tiny']. Received: size='huge'",
        ),
        ({"image_size": None}, "`image_size` or `features` should be given"),
        ({"features": (1, 2, 3, 4)}, "Received: shape=(1, 2, 3, 4)"),
        ({"sequence_length": 0}, "`sequence_length` should be a whole number of tokens"),
    ],
)
def test_errors_name_the_argument(options, message, words):
    with pytest.raises(ValueError, match=re.escape(message)):
        build(words, **options)


def test_a_tokenizer_that_is_none_is_refused():
    with pytest.raises(ValueError, match="`tokenizer` should be a tokenizer"):
        build("words")


def test_infer_names_input_and_row(words, records, tmp_path):
    model = build(words)
    with pytest.raises(ValueError, match=r"with the names \['image'\]. Received: \['photo'\]"):
        model.infer({"photo": []})
    with pytest.raises(ValueError, match=r"'image', row 1: .*missing\.jpg"):
        model.infer({"image": [records["image"][0], str(tmp_path / "missing.jpg")]})
    with pytest.raises(ValueError, match="should be a list with one value per record"):
        model.infer({"image": records["image"][0]})
    with pytest.raises(ValueError, match="beam_widht"):
        model.infer({"image": records["image"]}, beam_widht=3)


def test_wrong_rank_and_dtype_into_the_model_are_refused(words):
    model = build(words)
    ids = np.ones((2, 7), "int32")
    with pytest.raises(ValueError, match="image"):
        model({"image": np.zeros((2, 16), "uint8"), "caption_input": ids})
    with pytest.raises(tf.errors.UnimplementedError, match="Cast string to uint8 is not supported"):
        model({"image": np.array(["a", "b"]), "caption_input": ids})


def test_one_trace_per_shape(words, records):
    """Uneven last batches and repeated calls trace nothing again."""
    model = build(words)
    model.infer({"image": records["image"]}, batch_size=2)
    function = model.serve_function()
    before = function.experimental_get_tracing_count()
    model.infer({"image": records["image"] * 3}, batch_size=4)
    assert function.experimental_get_tracing_count() == before == 1
