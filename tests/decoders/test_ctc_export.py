import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm
from mmkeras.decoders.ctc import CTC
from mmkeras.decoders.language_model import NgramLanguageModel
from mmkeras.decoders.spelling import hot_word_ids

TEXTS = ["a dog runs", "a cat runs", "the dog sees a cat"]


@pytest.fixture(scope="module")
def letters():
    return mm.train_tokenizer(TEXTS, kind="character")


@pytest.fixture(scope="module")
def model(letters):
    frames, mask = keras.Input((None, 6), name="frames"), keras.Input((None,), dtype="bool")
    head = CTC(letters.vocabulary_size, name="transcript")
    model = keras.Model([frames, mask], head(frames, mask))
    head.set_language_model(NgramLanguageModel.train(TEXTS, letters, order=2))
    return model


def test_a_saved_model_of_core_ops(model, letters, tmp_path):
    head = model.get_layer("transcript")
    options = {"beam_width": 4, "n_best": 2, "hot_words": hot_word_ids(["dog"], letters)}

    def serve(context, mask):
        found = head.answer(context, mask, **options)
        return {**found, **head.explain(found["ids"][:, 0], context, mask)}

    signature = [tf.TensorSpec([None, None, 6]), tf.TensorSpec([None, None], tf.bool)]
    archive = keras.export.ExportArchive()
    archive.track(model)
    served = tf.function(serve, input_signature=signature, autograph=False)
    archive.add_endpoint("serve", served)
    archive.write_out(str(tmp_path / "1"), verbose=False)
    context = np.random.default_rng(0).normal(size=(2, 9, 6)).astype("float32")
    mask = np.arange(9) < [[9], [5]]
    expected = serve(context, mask)
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    found = loaded.serve(context, mask)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, err_msg=name)
    functions = served.get_concrete_function().graph.as_graph_def().library.function
    ops = {node.op for function in functions for node in function.node_def}
    assert not [op for op in ops if op.startswith(("Xla", "PyFunc", "EagerPy", "StatefulPy"))]


@pytest.mark.parametrize("options", [{}, {"beam_width": 4, "hot_words": ((4, 5),)}])
def test_a_stream_in_a_graph_of_one_signature(model, options):
    head = model.get_layer("transcript")
    search = head.search(**options)
    context = np.random.default_rng(1).normal(size=(1, 12, 6)).astype("float32")
    start = search.initial_state(1)
    specs = {name: tf.TensorSpec([None, *x.shape[1:]], x.dtype) for name, x in start.items()}
    specs["ids"] = tf.TensorSpec([None, start["ids"].shape[1], None], tf.int32)
    advance = tf.function(
        lambda log_probs, state: search.advance(log_probs, state),
        input_signature=[tf.TensorSpec([None, None, head.vocabulary_size]), specs],
        autograph=False,
    )
    state = start
    for chunk in np.split(context, [5, 6, 6], axis=1):
        state = advance(head(chunk), state)
    found, expected = search.finish(state), head.answer(context, **options)
    np.testing.assert_array_equal(found["ids"], expected["ids"])
    np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-4)
