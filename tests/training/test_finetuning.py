"""Rates by depth, thawing, LoRA, means of weights: by what happens to the weights."""

import keras
import numpy as np
import pytest

import mmkeras as mm

TEXTS, LABELS = ["what a film", "dull and long", "a fine cast", "so dull"], ["good", "bad"] * 2


@pytest.fixture
def model():
    words = mm.train_tokenizer(TEXTS)
    return mm.text_classification(words, ["good", "bad"], "transformer", "tiny", dropout=0.0)


def fit(model, epochs=1, **options):
    data = mm.dataset({"text": TEXTS, "label": LABELS}, model.preprocessor, 2)
    return model.fit(data, epochs=epochs, verbose=0, **options).history


def moved(model, action):
    """Names of the layers whose weights an action changes."""
    before = {layer.name: layer.get_weights() for layer in model.layers}
    action()
    return {
        layer.name
        for layer in model.layers
        if any(
            not np.array_equal(old, new)
            for old, new in zip(before[layer.name], layer.get_weights(), strict=True)
        )
    }


class TestLayerwise:
    def test_a_step_is_as_long_as_its_factor_says(self):
        steps = []
        for rates in ({}, {"dense/": 0.1}):
            keras.utils.set_random_seed(0)
            x = keras.Input((2,))
            y = keras.layers.Dense(1, name="last")(keras.layers.Dense(3, name="dense")(x))
            model = keras.Model(x, y)
            optimizer = mm.LayerwiseAdamW(rates, 0.01, weight_decay=0.5)
            model.compile(optimizer, "mse")
            before = model.get_weights()
            model.train_on_batch(np.ones((4, 2)), np.ones((4, 1)))
            steps.append([a - b for a, b in zip(model.get_weights(), before, strict=True)])
        for plain, scaled, factor in zip(*steps, [0.1, 0.1, 1, 1], strict=True):
            np.testing.assert_allclose(scaled, factor * plain, rtol=1e-3, atol=1e-8)

    def test_without_rates_it_is_adamw(self):
        ends = []
        for optimizer in (mm.LayerwiseAdamW({}, 0.01), keras.optimizers.AdamW(0.01)):
            keras.utils.set_random_seed(0)
            model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
            model.compile(optimizer, "mse")
            model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=3, verbose=0)
            ends.append(model.get_weights())
        for a, b in zip(*ends, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)

    def test_rates_fall_towards_the_inputs(self, model):
        rates = mm.layerwise_rates(model, 0.5)
        optimizer = mm.LayerwiseAdamW(rates)
        assert optimizer.factor(model.get_layer("label").trainable_weights[0]) == 1
        factors = [optimizer.factor(weight) for weight in model.trainable_weights]
        assert factors == sorted(factors)
        assert len(set(factors)) == len([layer for layer in model.layers if layer.weights])

    def test_saved_with_the_model(self, model, tmp_path):
        mm.compile_task(model, mm.LayerwiseAdamW({"label/": 0.5}, 1e-3))
        fit(model)
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        assert again.optimizer.rates == {"label/": 0.5}

    def test_wrong_arguments(self, model):
        with pytest.raises(ValueError, match=r"`rates` should be 0 or above.*-1"):
            mm.LayerwiseAdamW({"a": -1})
        with pytest.raises(ValueError, match="`rates` should be by regular expression"):
            mm.LayerwiseAdamW({"(": 1})
        with pytest.raises(ValueError, match="`decay` should be above 0"):
            mm.layerwise_rates(model, 0)


class TestFreezing:
    def test_frozen_layers_stay_as_they_are(self, model):
        frozen = mm.freeze(model, "text_encoder.*")
        mm.compile_task(model)
        changed = moved(model, lambda: fit(model))
        assert frozen
        assert changed
        assert not changed & set(frozen)

    def test_no_such_layer(self, model):
        with pytest.raises(ValueError, match=r"`names` should match layers.*Received: 'vgg'"):
            mm.freeze(model, "vgg")

    def test_layers_thaw_with_the_epochs(self, model):
        thaw = mm.GradualUnfreeze([["label"], ["text_.*norm.*"], ["text_encoder_words"]])
        changes = []

        class Watch(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                self.before = {x.name: x.get_weights() for x in self.model.layers}

            def on_epoch_end(self, epoch, logs=None):
                changes.append(
                    {
                        name
                        for name, old in self.before.items()
                        for a, b in zip(old, self.model.get_layer(name).get_weights(), strict=True)
                        if not np.array_equal(a, b)
                    }
                )

        fit(model, epochs=3, callbacks=[thaw, Watch()])
        norms = {layer.name for layer in model.layers if "norm" in layer.name}
        norms = {name for name in norms if name.startswith("text_")}
        assert "label" in changes[0]
        assert not changes[0] & {*norms, "text_encoder_words"}
        assert norms <= changes[1]
        assert "text_encoder_words" not in changes[1]
        assert {"label", *norms, "text_encoder_words"} <= changes[2]
        assert all(layer.trainable for layer in model.layers)


class TestLoRA:
    def test_only_the_changes_learn_and_are_saved_as_sums(self, model, tmp_path):
        asked = {"text": TEXTS}
        before = model.infer(asked)["score"]
        whole = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        left = mm.enable_lora(model, rank=2)
        assert left < whole / 5
        np.testing.assert_allclose(model.infer(asked)["score"], before, rtol=1e-6)
        mm.compile_task(model, keras.optimizers.AdamW(3e-2))
        losses = fit(model, epochs=8)["loss"]
        assert losses[-1] < 0.9 * losses[0]
        after = model.infer(asked)
        assert not np.allclose(after["score"], before, atol=1e-3)
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras").infer(asked)
        assert again["label"] == after["label"]
        np.testing.assert_allclose(again["score"], after["score"], atol=1e-5)

    def test_some_layers(self, model):
        mm.enable_lora(model, 2, ["label"])
        mm.compile_task(model, keras.optimizers.AdamW(3e-2))
        assert moved(model, lambda: fit(model)) == {"label"}

    def test_no_such_layer(self, model):
        with pytest.raises(ValueError, match="`names` should match layers with matrices"):
            mm.enable_lora(model, 2, ["vgg"])


class TestAveraging:
    def files(self, model, tmp_path):
        paths = []
        for i in range(3):
            model.set_weights([np.full_like(weight, i) for weight in model.get_weights()])
            paths.append(tmp_path / f"{i}.weights.h5")
            model.save_weights(paths[-1])
        return paths

    def test_mean(self, model, tmp_path):
        paths = self.files(model, tmp_path)
        assert mm.average_weights(model, paths) is model
        assert all((weight == 1).all() for weight in model.get_weights())

    def test_soup_takes_what_makes_it_better(self, model, tmp_path):
        paths = self.files(model, tmp_path)

        def score(model):  # best where all weights are 1.5
            return -abs(float(model.get_weights()[0].ravel()[0]) - 1.5)

        taken, best = mm.greedy_soup(model, paths, score)
        assert (taken, best) == ([paths[1], paths[2]], 0.0)
        assert all((weight == 1.5).all() for weight in model.get_weights())

    @pytest.mark.filterwarnings("ignore:Skipping")
    def test_files_of_another_model(self, model, tmp_path):
        other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        other.save_weights(tmp_path / "other.weights.h5")
        with pytest.raises(ValueError, match=r"weights of this model.*other\.weights\.h5"):
            mm.average_weights(model, [tmp_path / "other.weights.h5"])
        with pytest.raises(ValueError, match="`paths` should name at least one file"):
            mm.greedy_soup(model, [], len)
