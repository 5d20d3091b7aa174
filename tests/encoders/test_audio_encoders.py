import functools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mmkeras  # noqa: F401 (quiets TensorFlow's start-up)
from mmkeras.encoders.audio import conformer, conv_lstm, conv_transformer
from mmkeras.layers.spec_augment import SpecAugment

BANDS = 20
ENCODERS = {"conv_lstm": conv_lstm, "conv_transformer": conv_transformer, "conformer": conformer}
each_encoder = pytest.mark.parametrize("name", sorted(ENCODERS))


@functools.cache
def model_of(name, **options):
    keras.utils.set_random_seed(0)
    frames, mask = keras.Input((None, BANDS)), keras.Input((None,), dtype="bool")
    return keras.Model([frames, mask], ENCODERS[name]("tiny", **options)(frames, mask))


def utterances(lengths, seed=0):
    """Frames with something audible even beyond each end, and their mask."""
    random = np.random.default_rng(seed)
    frames = random.normal(size=(len(lengths), max(lengths), BANDS)).astype("float32")
    return frames, np.arange(max(lengths)) < np.array(lengths)[:, None]


@pytest.mark.parametrize("chunk", [None, 3])
@each_encoder
def test_padding_changes_nothing(name, chunk):
    model = model_of(name) if chunk is None else stream_of(name)
    frames, mask = utterances([31, 310, 1])
    together, shown = (np.array(x) for x in model([frames, mask]))
    assert shown.sum(1).tolist() == ([8, 78, 1] if chunk is None else [16, 155, 1])
    for i, length in enumerate([31, 310, 1]):
        alone, all_shown = model([frames[i : i + 1, :length], mask[i : i + 1, :length]])
        assert np.all(all_shown)
        np.testing.assert_allclose(together[i][shown[i]], alone[0], atol=1e-5)
        assert not np.any(together[i][~shown[i]])


@pytest.mark.parametrize("subsampling", [2, 8])
@each_encoder
def test_lengths_after_subsampling_are_rounded_up(name, subsampling):
    model = model_of(name, subsampling=subsampling)
    for length in (1, subsampling - 1, subsampling, subsampling + 1):
        sequence, mask = model(list(utterances([length])))
        assert mask.shape == sequence.shape[:2] == (1, -(-length // subsampling))
        assert np.all(np.isfinite(sequence))


@each_encoder
def test_an_utterance_that_is_missing_gives_zeros(name):
    frames, mask = utterances([12, 12])
    mask[1] = False
    sequence, shown = model_of(name)([frames, mask])
    assert not np.any(shown[1])
    assert not np.any(sequence[1])
    assert np.any(sequence[0])


@each_encoder
def test_without_a_mask_all_frames_are_there(name):
    frames = keras.Input((None, BANDS))
    model = keras.Model(frames, ENCODERS[name]("tiny")(frames))
    sequence, mask = model(utterances([9, 9])[0])
    assert mask.shape == sequence.shape[:2] == (2, 3)
    assert np.all(mask)


@each_encoder
def test_gradient_reaches_every_weight(name):
    for model in (model_of(name), stream_of(name)):
        encoder = model.get_layer(name)
        gradients = gradients_of(encoder, *utterances([40, 25]))
        for weight, gradient in zip(encoder.trainable_weights, gradients, strict=True):
            assert np.any(gradient), weight.path


def gradients_of(layer, *inputs):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        sequence, _ = layer(*inputs)
        random = np.random.default_rng(1).normal(size=sequence.shape).astype("float32")
        loss = keras.ops.sum(sequence * random)
    return tape.gradient(loss, [weight.value for weight in layer.trainable_weights])


@each_encoder
def test_saving_and_loading_changes_nothing(name, tmp_path):
    model = stream_of(name)
    model.save(tmp_path / "encoder.keras")
    again = keras.models.load_model(tmp_path / "encoder.keras", safe_mode=True)
    inputs = list(utterances([10, 7]))
    np.testing.assert_array_equal(model(inputs)[0], again(inputs)[0])
    layer = again.get_layer(name)
    assert layer.get_config() == model.get_layer(name).get_config()
    assert layer.chunk_frames == 6
    assert [part.name for part in again.layers[2:]] == [f"{name}_augment", name]


@each_encoder
def test_training_draws_and_inference_does_not(name):
    model = model_of(name)
    inputs = list(utterances([24]))
    np.testing.assert_array_equal(model(inputs)[0], model(inputs)[0])
    assert np.any(np.array(model(inputs, training=True)[0]) != model(inputs)[0])


@each_encoder
def test_spec_augment_can_be_left_out_or_given(name):
    bare = model_of(name, spec_augment=False, dropout=0.0)
    inputs = list(utterances([24]))
    np.testing.assert_allclose(bare(inputs)[0], bare(inputs, training=True)[0], atol=1e-5)
    given = model_of(name, spec_augment=SpecAugment(warp=3, name="mine"))
    assert given.get_layer("mine").warp == 3


def stream_of(name):
    return model_of(name, chunk=3, subsampling=2)


@given(st.data())
@settings(max_examples=8, deadline=None)
@each_encoder
def test_a_stream_gives_what_the_whole_gives(name, data):
    model = stream_of(name)
    length = data.draw(st.integers(1, 60))
    shorter = data.draw(st.integers(1, length))
    frames, mask = utterances([length, shorter])
    encoder = model.get_layer(name)
    assert encoder.chunk_frames == 6
    state, pieces, at = encoder.initial_state(2), [], 0
    shapes = keras.tree.map_structure(lambda x: x.shape, state)
    while at < length:
        end = at + 6 * data.draw(st.integers(1, 4))
        sequence, _, state = encoder.step(frames[:, at:end], state, mask[:, at:end])
        assert keras.tree.map_structure(lambda x: x.shape, state) == shapes
        pieces.append(np.array(sequence))
        at = end
    whole, _ = model([frames, mask])
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=1e-5)


@each_encoder
def test_a_stream_sees_nothing_beyond_its_chunk(name):
    model = stream_of(name)
    frames, mask = utterances([30])
    before = np.array(model([frames, mask])[0])
    frames[:, 18:] += 1.0
    after = np.array(model([frames, mask])[0])
    np.testing.assert_allclose(before[:, :9], after[:, :9], atol=1e-6)
    assert np.any(before[:, 9] != after[:, 9])


def test_left_bounds_what_a_stream_sees():
    frames, mask = utterances([400])
    model = model_of("conv_transformer", chunk=1, left=0, subsampling=2)
    before = np.array(model([frames, mask])[0])
    frames[:, :100] += 1.0
    np.testing.assert_allclose(
        before[:, 60:], np.array(model([frames, mask])[0])[:, 60:], atol=1e-6
    )


def test_the_state_of_a_stream_has_the_batch_first():
    for name in ENCODERS:
        state = stream_of(name).get_layer(name).initial_state(3)
        assert all(part.shape[0] == 3 for part in keras.tree.flatten(state))


def test_an_encoder_of_whole_utterances_has_no_stream():
    encoder = model_of("conformer").get_layer("conformer")
    assert encoder.chunk_frames is None
    with pytest.raises(ValueError, match="chunk=None"):
        encoder.initial_state(1)


@each_encoder
def test_half_precision(name):
    single = model_of(name)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = model_of.__wrapped__(name)
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(single.get_weights())
    inputs = list(utterances([20, 9]))
    sequence = np.array(half(inputs)[0])
    assert sequence.dtype == "float16"
    np.testing.assert_allclose(sequence, single(inputs)[0], atol=0.05)


def test_errors_name_the_argument():
    for make in ENCODERS.values():
        with pytest.raises(ValueError, match=r"`size` should be one of .*size='huge'"):
            make("huge")
        with pytest.raises(ValueError, match=r"`factor` should be 2, 4 or 8\. Received: factor=3"):
            make("tiny", subsampling=3)
    with pytest.raises(ValueError, match="known width"):
        conformer("tiny")(keras.Input((None, None)))
