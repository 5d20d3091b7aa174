import io

import keras
import numpy as np
import pytest
from PIL import Image

import mmkeras as mm

TEXTS = ["a red dog", "a blue cat sleeps", "two birds", "a red cat"]


@pytest.fixture(scope="module")
def records(photo):
    return {"image": [photo(i) for i in range(4)], "caption": [[text] for text in TEXTS]}


@pytest.fixture
def task():
    keras.utils.set_random_seed(0)
    backbone = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Conv2D(8, 3, 4, activation="relu"),
            keras.layers.Conv2D(16, 3, 4, activation="relu"),
        ],
        name="net",
    )
    return mm.image_captioning(
        mm.train_tokenizer(TEXTS, "word"),
        32,
        encoder=mm.pretrained(backbone, scale="tf"),
        decoder="lstm",
        size="tiny",
        sequence_length=5,
        dropout=0.0,
    )


def test_training_behind_a_frozen_network_trains_the_task(task, records, tmp_path):
    frozen, rest = mm.split_frozen(task)
    field = task.preprocessor.inputs["image"]
    features = mm.precompute(frozen, records["image"], field)
    assert features.shape == (4, 2, 2, 16)
    mm.compile_task(rest, keras.optimizers.Adam(1e-2))
    data = mm.dataset({**records, "image": features}, rest.preprocessor, 4).cache().repeat(80)
    rest.fit(data, verbose=0)
    assert rest.infer({"image": features})["caption"] == TEXTS
    assert task.infer({"image": records["image"]})["caption"] == TEXTS
    task.save(tmp_path / "task.keras")
    again = mm.load_model(tmp_path / "task.keras")
    assert again.infer({"image": records["image"]})["caption"] == TEXTS


def test_precomputed_features_are_kept_and_mirrored(task, records, tmp_path):
    frozen, _ = mm.split_frozen(task)
    field = task.preprocessor.inputs["image"]
    first = mm.precompute(frozen, records["image"], field, mirrored=True, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    again = mm.precompute(frozen, records["image"], field, mirrored=True, cache=tmp_path)
    np.testing.assert_array_equal(first, again)
    mirrored = [
        Image.open(io.BytesIO(photo)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        for photo in records["image"]
    ]
    by_hand = mm.precompute(frozen, [field.load(photo) for photo in mirrored], field)
    np.testing.assert_allclose(first[4:], by_hand, atol=1e-3)
    frozen.layers[-1].set_weights([w + 0.1 for w in frozen.layers[-1].get_weights()])
    mm.precompute(frozen, records["image"], field, mirrored=True, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert file.exists()


def test_splitting_needs_a_frozen_network(task):
    task.get_layer("backbone_frozen").trainable = True
    with pytest.raises(ValueError, match="should go through a frozen network"):
        mm.split_frozen(task)


def test_self_critical_training_raises_the_reward(task, records):
    """The reward is the share of the word "dog"; sampled captions come to hold it."""
    frozen, rest = mm.split_frozen(task)
    features = mm.precompute(frozen, records["image"], task.preprocessor.inputs["image"])
    columns = {**records, "image": features}
    seen = []

    def reward(texts, indices):
        assert sorted(set(indices)) <= [0, 1, 2, 3]
        seen.append([text.split().count("dog") / 5 for text in texts])
        return np.array(seen[-1])

    options = {"samples": 8, "temperature": 0.9}
    rest.compile(keras.optimizers.Adam(1e-2), {"caption": mm.SelfCriticalLoss(**options)})
    data = mm.self_critical(rest, columns, reward, batch_size=4, truth=0.01, **options)
    assert len(data) == 1
    rest.fit(data, epochs=20, verbose=0)
    assert np.mean(seen[-5:]) > np.mean(seen[:5]) + 0.3


def test_self_critical_needs_two_samples(task, records):
    with pytest.raises(ValueError, match="`samples` should be at least 2"):
        mm.self_critical(task, records, None, samples=1)


def test_a_loss_that_is_not_finite_stops_with_the_step(records, task):
    _, rest = mm.split_frozen(task)
    features = np.zeros((4, 2, 2, 16), "float32")
    mm.compile_task(rest, keras.optimizers.SGD(1e30))
    data = mm.dataset({**records, "image": features}, rest.preprocessor, 2)
    with pytest.raises(FloatingPointError, match=r"step \d, of records? .* Try a lower learning"):
        rest.fit(data, epochs=3, verbose=0, callbacks=[mm.StopOnNaN()])
