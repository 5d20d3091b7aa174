import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm
from mmkeras.encoders.text import TEXT_ENCODERS

NAMES = sorted(TEXT_ENCODERS)
IDS = [[1, 5, 6, 7, 2], [1, 8, 2, 0, 0], [0, 0, 0, 0, 0]]


def model_of(encoder, length=None):
    ids = keras.Input((length,), dtype="int32")
    return keras.Model(ids, encoder(ids))


def tiny(name, **options):
    return model_of(TEXT_ENCODERS[name](12, size="tiny", **options))


@pytest.fixture(scope="module", params=NAMES)
def model(request):
    keras.utils.set_random_seed(0)
    return tiny(request.param)


def encode(model, ids):
    return [np.array(x) for x in model(np.array(ids, "int32"))]


def test_shapes_and_mask(model):
    sequence, mask = encode(model, IDS)
    assert sequence.shape == (3, 5, 128)
    assert mask.dtype == bool
    assert mask.tolist() == [[i > 0 for i in row] for row in IDS]


def test_a_missing_text_is_zero_and_spoils_no_other(model):
    sequence, _ = encode(model, IDS)
    assert np.isfinite(sequence).all()
    assert not sequence[2].any()
    np.testing.assert_allclose(sequence[:2], encode(model, IDS[:2])[0], atol=1e-5)


def test_padding_changes_nothing(model):
    alone = encode(model, [[1, 8, 2]])[0]
    sequence, _ = encode(model, IDS)
    np.testing.assert_allclose(sequence[1, :3], alone[0], atol=1e-5)
    assert not sequence[1, 3:].any()


def test_every_word_counts_where_the_encoder_looks(model, request):
    """A word changes what stands at it, and before it (both ways) or after it."""
    name = request.node.callspec.params["model"]
    a = encode(model, [[1, 5, 6, 7, 2]])[0][0]
    b = encode(model, [[1, 5, 9, 7, 2]])[0][0]
    changed = [not np.allclose(x, y, atol=1e-7) for x, y in zip(a, b, strict=True)]
    both = name.startswith("bi") or name == "transformer"
    after = name != "bag"
    assert changed == [both, both, True, after, after]


def test_the_gradient_of_padding_is_zero_and_of_words_is_not(model):
    ids = np.array(IDS[1:], "int32")
    with tf.GradientTape() as tape:
        sequence, _ = model(ids)
        loss = tf.reduce_sum(sequence * tf.random.stateless_normal(sequence.shape, (0, 1)))
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    rows = next(
        tf.convert_to_tensor(gradient).numpy()
        for gradient, variable in zip(gradients, variables, strict=True)
        if variable.path.endswith("words/embeddings")
    )
    assert {i for i in range(12) if rows[i].any()} == {1, 8, 2}
    assert all(np.isfinite(tf.convert_to_tensor(gradient)).all() for gradient in gradients)


@pytest.mark.parametrize("name", NAMES)
def test_loads_in_safe_mode_and_exports(name, tmp_path):
    model = tiny(name)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    model.export(tmp_path / "export", verbose=False)
    exported = tf.saved_model.load(tmp_path / "export")
    served = exported.serve(tf.constant(IDS, "int32"))
    for expected, loaded, answered in zip(
        encode(model, IDS), encode(again, IDS), served, strict=True
    ):
        np.testing.assert_array_equal(loaded, expected)
        np.testing.assert_allclose(answered, expected, atol=1e-5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", NAMES)
def test_two_texts_have_an_encoder_each(name):
    question, context = (keras.Input((4,), dtype="int32", name=x) for x in ("question", "context"))
    make = TEXT_ENCODERS[name]
    outputs = [
        make(12, size="small", name="asked")(question),
        make(12, size="small", name="read")(context),
    ]
    model = keras.Model([question, context], outputs)
    named = [layer.name for layer in model.layers if layer.weights]
    assert all(name.startswith(("asked_", "read_")) for name in named)
    ones = np.ones((1, 4), "int32")
    (asked, _), (read, _) = model([ones, ones])
    assert not np.allclose(asked, read)


@pytest.mark.parametrize("name", NAMES)
def test_dropout_is_drawn_in_training_alone(name):
    model = tiny(name, dropout=0.5)
    ids = np.array(IDS, "int32")
    np.testing.assert_array_equal(model(ids)[0], model(ids)[0])
    assert not np.allclose(model(ids, training=True)[0], model(ids, training=True)[0])


@pytest.mark.parametrize("name", ["bilstm", "gru", "transformer"])
@pytest.mark.parametrize("trainable", [False, True])
def test_word_vectors_are_begun_with(name, trainable, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(12, 7)).astype("float32")
    model = tiny(name, vectors=vectors, trainable=trainable)
    words = next(layer for layer in model.layers if layer.name.endswith("_words"))
    np.testing.assert_array_equal(words.embeddings, vectors)
    assert bool(words.trainable_weights) == trainable
    assert model.output_shape[0] == (None, None, 128)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(encode(again, IDS)[0], encode(model, IDS)[0])
    assert str(vectors[0, 0])[:6] not in model.to_json()


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match=r"`size` should be one of .* Received: size='huge'"):
        mm.text_rnn(12, size="huge")
    with pytest.raises(ValueError, match=r"`cell` should be one of .* Received: cell='rnn'"):
        mm.text_rnn(12, cell="rnn")
    for make in (mm.text_rnn, mm.text_transformer):
        for shape in ((11, 7), (12,)):
            with pytest.raises(ValueError, match=r"`vectors` should be \(12, dimensions\)"):
                make(12, vectors=np.zeros(shape))
