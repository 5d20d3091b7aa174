"""Encoders of pictures: places that know of each other, and pictures that are seen once."""

import keras
import numpy as np
import pytest

import mmkeras as mm


def counted(encoder, seen):
    """The encoder, and how many pictures it got in each call."""

    class Count(keras.layers.Layer):
        def call(self, x):
            seen.append(x.shape[0])
            return x

    return lambda image: encoder(Count()(image))


def pictures(*numbers):
    return np.stack([np.random.default_rng(i).integers(0, 255, (32, 32, 3)) for i in numbers])


class TestGridTransformer:
    def test_shapes(self):
        image = keras.Input((32, 48, 3))
        sequence, mask = mm.grid_transformer("tiny")(image)
        assert (sequence.shape, mask) == ((None, 6, 128), None)

    def test_every_place_knows_of_all_others(self):
        image = keras.Input((128, 128, 3))
        model = keras.Model(image, mm.grid_transformer("tiny", dropout=0.0)(image)[0])
        dark = np.zeros((1, 128, 128, 3), "float32")
        other = dark.copy()
        other[:, -8:, -8:] = 255
        assert np.abs(model(dark)[0, 0] - model(other)[0, 0]).max() > 1e-4


class TestOnce:
    def model(self, seen=None):
        encoder = mm.grid_transformer("tiny", dropout=0.0)
        image = keras.Input((32, 32, 3))
        sequence, mask = mm.once(encoder if seen is None else counted(encoder, seen))(image)
        assert mask is None
        return keras.Model(image, sequence)

    @pytest.mark.parametrize(
        ("numbers", "runs"),
        [((0, 0, 0, 1, 1, 0), 3), ((0,), 1), ((0, 1, 2), 3), ((4, 4), 1)],
    )
    def test_equal_neighbours_are_seen_once_in_training(self, numbers, runs):
        seen = []
        model = self.model(seen)
        seen.clear()
        x = pictures(*numbers)
        model(x, training=True)
        model(x, training=False)
        assert seen == [runs, len(x)]

    def test_rows_get_what_belongs_to_them(self):
        model = self.model()
        numbers = [3, 3, 1, 3, 2, 2]
        found = np.array(model(pictures(*numbers), training=True))
        for i, a in enumerate(numbers):
            for j, b in enumerate(numbers):
                assert (np.abs(found[i] - found[j]).max() < 1e-5) == (a == b)
        # The rows of another order, whose runs are the same pictures.
        again = np.array(model(pictures(3, 1, 1, 3, 2), training=True))
        np.testing.assert_allclose(again[[0, 1, 3, 4]], found[[0, 2, 3, 4]], atol=1e-4)

    def test_fits_and_answers(self, tmp_path):
        records = mm.sort_of_clevr(4, size=32)
        words = mm.train_tokenizer(records["question"])
        answers = mm.most_common(records["answer"])
        encoder = mm.once(mm.conv("tiny"))
        model = mm.visual_question_answering(words, answers, 32, encoder, "bag", size="tiny")
        data = mm.dataset(records, model.preprocessor, 40, shuffle="image")
        history = model.fit(data, epochs=3, verbose=0).history
        assert history["loss"][-1] < history["loss"][0]
        asked = {name: records[name][:3] for name in ("image", "question")}
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert loaded.infer(asked) == model.infer(asked)

    def test_recordings(self):
        frames, mask = keras.Input((None, 40)), keras.Input((None,), dtype="bool")
        encoder = mm.conv_lstm("nano", dropout=0.0, spec_augment=False)
        sequence, seen = mm.once(encoder)(frames, mask)
        model = keras.Model([frames, mask], [sequence, seen])
        x = np.random.default_rng(0).normal(size=(2, 40, 40)).astype("float32")[[0, 0, 1]]
        there = np.arange(40) < np.array([[40], [40], [20]])
        for training in (True, False):
            found, visible = model([x, there], training=training)
            plain, expected = encoder(x, there)
            np.testing.assert_allclose(found, plain, atol=1e-5)
            np.testing.assert_array_equal(visible, expected)
