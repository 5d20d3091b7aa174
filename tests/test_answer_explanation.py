"""What answers rest on: attention followed back through fusions, Grad-CAM, and their pictures."""

import keras
import numpy as np
import PIL.Image
import pytest
from keras import ops

import mmkeras as mm
from mmkeras.explanation import overlay
from mmkeras.fusion import FUSIONS
from mmkeras.layers import FlattenGrid

QUESTIONS = ["what is red", "is the tiny ring here", "unheard"]
ANSWERS = ["a ring", "two", "yes"]
LENGTHS = {"image": 4, "question": 5}


@pytest.fixture(scope="module")
def words():
    return mm.train_tokenizer([QUESTIONS[0], *ANSWERS], "word")


@pytest.fixture(scope="module")
def records(photo):
    return {"image": [photo(i, (40, 50), "JPEG") for i in range(3)], "question": QUESTIONS}


def build(words, answers=ANSWERS, **options):
    keras.utils.set_random_seed(0)
    options = {"image": 32, "size": "tiny", "dropout": 0.0} | options
    return mm.visual_question_answering(words, answers, **options)


def encoded(batch=2, seed=0):
    random = np.random.default_rng(seed)
    mask = np.arange(5) < np.array([[5], [3]])[:batch]
    image = random.normal(size=(batch, 4, 6)).astype("float32")
    question = random.normal(size=(batch, 5, 7)).astype("float32")
    return {"image": (image, None), "question": (question, mask)}


class TestAttentionOfFusions:
    @pytest.mark.parametrize("name", ["cross_attention", "co_attention", "early"])
    def test_every_place_rests_on_what_is_there_by_one_in_all(self, name):
        fusion = FUSIONS[name](8, heads=2)
        sequence, _ = fusion(encoded())
        rests = fusion.attention(encoded())
        assert list(rests) == ["image", "question"]
        for key, length in LENGTHS.items():
            assert rests[key].shape == (2, sequence.shape[1], length)
        total = sum(ops.sum(each, axis=-1) for each in rests.values())
        np.testing.assert_allclose(total, 1, rtol=1e-5)
        # Nothing but padding rests on padding.
        np.testing.assert_allclose(np.asarray(rests["question"])[1, :-2, 3:], 0, atol=1e-6)

    @pytest.mark.parametrize("name", ["bottleneck", "perceiver"])
    def test_what_learned_tokens_add_is_missing_from_the_sum(self, name):
        fusion = FUSIONS[name](8, heads=2, tokens=3)
        fusion(encoded())
        total = sum(ops.sum(each, axis=-1) for each in fusion.attention(encoded()).values())
        assert (np.asarray(total) > 0).all()
        assert (np.asarray(total) < 1 - 1e-3).all()

    def test_the_result_is_carried_through_unchanged(self):
        """What is carried behind the channels does not touch them."""
        fusion = FUSIONS["bottleneck"](8, heads=2)
        before = fusion(encoded())[0]
        fusion.attention(encoded())
        np.testing.assert_array_equal(before, fusion(encoded())[0])

    def test_one_block_of_one_head_by_hand(self):
        fusion = FUSIONS["cross_attention"](8, heads=1, blocks=1)
        fusion(encoded())
        (image, question), _ = fusion.projected(encoded())
        ((block,),) = fusion.layers
        query = block.attention.query(block.attention_norm(question))
        keys = ops.split(block.attention.key_value(block.context_norm(image)), 2, axis=-1)[0]
        looked = ops.softmax(ops.einsum("bqw,bkw->bqk", query, keys) / 8**0.5)
        rests = fusion.attention(encoded())
        np.testing.assert_allclose(rests["image"], looked / 2, rtol=1e-4)
        np.testing.assert_allclose(rests["question"], [np.eye(5) / 2] * 2)


def times(encoded, width, dropout):
    """A fusion of one's own."""
    (grid, _), (read, _) = encoded.values()
    question = keras.layers.Dense(width)(ops.mean(read, axis=1, keepdims=True))
    return keras.layers.Dense(width)(grid) * question, None


@pytest.fixture(scope="module")
def joined(words):
    return build(words, fusion="concatenate")


class TestAnswers:
    def test_of_a_concatenation_the_weights_are_those_of_the_head(self, joined, records):
        found = mm.explain(joined, records, batch_size=2)
        answers = joined.infer(records)
        tensors = joined.preprocessor.tensors(joined.raw_tensors(joined.preprocessor.load(records)))
        context = joined.context(tensors)["answer"]
        weights = joined.get_layer("answer").explain(None, **context)["attention"][:, 0].numpy()
        for row, each in enumerate(found):
            assert each["answer"] == answers["answer"][row]
            assert each["score"] == pytest.approx(answers["score"][row])
            assert each["method"] == "attention"
            on_picture = weights[row, :4]
            assert each["shares"]["image"] == pytest.approx(on_picture.sum(), rel=1e-4)
            np.testing.assert_allclose(
                each["map"], (on_picture / on_picture.sum()).reshape(2, 2), rtol=1e-4
            )
            # Between the ids of the start and the end.
            read = weights[row, 5 : 5 + len(each["words"])]
            np.testing.assert_allclose(each["weights"], read / read.sum(), rtol=1e-4)
        assert found[1]["words"] == ["is", "[UNK]", "[UNK]", "ring", "[UNK]"]

    def test_the_likeliest_classes_come_first(self, joined, records):
        (found,) = mm.explain(joined, {name: values[:1] for name, values in records.items()})
        names, shares = zip(*found["best"], strict=True)
        assert sorted(names) == sorted(ANSWERS)
        assert names[0] == found["answer"]
        assert list(shares) == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1, rel=1e-4)

    def test_through_a_fusion_and_after_loading(self, words, records, tmp_path):
        task = build(words, fusion="cross_attention")
        before = mm.explain(task, records)
        task.save(tmp_path / "task.keras")
        after = mm.explain(keras.models.load_model(tmp_path / "task.keras"), records)
        for one, other in zip(before, after, strict=True):
            assert one["method"] == "attention"
            # Of two blocks, each of which adds half, a quarter is left of the question itself.
            assert one["shares"]["question"] == pytest.approx(0.25, rel=1e-4)
            for name in ("map", "weights"):
                assert one[name].sum() == pytest.approx(1, rel=1e-4)
                np.testing.assert_allclose(one[name], other[name], rtol=1e-4)

    @pytest.mark.parametrize(
        ("fusion", "encoder"),
        [("gated", "conv"), ("concatenate", "conv_lstm"), (times, "conv")],
    )
    def test_gradients_tell_where_attention_does_not(self, words, records, fusion, encoder):
        found = mm.explain(build(words, fusion=fusion, encoder=encoder), records)
        assert {each["method"] for each in found} == {"gradient"}
        assert all(each["shares"] == {} for each in found)
        for each in found:
            assert each["map"].shape == (2, 2)
            assert each["map"].sum() == pytest.approx(1, rel=1e-4) or not each["map"].any()

    def test_written_answers(self, words, records):
        task = build(words, words, fusion="co_attention")
        found = mm.explain(task, records, min_length=2, max_length=3)
        for each in found:
            assert len(each["answer"].split()) == 2
            assert each["map"].sum() == pytest.approx(1, rel=1e-4)
            assert sum(each["shares"].values()) == pytest.approx(1, rel=1e-4)
            assert [answer for answer, _ in each["best"]] == [each["answer"]]

    def test_without_a_picture_there_is_no_map(self, joined, records):
        columns = {**records, "image": [records["image"][0], None, None]}
        found = mm.explain(joined, columns)
        assert [each["map"] is None for each in found] == [False, True, True]
        assert found[1]["photo"] is None
        assert found[1]["weights"].sum() == pytest.approx(1, rel=1e-4)

    def test_pieces_of_a_word_are_added(self):
        pieces = mm.SubwordTokenizer(
            ["[PAD]", "[START]", "[END]", *map(chr, range(256)), " un", "heard"]
        )
        task = mm.text_classification(pieces, ["yes", "no"], "gru", "tiny", dropout=0.0)
        (found,) = mm.explain(task, {"text": ["so unheard 狗"]})
        assert found["words"] == ["so", "unheard", "狗"]
        assert found["weights"].sum() == pytest.approx(1, rel=1e-4)
        assert "photo" in found
        assert found["map"] is None

    def test_every_input_has_its_share(self, words):
        room = {
            "audio": mm.Audio(8000, optional=True),
            "readings": mm.Features((4,), optional=True),
        }
        task = mm.multimodal_question_answering(words, ANSWERS, room, size="tiny", dropout=0.0)
        sounds = [room["audio"].example(0), None]
        columns = {"audio": sounds, "readings": np.ones((2, 4)), "question": QUESTIONS[:2]}
        for each in mm.explain(task, columns):
            assert list(each["shares"]) == ["audio", "readings", "question"]
            assert sum(each["shares"].values()) == pytest.approx(1, rel=1e-4)
            assert each["map"] is None

    def test_an_answer_written_from_a_passage(self, words):
        task = mm.question_answering(words, "generative", "gru", size="tiny", dropout=0.0)
        columns = {"context": ["A ring is red.", "yes"], "question": QUESTIONS[:2]}
        found = mm.explain(task, columns, max_length=2)
        assert [each["words"] for each in found] == [["a", "ring", "is", "red", "[UNK]"], ["yes"]]
        assert found[0]["weights"].sum() == pytest.approx(1, rel=1e-4)

    def test_what_is_no_text_and_no_class_is_refused(self, words):
        task = mm.question_answering(words, "extractive", "gru", size="tiny")
        with pytest.raises(ValueError, match=r"`task` should have one target, a text or a class"):
            mm.explain(task, {"context": ["a ring"], "question": ["what"]})


class TestPictures:
    def test_photo_words_and_answers_are_drawn(self, joined, records, tmp_path):
        columns = {**records, "image": [*records["image"][:2], None]}
        found = mm.explain(joined, columns, tmp_path)
        files = [PIL.Image.open(path) for path in sorted(tmp_path.iterdir())]
        assert len(files) == 3
        # A header, a row of tiles, a line of words, three bars.
        assert files[0].height == 44 + (224 + 14 + 26) + 28 + 14 + 3 * 28 + 14 + 7
        assert files[2].height == files[0].height - (224 + 14 + 26)
        looked = np.asarray(files[0].crop((252, 70, 476, 294)))
        np.testing.assert_array_equal(looked, overlay(found[0]["photo"], found[0]["map"]))
        shaded = np.asarray(files[0].crop((0, 308, files[0].width, 336))).reshape(-1, 3)
        assert [255, 176, 92] in shaded.tolist()

    def test_long_questions_take_several_lines(self, tmp_path):
        words = mm.train_tokenizer(["strange"], "word")
        task = mm.text_classification(words, ["yes", "no"], "gru", "tiny")
        mm.explain(task, {"text": ["strange " * 30]}, tmp_path / "read.png")
        assert PIL.Image.open(tmp_path / "read.png").height > 44 + 3 * 28 + 14 + 2 * 28


def cornered(rows, seed=0):
    """Grey noise; the square in the first corner is red or blue, in the last one green or not."""
    random = np.random.default_rng(seed)
    pictures = np.repeat(random.integers(100, 156, (rows, 32, 32, 1), "uint8"), 3, axis=-1)
    red, green = random.integers(0, 2, (2, rows))
    pictures[:, 2:10, 2:10] = np.array([(20, 20, 220), (220, 20, 20)])[red][:, None, None]
    pictures[green == 1, 20:28, 20:28] = (20, 220, 20)
    return {"image": list(pictures), "label": np.where(red, "red", "blue").tolist()}


def colours(image):
    """How much redder, greener and bluer than its other colours each part of a picture is."""
    x = ops.cast(image, "float32") / 255
    x = ops.relu(1.5 * x - 0.5 * ops.sum(x, axis=-1, keepdims=True))
    return FlattenGrid()(keras.layers.AveragePooling2D(4)(x)), None


class TestGradCAM:
    @pytest.fixture(scope="class")
    def corner(self):
        keras.utils.set_random_seed(0)
        task = mm.image_classification(["red", "blue"], 32, colours, "tiny", dropout=0.0)
        mm.compile_task(task, keras.optimizers.Adam(3e-3))
        records = cornered(64)
        credits = np.eye(2)[[int(answer == "blue") for answer in records["label"]]]
        task.fit({"image": np.array(records["image"])}, {"label": credits}, epochs=20, verbose=0)
        return task

    def test_heat_lies_where_the_answer_comes_from(self, corner):
        records = cornered(16, seed=1)
        assert corner.infer({"image": records["image"]})["label"] == records["label"]
        heat = mm.grad_cam(corner, records, batch_size=5)
        assert heat.shape == (16, 8, 8)
        assert heat.dtype == np.float32
        assert (heat >= 0).all()
        there = heat[:, :3, :3].sum((1, 2)) / heat.sum((1, 2))
        assert there.min() > 0.8

    def test_another_answer_has_other_heat(self, corner):
        records = cornered(4, seed=2)
        other = [{"red": "blue", "blue": "red"}[answer] for answer in records["label"]]
        own = mm.grad_cam(corner, records, records["label"])
        np.testing.assert_allclose(own, mm.grad_cam(corner, records), rtol=1e-4)
        against = mm.grad_cam(corner, records, other)
        assert (against[:, :3, :3].sum((1, 2)) < own[:, :3, :3].sum((1, 2)) / 2).all()

    def test_by_hand(self, corner):
        """The heat is the sum of the channels, each times the mean of its gradient, above zero."""
        records = cornered(2)
        grid = corner.layers[[isinstance(x, FlattenGrid) for x in corner.layers].index(True)]
        seen = keras.Function(corner.input["image"], grid.output)
        behind = keras.Function(grid.output, corner.output["label"])
        places = seen(np.array(records["image"])).numpy()
        heat = mm.grad_cam(corner, records, ["red", "red"])
        for row in range(2):
            # What the score gains when a channel rises in all of the 64 places.
            step = 1e-3 * np.eye(3, dtype="float32")[:, None]
            higher, lower = behind(places[row] + step), behind(places[row] - step)
            gain = (higher - lower)[:, 0].numpy() / 2e-3 / 64
            wanted = np.maximum(places[row] @ gain, 0).reshape(8, 8)
            np.testing.assert_allclose(heat[row], wanted, rtol=0.02, atol=1e-5)

    def test_behind_a_frozen_network(self, photo):
        inputs = keras.Input((32, 32, 3))
        x = keras.layers.Conv2D(4, 3, 8, activation="relu")(inputs)
        task = mm.image_classification(["a", "b"], 32, keras.Model(inputs, x), "tiny")
        assert mm.grad_cam(task, {"image": [photo(0)]}).shape == (1, 4, 4)

    def test_of_a_text_it_is_of_its_probability(self, words, records, tmp_path):
        task = build(words, words, fusion="gated")
        columns = {**records, "image": [*records["image"][:2], None]}
        heat = mm.grad_cam(task, columns, ANSWERS, tmp_path)
        assert heat.shape == (3, 2, 2)
        assert not heat[2].any()
        assert (heat[:2] != mm.grad_cam(task, columns, ["is what"] * 3)[:2]).any()
        assert len(list(tmp_path.iterdir())) == 3

    def test_pictures_are_written(self, corner, tmp_path):
        records = cornered(1)
        heat = mm.grad_cam(corner, records, path=tmp_path / "heat.png")
        field = corner.preprocessor.inputs["image"]
        photo = field(field.load(records["image"][0])).numpy()
        drawn = np.asarray(PIL.Image.open(tmp_path / "heat.png").crop((252, 70, 476, 294)))
        np.testing.assert_array_equal(drawn, overlay(photo, heat[0]))

    def test_what_does_not_fit_is_named(self, corner, words):
        records = cornered(2)
        with pytest.raises(ValueError, match=r"`target` should hold an answer for each of 2 .* 1"):
            mm.grad_cam(corner, records, ["red"])
        with pytest.raises(ValueError, match=r"`target` should hold an answer .* 'red'"):
            mm.grad_cam(corner, records, "red")
        with pytest.raises(
            ValueError, match=r"`target` should be what 'label' can be.* row 1 .*gr"
        ):
            mm.grad_cam(corner, records, ["red", "green"])
        task = mm.text_classification(words, ["yes", "no"], "gru", "tiny")
        with pytest.raises(ValueError, match=r"`task` should have one target and an Image"):
            mm.grad_cam(task, {"text": ["is"]})
