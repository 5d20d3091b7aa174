"""Photos and captions in one space: trained, asked together and apart, saved, served, searched."""

import re

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from contract import check_task

import mmkeras as mm
from mmkeras.cli import main

CAPTIONS = ["a red ring", "two blue dogs", "green"]
RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module", autouse=True)
def _unoptimized():
    """Optimizing graphs that run once takes longer than running them."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="module")
def words():
    return mm.train_tokenizer(CAPTIONS, "word")


def bag(words):
    """The quickest of text encoders."""
    layer = keras.layers.Embedding(words.vocabulary_size, 16, name="words")
    return lambda ids: (layer(ids), keras.ops.not_equal(ids, 0))


def build(words, **options):
    options = {"image": 16, "size": "tiny", "dropout": 0.0, "text_encoder": bag(words)} | options
    return mm.image_text_retrieval(words, **options)


@pytest.fixture(scope="module")
def task(words):
    return build(words)


@pytest.fixture(scope="module")
def photos(photo):
    return [photo(i, (40, 50), "JPEG") for i in range(3)]


def test_contract(words, tmp_path):
    vectors = RANDOM.normal(size=(3, 8)).astype("float32")
    task = build(words, image=mm.Features((8,)))
    check_task(task, {"image": vectors, "caption": CAPTIONS}, tmp_path)


@pytest.mark.parametrize("encoder", ["lstm", "transformer"])
def test_encoders_by_name(words, photos, encoder):
    task = build(words, encoder="patch", text_encoder=encoder)
    found = task.infer({"image": photos, "caption": CAPTIONS})
    assert np.abs(found["score"]).max() <= 1.0 + 1e-6


RECORDS = {
    "image": list(RANDOM.normal(size=(3, 8)).astype("float32")),
    "caption": [["a red ring", "a ring"], "green", ["two dogs", "blue dogs", "two"]],
}


class TestPairs:
    def labels(self, words, records, **options):
        task = build(words, image=mm.Features((8,)))
        data = mm.dataset(records, task.preprocessor, 8, **options)
        return np.concatenate([y["match"] for _, y, _ in data]).tolist()

    def test_captions_of_one_record_belong_together(self, words):
        assert self.labels(words, RECORDS) == [0, 0, 1, 2, 2, 2]

    def test_also_where_records_are_left_out(self, words):
        records = {**RECORDS, "caption": [["a ring", "red"], "", ["two", "dogs"]]}
        with pytest.warns(UserWarning, match="skipped 1"):
            found = self.labels(words, records, on_error="skip")
        assert found[0] == found[1] != found[2] == found[3]

    def test_records_of_one_value_belong_together(self, words):
        """Such as a photo and its mirror image."""
        for values in ([7, 5, 7], ["a.jpg", "b.jpg", "a.jpg"]):
            assert self.labels(words, {**RECORDS, "match": values}) == [0, 0, 1, 0, 0, 0]

    def test_other_values_are_refused(self, words):
        with pytest.raises(ValueError, match=r"record 1: 'match': should be a string or a whole"):
            self.labels(words, {**RECORDS, "match": [1, 2.5, 1]})


class TestEmbeddings:
    def test_each_by_itself_they_give_the_score_of_the_pair(self, task, photos):
        v, w = task.embed("image", photos), task.embed("caption", CAPTIONS)
        assert v.dtype == w.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm([v, w], axis=-1), 1, rtol=1e-5)
        score = task.infer({"image": photos, "caption": CAPTIONS})["score"]
        np.testing.assert_allclose((v * w).sum(1), score, atol=1e-5)

    def test_in_batches_or_none_at_all(self, task, photos):
        whole = task.embed("image", photos)
        np.testing.assert_allclose(task.embed("image", photos, batch_size=2), whole, atol=1e-5)
        assert task.embed("image", []).shape == (0, 128)

    def test_behind_a_frozen_network(self, words, photos):
        """Two tasks then share the layers; each has to follow its own graph."""
        backbone = keras.applications.MobileNet(
            (32, 32, 3), alpha=0.25, include_top=False, weights=None
        )
        task = build(words, image=32, encoder=backbone)
        frozen, rest = mm.split_frozen(task)
        computed = mm.precompute(frozen, photos, task.preprocessor.inputs["image"])
        np.testing.assert_allclose(
            rest.embed("image", list(computed)), task.embed("image", photos), atol=1e-2
        )
        assert rest.embedding_id() == task.embedding_id()
        records = {"image": list(computed), "caption": CAPTIONS}
        rest.fit(mm.dataset(records, rest.preprocessor, 3), verbose=0)
        assert rest.embedding_id() == task.embedding_id()

    def test_what_cannot_be_embedded(self, task, words, photos):
        with pytest.raises(ValueError, match=r"one of \['image', 'caption'\]. Received: name='a'"):
            task.embed("a", photos)
        with pytest.raises(ValueError, match=r"Input 'image', row 2: .*whole JPEG"):
            task.embed("image", [*photos[:2], b"no photo"], batch_size=2)
        with pytest.raises(ValueError, match="Input 'caption', row 0: is missing"):
            task.embed("caption", [""])
        captioner = mm.image_captioning(words, None, features=(8,), size="tiny", decoder="lstm")
        with pytest.raises(ValueError, match=r"one of \[\]. Received: name='features'"):
            captioner.embed("features", [np.ones(8)])


@pytest.mark.parametrize("loss", ["info_nce", "siglip", "triplet"])
def test_it_learns_which_photo_a_caption_is_about(words, loss):
    vectors = RANDOM.normal(size=(30, 8)).astype("float32")
    vectors += 2 * np.repeat(np.eye(3, 8), 10, axis=0).astype("float32")
    records = {"image": vectors, "caption": [c for c in CAPTIONS for _ in range(10)]}
    records["match"] = records["caption"]
    keras.utils.set_random_seed(0)
    task = build(words, image=mm.Features((8,)), loss=loss)
    mm.compile_task(task, keras.optimizers.Adam(0.01))
    data = mm.dataset(records, task.preprocessor, 30).cache()
    task.fit(data.repeat(30), verbose=0)
    found = task.embed("image", vectors) @ task.embed("caption", CAPTIONS).T
    assert (found.argmax(1) == np.repeat([0, 1, 2], 10)).mean() > 0.9
    assert task.evaluate(data, verbose=0, return_dict=True)["recall"] > 0.9


def test_evaluated_both_ways(task, photos, capsys):
    records = {"image": photos, "caption": [["a red ring", "red"], "two dogs", ["blue"]]}
    scores, found = mm.evaluate(task, records)
    v = task.embed("image", photos)
    w = task.embed("caption", ["a red ring", "red", "two dogs", "blue"])
    assert scores == mm.retrieval_scores(v, w, np.array([0, 0, 1, 2]))
    assert found == (w @ v.T).argmax(1).tolist()


def test_on_the_command_line_it_tells_the_score(task, photos, tmp_path, capsys):
    task.save(tmp_path / "m.keras")
    (tmp_path / "a.jpg").write_bytes(photos[0])
    words = ["--image", str(tmp_path / "a.jpg"), "--caption", "a red ring"]
    assert main(["infer", str(tmp_path / "m.keras"), *words]) == 0
    score = task.infer({"image": photos[:1], "caption": ["a red ring"]})["score"][0]
    assert capsys.readouterr().out == f"{tmp_path / 'a.jpg'}\ta red ring\t{score:.4f}\n"


def test_exported_it_embeds_and_compares(task, photos, tmp_path):
    path = mm.export(task, tmp_path / "1", {"image": photos, "caption": CAPTIONS})
    served = mm.Export(path)
    assert served.signatures == ["embed_caption", "embed_image", "serving_default"]
    for name, values in (("image", photos), ("caption", CAPTIONS)):
        found = served.infer({name: values}, f"embed_{name}")
        np.testing.assert_allclose(found["embedding"], task.embed(name, values), atol=1e-5)
    records = {"image": photos, "caption": CAPTIONS}
    found = served.infer(records)
    assert list(found) == ["score"]
    np.testing.assert_allclose(found["score"], task.infer(records)["score"], atol=1e-5)
    assert mm.verify(path) == []


def test_an_index_of_a_folder_of_photos(task, photo, photos, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, content in enumerate([*photos, b"no photo", photo(7)[:200]]):
        (folder / f"{i}.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"3\.jpg"):
        mm.Index(task).add("image", folder)
    with pytest.warns(UserWarning, match=r"skipped 2 wrong entries"):
        index = mm.Index(task).add("image", folder, on_error="skip")
    assert index.search("image", [photos[1]], k=1)[0][0][0] == str(folder / "1.jpg")
    by_text = index.search("caption", CAPTIONS, k=3)
    scores = task.infer({"image": [photos[0]] * 3, "caption": CAPTIONS})["score"]
    got = [dict(found)[str(folder / "0.jpg")] for found in by_text]
    np.testing.assert_allclose(got, scores, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "vgg"}, "['conv', 'conv_lstm', 'grid_transformer', 'patch']"),
        ({"text_encoder": "bert"}, "`encoder` should be one of ['bag', 'bigru', 'bilstm', 'gru',"),
        (
            {"loss": "mse"},
            "`loss` should be one of ['info_nce', 'siglip', 'triplet'] or a PairLoss",
        ),
        ({"size": "huge"}, "`size` should be one of"),
        ({"image": 0}, "`size` should be"),
    ],
)
def test_errors_name_the_argument(words, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build(words, **options)


def test_a_match_has_no_options_and_wants_two_embeddings(task, photos):
    with pytest.raises(ValueError, match=r"no options. Received: \['beam_width'\]"):
        task.infer({"image": photos, "caption": CAPTIONS}, beam_width=2)
    with pytest.raises(ValueError, match=r"side_by_side` gives it. Received: shape=\(2, 3, 8\)"):
        mm.Match()(np.ones((2, 3, 8)))


PIXELS = [np.full((20, 20, 3), value, "uint8") for value in (0, 120, 250)]


class TestPicture:
    def test_the_greatest_is_the_lightest_and_framed(self, tmp_path):
        values = [[0.1, 0.9, 0.2], [0.7, 0.6, -0.4]]
        page = mm.draw_similarity(values, CAPTIONS[:2], PIXELS, tmp_path / "m.png")
        written = np.asarray(PIL.Image.open(tmp_path / "m.png"))
        np.testing.assert_array_equal(np.asarray(page), written)
        side = 112
        left, top = written.shape[1] - 3 * side - 14, written.shape[0] - 2 * side - 14
        cells = written[top:, left:][: 2 * side, : 3 * side]
        cells = cells.reshape(2, side, 3, side, 3).swapaxes(1, 2)
        middle = cells[:, :, side // 2, side // 2].astype(int).sum(-1)
        assert np.argsort(middle, axis=None).tolist() == np.argsort(values, axis=None).tolist()
        framed = cells[:, :, 1, side // 2].astype(int).sum(-1) < 100
        assert np.argwhere(framed).tolist() == [[0, 1], [1, 0]]

    def test_many_columns_and_texts_above(self):
        many = mm.draw_similarity(RANDOM.normal(size=(3, 100)), PIXELS, ["word"] * 100)
        assert many.width < 3000
        assert mm.draw_similarity([[0.5]], ["один 什么 " * 40], CAPTIONS[:1]).size

    def test_what_was_found_and_which_of_it_is_right(self, tmp_path):
        found = [[(PIXELS[2], 0.9), (PIXELS[1], 0.5, True)], [(PIXELS[0], 0.1, False)]]
        page = mm.draw_search(CAPTIONS[:2], found, tmp_path / "found.png")
        written = np.asarray(PIL.Image.open(tmp_path / "found.png")).astype(int)
        np.testing.assert_array_equal(np.asarray(page), written)
        red, green, blue = np.moveaxis(written, -1, 0)
        rows, columns = np.nonzero((green > red + 50) & (green > blue + 50))
        assert rows.max() < written.shape[0] / 2 + 14
        assert columns.min() > written.shape[1] / 2
        assert mm.draw_search(PIXELS[:1], [[(text, 0.1) for text in CAPTIONS]]).width > 400

    @pytest.mark.parametrize(("queries", "found"), [([], []), (["a", "b"], [[]])])
    def test_searches_that_cannot_be_drawn(self, queries, found):
        with pytest.raises(ValueError, match="`found` should be a list for each of"):
            mm.draw_search(queries, found)

    @pytest.mark.parametrize("values", [[[1, 2]], [[1.0], [np.nan], [0.0]], [1, 2, 3]])
    def test_what_cannot_be_drawn(self, values):
        with pytest.raises(ValueError, match=r"should be finite, of shape \(3, 1\)"):
            mm.draw_similarity(values, CAPTIONS, PIXELS[:1])
