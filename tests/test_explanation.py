import keras
import numpy as np
import PIL.Image
import pytest
from keras import ops

from mmkeras.assembly import assemble
from mmkeras.builders import image_captioning
from mmkeras.decoders import Decoder
from mmkeras.explanation import attention_grid, explain, overlay, write_whole
from mmkeras.layers import FlattenGrid
from mmkeras.preprocessing import (
    Features,
    Image,
    SubwordTokenizer,
    Text,
    WordTokenizer,
    train_tokenizer,
)

SPECIAL = ["[PAD]", "[START]", "[END]"]
WORDS = WordTokenizer([*SPECIAL, "[UNK]", "a", "red", "star", "狗"])
PHOTO = np.random.default_rng(0).integers(0, 255, (48, 80, 3), "uint8")


@keras.saving.register_keras_serializable("test")
class Reciter(Decoder):
    """Writes a fixed text; the token at position t looks at place t of the context alone."""

    def __init__(self, script, vocabulary_size, **kwargs):
        super().__init__(vocabulary_size, len(script) + 1, **kwargs)
        self.script = [*script, self.end_id]

    def build(self, ids_shape, context_shape, context_mask_shape=None):
        pass

    def initial_state(self, context, context_mask=None, max_length=None, beams=1):
        return {"context": context}

    def forward(self, ids, state, index=None, training=None):
        places = ops.arange(ids.shape[1]) if index is None else index
        positions = ops.zeros_like(ids) + places
        logits = 30.0 * ops.one_hot(ops.take(self.script, positions), self.vocabulary_size)
        length = state["context"].shape[1]
        return logits, state, ops.one_hot(positions % length, length)


def pooled(image):
    return FlattenGrid()(keras.layers.AveragePooling2D(16)(ops.cast(image, "float32"))), None


def reciting(tokenizer, text, **inputs):
    script = tokenizer.encode([text]).to_list()[0]
    decoder = Reciter(script, tokenizer.vocabulary_size, name="caption")
    fields = inputs or {"image": (Image(32), pooled)}
    return assemble(fields, {"caption": (Text(tokenizer, len(script) or 1), decoder)}, width=8)


@pytest.fixture(scope="module")
def task():
    return reciting(WORDS, "a red star")


def maps_of(*places):
    return np.eye(4, dtype="float32")[list(places)].reshape(-1, 2, 2)


def test_each_word_has_the_attention_of_its_token(task):
    (found,) = explain(task, {"image": [PHOTO]})
    assert found["caption"] == "a red star"
    assert found["words"] == ["a", "red", "star"]
    np.testing.assert_allclose(found["maps"], maps_of(0, 1, 2))
    assert found["maps"].dtype == np.float32
    np.testing.assert_allclose(found["share"], 1)
    assert found["score"] == task.infer({"image": [PHOTO]})["score"][0]


def test_the_photo_is_what_the_model_saw(task):
    field = task.preprocessor.inputs["image"]
    (found,) = explain(task, {"image": [PHOTO]})
    np.testing.assert_array_equal(found["photo"], field(field.load(PHOTO)))


def test_search_options_and_other_columns_are_taken(task):
    records = {"image": [PHOTO] * 3, "caption": ["a star"] * 3}
    found = explain(task, records, batch_size=2, beam_width=2)
    assert [each["caption"] for each in found] == ["a red star"] * 3
    np.testing.assert_allclose(found[2]["maps"], maps_of(0, 1, 2))


def test_no_records_give_no_explanations(task, tmp_path):
    assert explain(task, {"image": []}, tmp_path / "none") == []


@pytest.mark.parametrize(
    ("pieces", "text", "words", "tokens"),
    [
        (
            ["don", "'t", " st", ". a"],
            "I don't stop. a t-x",
            ["I", "don't", "stop", ".", "a", "t-x"],
            [[0], [2, 3], [4, 5, 6], [7], [7], [9, 10, 11]],
        ),
        (["ก็"], "狗é ก็ 🐶", ["狗", "é", "ก็", "🐶"], [[0, 1, 2], [3, 4], [6], [8, 9, 10, 11]]),
    ],
)
def test_pieces_merge_into_words(pieces, text, words, tokens):
    letters = [chr(byte) for byte in range(256)]
    spelled = [piece.encode().decode("latin-1") for piece in pieces]
    task = reciting(SubwordTokenizer([*SPECIAL, *letters, *spelled]), text)
    (found,) = explain(task, {"image": [PHOTO]})
    assert found["caption"] == text
    assert found["words"] == words
    wanted = [np.eye(4)[np.array(places) % 4].mean(axis=0).reshape(2, 2) for places in tokens]
    np.testing.assert_allclose(found["maps"], wanted, atol=1e-6)


@pytest.mark.parametrize("order", [["image", "vector"], ["vector", "image"]])
def test_attention_on_other_inputs_is_a_share(order):
    inputs = {
        "image": (Image(32), pooled),
        "vector": (Features((3, 5)), lambda x: (x, None)),
    }
    task = reciting(WORDS, "a red star a red", **{name: inputs[name] for name in order})
    start = order.index("image") * 3
    assert attention_grid(task) == ("image", start, (2, 2))
    (found,) = explain(task, {"image": [PHOTO], "vector": [np.zeros((3, 5))]})
    on_picture = np.array([start <= place < start + 4 for place in range(5)])
    np.testing.assert_allclose(found["share"], on_picture)
    np.testing.assert_allclose(found["maps"].sum((1, 2)), on_picture)


@pytest.mark.parametrize("decoder", ["lstm", "transformer"])
def test_both_decoders_explain(decoder, tmp_path):
    words = train_tokenizer(["a red star and a blue circle"], kind="word")
    task = image_captioning(words, 48, None, pooled, decoder, "tiny", sequence_length=5)
    task.save(tmp_path / "task.keras")
    task = keras.models.load_model(tmp_path / "task.keras")
    (found,) = explain(task, {"image": [PHOTO]}, min_length=3)
    assert " ".join(found["words"]) == found["caption"]
    assert found["maps"].shape == (len(found["words"]), 3, 3)
    np.testing.assert_allclose(found["maps"].sum((1, 2)), 1, rtol=1e-5)
    assert (found["maps"] > 0).all()


def test_a_folder_gets_a_picture_per_record(task, tmp_path):
    explain(task, {"image": [PHOTO, 255 - PHOTO]}, tmp_path / "new" / "looked")
    files = sorted((tmp_path / "new" / "looked").iterdir())
    assert [file.name for file in files] == ["000.png", "001.png"]
    first, second = (np.asarray(PIL.Image.open(file)) for file in files)
    assert first.shape == second.shape
    assert (first != second).any()


def test_one_record_goes_into_one_file(task, tmp_path):
    (found,) = explain(task, {"image": [PHOTO]}, tmp_path / "looked.png")
    picture = PIL.Image.open(tmp_path / "looked.png")
    assert picture.format == "PNG"
    # A header, then four tiles of 224 pixels under their titles, three to a row.
    assert picture.size == (3 * (224 + 14) + 14, 44 + 2 * (224 + 14 + 26) + 7)
    photo = np.asarray(picture.crop((14, 70, 238, 294)))
    np.testing.assert_array_equal(photo, overlay(found["photo"]))
    word = np.asarray(picture.crop((252, 70, 476, 294)))
    np.testing.assert_array_equal(word, overlay(found["photo"], found["maps"][0]))
    assert np.asarray(picture.crop((14, 8, 238, 44))).std() > 5


def test_words_in_any_script_and_length_are_drawn(tmp_path):
    long = "q" * 60
    words = WordTokenizer([*SPECIAL, "[UNK]", "狗", "étoile", "🐶", long])
    explain(reciting(words, f"狗 étoile 🐶 {long}"), {"image": [PHOTO]}, tmp_path / "looked.png")
    assert PIL.Image.open(tmp_path / "looked.png").size[0] == 3 * (224 + 14) + 14


def test_an_empty_answer_shows_the_photo_alone(tmp_path):
    (found,) = explain(reciting(WORDS, ""), {"image": [PHOTO]}, tmp_path / "looked.png")
    assert found["words"] == []
    assert found["maps"].shape == (0, 2, 2)
    assert np.asarray(PIL.Image.open(tmp_path / "looked.png")).std() > 5


def test_overlay_is_warm_where_most_was_seen():
    grey = np.full((20, 40, 3), 128, "uint8")
    picture = np.asarray(overlay(grey, np.array([[0, 0, 0, 1.0]]), side=80), "float32")
    assert picture.shape == (40, 80, 3)
    warmth = picture[20, :, 0] - picture[20, :, 2]
    assert warmth[:40].max() < 40 < 80 < warmth[60:].max()
    # The scale is a picture's own.
    faint = np.asarray(overlay(grey, np.array([[0, 0, 0, 0.01]]), side=80))
    np.testing.assert_allclose(faint, picture, atol=1)


def test_several_records_do_not_fit_in_one_file(task, tmp_path):
    with pytest.raises(ValueError, match=r"`path` should be a folder.*looked.png.* 2 records"):
        explain(task, {"image": [PHOTO] * 2}, tmp_path / "looked.png")


def test_a_file_is_no_folder(task, tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(ValueError, match=r"`path` should be a folder or a .png file"):
        explain(task, {"image": [PHOTO]}, tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"


def test_several_answers_are_refused(task):
    with pytest.raises(ValueError, match="`n_best` should not be given"):
        explain(task, {"image": [PHOTO]}, beam_width=2, n_best=2)


def test_without_a_grid_there_is_nothing_to_lay_attention_on():
    vector = Features((4,))
    task = reciting(WORDS, "a star", image=(vector, lambda x: (ops.expand_dims(x, 1), None)))
    assert attention_grid(task) is None
    with pytest.raises(ValueError, match=r"`task` should have .* Image input .*\['image'\]"):
        explain(task, {"image": [np.zeros(4)]})


def test_a_missing_input_and_a_broken_photo_are_named(task, tmp_path):
    with pytest.raises(ValueError, match=r"`records` should be a dict .*\['image'\]"):
        explain(task, {"caption": ["a star"]})
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    with pytest.raises(ValueError, match=r"Input 'image', row 1: .*broken.jpg"):
        explain(task, {"image": [PHOTO, str(tmp_path / "broken.jpg")]}, tmp_path / "looked")
    assert not (tmp_path / "looked").exists()


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    file = tmp_path / "page.html"
    write_whole(file, b"good")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(file, b"half")
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]
    assert file.read_bytes() == b"good"
