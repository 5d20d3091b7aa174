"""Exports that take less room: fewer bytes for each weight, other formats."""

import json
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm
from mmkeras.cli import main
from mmkeras.serving import tensor_function

# TensorFlow points to the same interpreter in a package of its own.
pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated")

TEXTS = ["a red dog runs on grass", "two cats sleep on a sofa", "grass runs", "?"]
CLASSES = ["plain", "odd", "other"]
ALONE = """
import json, sys
sys.modules["mmkeras"] = sys.modules["keras"] = None
import tensorflow as tf
path, *texts = json.loads(sys.stdin.read())
answer = tf.saved_model.load(path).signatures["serving_default"](text=tf.constant(texts))
print(json.dumps([answer["label"].numpy().astype(str).tolist(), answer["score"].numpy().tolist()]))
"""


def tokenizer():
    return mm.train_tokenizer(TEXTS, "word")


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """A classifier of texts, and its export with each kind of weights."""
    task = mm.text_classification(tokenizer(), CLASSES, encoder="transformer", size="tiny")
    folder = tmp_path_factory.mktemp("exports")
    paths = {
        kind: mm.export(task, folder / kind, {"text": TEXTS}, weights=kind)
        for kind in ("float32", "bfloat16", "int8")
    }
    rounded = {kind: mm.rounded(task, kind) for kind in ("bfloat16", "int8")}
    return SimpleNamespace(task=task, paths=paths, rounded=rounded)


def size(path):
    return sum(file.stat().st_size for file in (path / "variables").iterdir())


def test_every_weight_is_written_once(exports):
    written = tf.train.load_checkpoint(str(exports.paths["float32"] / "variables" / "variables"))
    shapes = written.get_variable_to_shape_map().values()
    assert sum(map(np.prod, filter(None, shapes))) == exports.task.count_params()


@pytest.mark.parametrize(("weights", "share"), [("bfloat16", 1 / 2), ("int8", 1 / 4)])
def test_weights_take_less_room(exports, weights, share):
    assert size(exports.paths[weights]) < 1.1 * share * size(exports.paths["float32"])


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_answers_are_those_of_the_rounded_task(exports, weights):
    exported = mm.Export(exports.paths[weights])
    assert mm.verify(exports.paths[weights]) == []
    before, now = exports.task.infer({"text": TEXTS}), exported.infer({"text": TEXTS})
    rounded = exports.rounded[weights].infer({"text": TEXTS})
    assert now["label"] == rounded["label"]
    assert now["score"] == pytest.approx(rounded["score"], abs=1e-6)
    assert now["score"] == pytest.approx(before["score"], abs=0.02)
    assert now["score"] != pytest.approx(before["score"], abs=1e-6)
    assert exports.task.infer({"text": TEXTS}) == before


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_rounding_is_as_fine_as_it_can_be(exports, weights):
    for was, now in zip(exports.task.weights, exports.rounded[weights].weights, strict=True):
        was, now = was.numpy(), now.numpy()
        if was.ndim < 2:
            assert (was == now).all()
        elif weights == "bfloat16":
            assert now == pytest.approx(was, rel=2**-8)
        else:
            largest = np.abs(was).max(axis=tuple(range(was.ndim - 1)))
            assert (np.abs(was - now) <= largest / 127 * 0.5001).all()


def test_a_channel_of_zeros_stays_one():
    task = mm.text_classification(tokenizer(), CLASSES, size="tiny")
    kernel = task.get_layer("label").output_layer.kernel
    kernel.assign(kernel * [0.0, 1.0, 1.0])
    rounded = mm.rounded(task, "int8").get_layer("label").output_layer.kernel.numpy()
    assert (rounded[:, 0] == 0).all()
    assert (rounded[:, 1:] != 0).any()


def test_what_a_task_got_later_is_rounded_with_it():
    letters = mm.train_tokenizer(TEXTS, "character")
    task = mm.speech_to_text(letters, size="nano")
    language = mm.NgramLanguageModel.train(TEXTS, letters, order=2, unit="token")
    task.get_layer("transcript").set_language_model(language)
    rounded = mm.rounded(task, "bfloat16")
    assert sorted(w.path for w in rounded.weights) == sorted(w.path for w in task.weights)
    kernels = [each.get_layer("transcript").output_layer.kernel for each in (task, rounded)]
    assert kernels[1].numpy() == pytest.approx(kernels[0].numpy(), rel=2**-8)


def test_the_card_tells_what_storing_changed(exports):
    cards = {
        kind: (path / "assets.extra" / "model_card.md").read_text()
        for kind, path in exports.paths.items()
    }
    assert "Stored as float32.\n" in cards["float32"]
    assert "Stored as int8. `label` is the same in" in cards["int8"]
    assert "of 4 answers. `score` differs by 0.0" in cards["bfloat16"]


def test_answers_of_small_weights_need_no_mmkeras(exports):
    path = exports.paths["bfloat16"]
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE],
        input=json.dumps([str(path), *TEXTS]),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    expected = mm.Export(path).infer({"text": TEXTS})
    labels, scores = json.loads(done.stdout)
    assert labels == expected["label"]
    assert scores == pytest.approx(expected["score"], abs=1e-5)


def test_the_command_line_stores_them_too(exports, tmp_path, capsys):
    exports.task.save(tmp_path / "labels.keras")
    words = ["export", tmp_path / "labels.keras", tmp_path / "labels", "--weights", "int8"]
    assert main([str(word) for word in words]) == 0
    assert str(tmp_path / "labels" / "1") in capsys.readouterr().out
    found = mm.Export(tmp_path / "labels").infer({"text": TEXTS})
    assert found == mm.Export(exports.paths["int8"]).infer({"text": TEXTS})
    assert found != mm.Export(exports.paths["float32"]).infer({"text": TEXTS})


def test_unknown_weights(exports, tmp_path):
    message = r"`weights` should be one of .*'int8'.*weights='float16'"
    with pytest.raises(ValueError, match=message):
        mm.rounded(exports.task, "float16")
    with pytest.raises(ValueError, match=message):
        mm.export(exports.task, tmp_path / "labels", weights="float16")
    assert list(tmp_path.iterdir()) == []


def interpreter(path):
    """A LiteRT model as a function of arrays, and the operations in it."""
    loaded = tf.lite.Interpreter(str(path))
    return loaded.get_signature_runner(), {each["op_name"] for each in loaded._get_ops_details()}


@pytest.mark.parametrize("encoder", ["bilstm", "transformer"])
def test_litert_classifies_texts(encoder, tmp_path):
    task = mm.text_classification(tokenizer(), CLASSES, encoder=encoder, size="tiny")
    path = mm.export_litert(task, tmp_path / "texts" / "labels.tflite", {"text": TEXTS})
    assert list(path.parent.iterdir()) == [path]
    run, operations = interpreter(path)
    assert not any(name.startswith("Flex") for name in operations)
    ids = task.preprocessor.inputs["text"](TEXTS).numpy()
    found = np.concatenate([run(text=row[None])["label"] for row in ids])
    expected = task.infer({"text": TEXTS}, n_best=3)
    assert np.sort(found)[:, ::-1] == pytest.approx(np.array(expected["score"]), abs=1e-5)
    assert [CLASSES[row.argmax()] for row in found] == [each[0] for each in expected["label"]]


def test_litert_classifies_pixels(photo, tmp_path):
    task = mm.image_classification(CLASSES, 16, size="tiny")
    photos = [photo(1), photo(2)]
    run, _ = interpreter(mm.export_litert(task, tmp_path / "x.tflite", {"image": photos}))
    pixels = task.preprocessor.inputs["image"](photos).numpy()
    found = [run(image=each[None])["label"].max() for each in pixels]
    assert found == pytest.approx(task.infer({"image": photos})["score"], abs=1e-5)


def test_litert_hears_padded_frames(tmp_path):
    letters = mm.train_tokenizer(TEXTS, "character")
    task = mm.speech_to_text(letters, size="nano")
    run, operations = interpreter(mm.export_litert(task, tmp_path / "x.tflite", frames=100))
    assert not any(name.startswith("Flex") for name in operations)
    field = task.preprocessor.inputs["audio"]
    frames, mask = (each.numpy() for each in field([field.example(3)]))
    expected = task({"audio": frames, "audio_mask": mask})["transcript"].numpy()
    more = 100 - frames.shape[1]
    padded = {"audio": np.pad(frames, [(0, 0), (0, more), (0, 0)])}
    found = run(**padded, audio_mask=np.pad(mask, [(0, 0), (0, more)]))["transcript"]
    assert found.shape == (1, 25, letters.vocabulary_size)
    assert found[:, : expected.shape[1]] == pytest.approx(expected, abs=1e-4)
    assert (found[:, expected.shape[1] :].argmax(axis=-1) == 0).all()


def test_litert_takes_no_search_and_says_why(tmp_path):
    task = mm.image_captioning(tokenizer(), image_size=32, decoder="lstm", size="tiny")
    with pytest.raises(ValueError, match=r"'caption' is written token by token.*LSTMDecoder"):
        mm.export_litert(task, tmp_path / "captions.tflite")
    task = mm.image_text_retrieval(tokenizer(), 32, size="tiny")
    with pytest.raises(ValueError, match=r"'match' is neither a class nor CTC \(Match\)"):
        mm.export_litert(task, tmp_path / "match.tflite")
    assert list(tmp_path.iterdir()) == []


def test_litert_names_an_operation_that_it_lacks(tmp_path):
    def encoder(image):
        rows = keras.ops.erfinv(keras.ops.mean(keras.ops.cast(image, "float32") / 256, axis=-1))
        return rows, None

    task = mm.image_classification(CLASSES, 16, encoder=encoder, size="tiny")
    with pytest.raises(ValueError, match=r"lacks an operation of 'image_classification'.*Erfinv"):
        mm.export_litert(task, tmp_path / "x.tflite")


def test_litert_that_differs_is_not_kept(exports, monkeypatch, tmp_path):
    monkeypatch.setattr(tensor_function, "TOLERANCE", -1.0)
    with pytest.raises(
        ValueError, match=r"What was converted differs from Python by .* in example 0"
    ):
        mm.export_litert(exports.task, tmp_path / "x.tflite")
    with pytest.raises(ValueError, match=r"`frames` should be a whole number.*frames=0"):
        mm.export_litert(exports.task, tmp_path / "x.tflite", frames=0)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def onnx():
    """A function from the path of an ONNX model to a function of arrays."""
    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")

    def load(path):
        session = runtime.InferenceSession(str(path))
        return lambda **inputs: session.run(None, inputs)[0]

    return load


def test_onnx_classifies_texts(exports, onnx, tmp_path):
    path = mm.export_onnx(exports.task, tmp_path / "labels.onnx", {"text": TEXTS})
    found = onnx(path)(text=exports.task.preprocessor.inputs["text"](TEXTS).numpy())
    expected = exports.task.infer({"text": TEXTS})
    assert found.max(axis=1) == pytest.approx(expected["score"], abs=1e-5)
    assert [CLASSES[best] for best in found.argmax(axis=1)] == expected["label"]


def test_onnx_classifies_pixels(photo, onnx, tmp_path):
    task = mm.image_classification(CLASSES, 16, size="tiny")
    photos = [photo(1), photo(2)]
    run = onnx(mm.export_onnx(task, tmp_path / "x.onnx", {"image": photos}))
    found = run(image=task.preprocessor.inputs["image"](photos).numpy())
    assert found.max(axis=1) == pytest.approx(task.infer({"image": photos})["score"], abs=1e-5)


def test_onnx_hears_frames(onnx, tmp_path):
    letters = mm.train_tokenizer(TEXTS, "character")
    task = mm.speech_to_text(letters, size="nano")
    run = onnx(mm.export_onnx(task, tmp_path / "x.onnx", frames=48))
    frames, mask = np.random.default_rng(0).normal(size=(2, 48, 80)), np.ones((2, 48), bool)
    inputs = {"audio": frames.astype("float32"), "audio_mask": mask}
    expected = task(inputs)["transcript"].numpy()
    assert run(**inputs) == pytest.approx(expected, abs=1e-4)


def test_onnx_refuses_what_its_converter_cannot(onnx, tmp_path):
    task = mm.text_classification(tokenizer(), CLASSES, encoder="bilstm", size="tiny")
    with pytest.raises(ValueError, match="tf2onnx cannot convert 'text_classification'"):
        mm.export_onnx(task, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_onnx_says_what_to_install(exports, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r"mmkeras\[onnx\]"):
        mm.export_onnx(exports.task, tmp_path / "x.onnx")
