"""KerasHub's text backbones with their tokenizers, where KerasHub is installed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm

hub = pytest.importorskip("keras_hub")

TEXTS = ["a dog runs", "the dog, a dog!", "", "dogs"]
LENGTH = 8
NETWORK = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}


def bert():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "run", "##s", ",", "!"]
    tokenizer = hub.tokenizers.BertTokenizer(words, lowercase=True)
    backbone = hub.models.BertBackbone(len(words), **NETWORK, max_sequence_length=LENGTH)
    preprocessor = hub.models.BertTextClassifierPreprocessor
    return tokenizer, backbone, preprocessor(tokenizer, sequence_length=LENGTH)


def byte_pairs(*special):
    merges = ["Ġ a", "d o", "do g", "Ġ dog", "Ġ t", "h e", "Ġt he"]
    letters = ["Ġ", "!", ",", *"abcdeghnorstu"]
    words = [*special, *letters, *(merge.replace(" ", "") for merge in merges)]
    return {word: i for i, word in enumerate(words)}, merges


def roberta():
    words, merges = byte_pairs("<s>", "<pad>", "</s>", "<mask>")
    tokenizer = hub.tokenizers.RobertaTokenizer(words, merges)
    backbone = hub.models.RobertaBackbone(len(words), **NETWORK, max_sequence_length=LENGTH)
    preprocessor = hub.models.RobertaTextClassifierPreprocessor
    return tokenizer, backbone, preprocessor(tokenizer, sequence_length=LENGTH)


def gpt2():
    """Its padding has the id of an exclamation mark, and its start that of its end."""
    words, merges = byte_pairs("!")
    words = {word: i for i, word in enumerate([*dict.fromkeys(words), "<|endoftext|>"])}
    tokenizer = hub.tokenizers.GPT2Tokenizer(words, merges)
    backbone = hub.models.GPT2Backbone(len(words), **NETWORK, max_sequence_length=LENGTH)
    return tokenizer, backbone, hub.models.GPT2Preprocessor(tokenizer, sequence_length=LENGTH)


def xlm_roberta():
    """Its ids are not those of its own SentencePiece model."""
    proto = hub.tokenizers.compute_sentence_piece_proto(
        # Short ones KerasHub takes for the name of a file.
        tf.data.Dataset.from_tensor_slices([*TEXTS[:2], "".join(map(chr, range(97, 400)))]),
        304,
    )
    tokenizer = hub.tokenizers.XLMRobertaTokenizer(proto)
    size = tokenizer.vocabulary_size()
    backbone = hub.models.XLMRobertaBackbone(size, **NETWORK, max_sequence_length=LENGTH)
    preprocessor = hub.models.XLMRobertaTextClassifierPreprocessor
    return tokenizer, backbone, preprocessor(tokenizer, sequence_length=LENGTH)


FAMILIES = [bert, roberta, gpt2, xlm_roberta]


@pytest.mark.parametrize("family", FAMILIES)
def test_gives_what_kerashub_gives(family):
    tokenizer, backbone, preprocessor = family()
    words = mm.HubTokenizer(tokenizer)
    ids = mm.Text(words, LENGTH - 2)(TEXTS)
    assert ids[:, 0].numpy().tolist() == [1, 1, 1, 1]
    assert ids.shape == (4, LENGTH)
    inputs = keras.Input((LENGTH,), dtype="int32")
    model = keras.Model(inputs, mm.pretrained_text(backbone, words)(inputs))
    sequence, mask = model(ids)
    expected = preprocessor(tf.constant(TEXTS))
    expected = expected if isinstance(expected, dict) else expected[0]
    wanted = backbone(expected)
    wanted = wanted["sequence_output"] if isinstance(wanted, dict) else wanted
    there = np.array(expected["padding_mask"], bool)
    np.testing.assert_array_equal(mask, there)
    np.testing.assert_allclose(np.array(sequence)[there], np.array(wanted)[there], atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_field_in_the_graph_and_back(family):
    text = mm.Text(mm.HubTokenizer(family()[0]), 20, optional=True)
    ids = text(TEXTS)
    graph = tf.function(text, autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
    np.testing.assert_array_equal(graph(tf.constant(TEXTS)), ids)
    assert not ids[2].numpy().any()
    assert [string.decode().strip() for string in text.decode(ids).numpy()][::2] == TEXTS[::2]
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(text))
    np.testing.assert_array_equal(again(TEXTS), ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_task_loads_in_safe_mode_and_exports(family, tmp_path):
    tokenizer, backbone, _ = family()
    words = mm.HubTokenizer(tokenizer)
    text = mm.Text(words, LENGTH - 2)
    encoder = mm.pretrained_text(backbone, words, name="told")
    task = mm.text_classification(text, ["bad", "good"], encoder, "tiny")
    records = {"text": ["a dog", "a dog runs"], "label": ["bad", "good"]}
    task.fit(mm.dataset(records, task.preprocessor, 2), verbose=0)
    answers = task.infer({"text": ["the dog"]})
    task.save(tmp_path / "task.keras")
    again = keras.models.load_model(tmp_path / "task.keras", safe_mode=True)
    assert again.infer({"text": ["the dog"]}) == answers
    exported = mm.export(task, tmp_path / "export", examples={"text": ["the dog", "runs"]})
    assert mm.verify(exported) == []


@pytest.mark.parametrize(("trainable", "layers"), [(False, 0), (True, 6), (1, 1)])
def test_it_is_frozen_or_trained(trainable, layers):
    tokenizer, backbone, _ = bert()
    inputs = keras.Input((LENGTH,), dtype="int32")
    encoder = mm.pretrained_text(backbone, mm.HubTokenizer(tokenizer), trainable)
    model = keras.Model(inputs, encoder(inputs))
    trained = [layer for layer in backbone.layers if layer.trainable_weights]
    assert len(trained) == layers
    ids = np.array([[1, 8, 9, 2, 0, 0, 0, 0], [0] * LENGTH])
    sequence, mask = model(ids, training=True)
    assert np.isfinite(sequence).all()
    assert mask.numpy().sum(axis=1).tolist() == [4, 0]
    # What is frozen has no dropout either.
    assert np.allclose(sequence, model(ids, training=True)[0]) == (not trainable)


def test_unknown_words_are_known_as_such():
    words = mm.HubTokenizer(bert()[0])
    ids = words.encode(["a cat", "a dog"]).to_list()
    assert ids[0][1] == words.unknown_id
    assert words.unknown_id not in ids[1]
    _, _, weights = mm.Text(words, 4).target("answer", tf.constant(["a cat"]))
    assert weights.numpy().tolist() == [[1, 0, 1, 0, 0]]


def test_errors_name_the_argument():
    tokenizer, backbone, _ = bert()
    words = mm.HubTokenizer(tokenizer)
    bare = hub.tokenizers.WordPieceTokenizer(["[UNK]", "a"])
    with pytest.raises(ValueError, match="tokens for padding, start and end"):
        mm.HubTokenizer(bare)
    padded = hub.tokenizers.BertTokenizer(tokenizer.get_vocabulary(), sequence_length=5)
    with pytest.raises(
        ValueError, match=r"without `sequence_length`.* Received: sequence_length=5"
    ):
        mm.HubTokenizer(padded)
    with pytest.raises(ValueError, match="`backbone` should be a backbone of KerasHub"):
        mm.pretrained_text("bert", words)
    with pytest.raises(ValueError, match=r"`tokenizer` should be a `mm\.HubTokenizer`"):
        mm.pretrained_text(backbone, tokenizer)
    image = hub.models.ViTBackbone((32, 32, 3), 16, 1, 2, 8, 8)
    with pytest.raises(ValueError, match="`backbone` should"):
        mm.pretrained_text(image, words)
    few = hub.models.BertBackbone(5, **NETWORK)
    with pytest.raises(ValueError, match=r"at most 5 ids\. Received: 11"):
        mm.pretrained_text(few, words)
    with pytest.raises(ValueError, match=r"at most 6, as .* 8 places.* Received: 7"):
        mm.pretrained_text(backbone, words)(keras.Input((LENGTH + 1,), dtype="int32"))
