import errno
import io
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from mmkeras.builders import image_captioning
from mmkeras.preprocessing import Features, Preprocessor, Text, train_tokenizer
from mmkeras.serving import Export, export, verify, write_deployment
from mmkeras.serving.asked import NAMES
from mmkeras.task import Task

NAN = float("nan")

TEXTS = ["a red dog runs on grass", "two cats sleep on a sofa", "ein Mädchen lächelt", "犬が走る"]
OPTIONS = {"beam_width": 3, "min_length": 3}


def photo(seed, kind="JPEG", size=(64, 48)):
    colours = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(colours).resize(size).save(file, kind)
    return file.getvalue()


PHOTOS = [photo(1), photo(2, "PNG", (33, 90)), photo(3)]


@pytest.fixture(scope="module", autouse=True)
def _unoptimized():
    """Optimizing graphs that run once took most of the time; other processes here do it."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="module")
def captioners(tmp_path_factory):
    """Two captioners, exported one after the other into one directory."""
    path = tmp_path_factory.mktemp("exports") / "captions"
    made = {}
    for decoder, kind in (("lstm", "word"), ("transformer", "subword")):
        keras.utils.set_random_seed(1)
        tokenizer = train_tokenizer(TEXTS, kind, vocabulary_size=300)
        task = image_captioning(
            tokenizer, image_size=32, decoder=decoder, size="tiny", sequence_length=8
        )
        with pytest.MonkeyPatch.context() as patch:
            # Keras takes cuDNN's kernels where there is a GPU; they may not get into an export.
            recurrent = sys.modules["keras.src.backend.tensorflow.rnn"]
            patch.setattr(recurrent, "_is_gpu_available", lambda: True)
            written = export(task, path, n_best=2, **OPTIONS)
        made[decoder] = SimpleNamespace(task=task, path=written, export=Export(written))
    return made


@pytest.fixture(params=["lstm", "transformer"])
def captioner(request, captioners):
    return captioners[request.param]


def test_exports_get_the_next_free_version(captioners):
    paths = [captioner.path for captioner in captioners.values()]
    assert [path.name for path in paths] == ["1", "2"]
    assert sorted(os.listdir(paths[0].parent)) == ["1", "2", "deploy"]
    assert Export(paths[0].parent).path == paths[1]


def test_served_is_inferred(captioner):
    served = captioner.export.infer({"image": PHOTOS})
    inferred = captioner.task.infer({"image": PHOTOS}, **OPTIONS)
    assert served["caption"] == inferred["caption"]
    assert all(served["caption"])
    assert served["score"] == pytest.approx(inferred["score"], abs=1e-4)


def test_batches_of_any_size(captioner, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(PHOTOS[0])
    together = captioner.export.infer({"image": PHOTOS})
    parts = captioner.export.infer({"image": [tmp_path / "photo.jpg", *PHOTOS[1:]]}, batch_size=2)
    assert parts["caption"] == together["caption"]
    assert parts["score"] == pytest.approx(together["score"], abs=1e-4)


def test_an_empty_batch_gives_an_empty_answer(captioner):
    for signature in captioner.export.signatures:
        answers = captioner.export.infer({"image": []}, signature)
        assert answers["caption"] == answers["score"] == []


def test_signatures(captioner):
    found = {}
    asked = {"search": ["beam_width", "length_penalty", "max_length"]}
    asked["sample"] = ["max_length", "seed", "temperature", "top_p"]
    for signature in captioner.export.signatures:
        specs = captioner.export.specs(signature)
        assert set(specs) == {"image_bytes", *asked.get(signature, [])}
        spec = specs["image_bytes"]
        assert (spec.name, spec.shape.rank, spec.dtype) == ("image_bytes", 1, tf.string)
        raw = {name: tf.zeros([3], spec.dtype) for name, spec in specs.items() if name in NAMES}
        answers = captioner.export.run({"image_bytes": tf.constant(PHOTOS), **raw}, signature)
        found[signature] = {key: (x.dtype, x.ndim) for key, x in answers.items()}
    one = {"caption": (object, 1), "score": (np.float32, 1)}
    assert found == {
        "serving_default": one,
        "search": one,
        "sample": one,
        "nbest": {"caption": (object, 2), "score": (np.float32, 2)},
        "explain": {**one, "caption_tokens": (object, 2), "caption_attention": (np.float32, 3)},
    }


def test_n_best_answers_are_sorted_and_begin_with_the_best(captioner):
    best = captioner.export.infer({"image": PHOTOS})
    answers = captioner.export.infer({"image": PHOTOS}, "nbest")
    assert [captions[0] for captions in answers["caption"]] == best["caption"]
    assert all(len(set(captions)) == 2 for captions in answers["caption"])
    assert all(first > second for first, second in answers["score"])


def test_explained_tokens_are_the_caption_and_their_attention_sums_to_1(captioner):
    explained = captioner.export.infer({"image": PHOTOS}, "explain")
    separator = captioner.task.preprocessor.targets["caption"].tokenizer.separator
    rows = zip(explained["caption"], explained["caption_tokens"], strict=True)
    for caption, tokens in rows:
        assert separator.join(tokens).strip() == caption or "\ufffd" in caption
    assert np.shape(explained["caption_attention"]) == (3, 9, 4)
    assert np.sum(explained["caption_attention"], axis=-1) == pytest.approx(1.0, abs=1e-4)


def operations(path):
    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    names = set()
    for graph in (meta.graph_def for meta in saved.meta_graphs):
        functions = graph.library.function
        nodes = itertools.chain(graph.node, *(function.node_def for function in functions))
        names |= {node.op for node in nodes} - {function.signature.name for function in functions}
    return names


ALONE = """
import json, sys

for name in ("mmkeras", "keras", "tf_keras"):
    sys.modules[name] = None  # importing it now fails
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

asked = json.load(sys.stdin)
answers = []
for path in asked["paths"]:
    serve = tf.saved_model.load(path).signatures["serving_default"]
    photos = [tf.io.read_file(photo) for photo in asked["photos"]]
    answers.append([caption.decode() for caption in serve(tf.stack(photos))["caption"].numpy()])
unknown = [name for name in asked["operations"] if op_def_registry.get(name) is None]
assert sys.modules["keras"] is sys.modules["mmkeras"] is None
print(json.dumps({"answers": answers, "unknown": unknown}))
"""


@pytest.fixture(scope="module")
def photo_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"{i}.jpg" for i in range(len(PHOTOS))]
    for path, contents in zip(paths, PHOTOS, strict=True):
        path.write_bytes(contents)
    return [str(path) for path in paths]


@pytest.fixture(scope="module")
def alone(captioners, photo_files, tmp_path_factory):
    """What a process finds that can import TensorFlow and neither mmkeras nor Keras."""
    asked = {
        "paths": [str(captioner.path) for captioner in captioners.values()],
        "photos": photo_files,
        "operations": sorted(set().union(*(operations(c.path) for c in captioners.values()))),
    }
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path_factory.mktemp("elsewhere"),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_answers_without_mmkeras_and_keras(alone, captioners):
    for answers, captioner in zip(alone["answers"], captioners.values(), strict=True):
        assert answers == captioner.task.infer({"image": PHOTOS}, **OPTIONS)["caption"]


def test_every_operation_is_of_core_tensorflow(alone, captioner):
    assert alone["unknown"] == []
    forbidden = ("Py", "EagerPy", "Numpy", "Xla", "Cudnn", "Sentencepiece", "Kafka", "IO>")
    found = operations(captioner.path)
    assert "DecodeJpeg" in found
    assert {"While", "StatelessWhile"} & found
    assert [name for name in found if name.startswith(forbidden)] == []


def test_answers_through_the_c_api(captioner, photo_files, tmp_path):
    script = Path(__file__).with_name("capi.py")
    done = subprocess.run(
        [sys.executable, "-I", script, captioner.path, "serving_default", *photo_files],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    inferred = captioner.task.infer({"image": PHOTOS}, **OPTIONS)
    assert not told["python"]
    assert told["answers"]["caption"] == inferred["caption"]
    assert told["answers"]["score"] == pytest.approx(inferred["score"], abs=1e-4)
    assert told["empty"] == {"caption": [], "score": []}
    assert "row 1 is not a JPEG" in told["error"]


def test_bad_bytes_name_the_row(captioners):
    loaded = captioners["lstm"].export
    with pytest.raises(tf.errors.InvalidArgumentError, match="row 1 is an empty file"):
        loaded.run({"image_bytes": tf.constant([PHOTOS[0], b""])})
    bad = Path(loaded.path, "assets.extra", "golden.json")
    with pytest.raises(ValueError, match=r"Row 2, .*golden.json.*: not a JPEG, PNG"):
        loaded.infer({"image": [*PHOTOS[:2], bad]}, batch_size=2)
    with pytest.raises(ValueError, match=r"Row 1, \{'image': '<\d+ bytes>'\}: .*"):
        loaded.infer({"image": [PHOTOS[0], PHOTOS[1][:-100]]})


def test_bad_records_are_told(captioners):
    loaded = captioners["lstm"].export
    with pytest.raises(ValueError, match=r"Input 'image', row 1: .*nowhere.jpg"):
        loaded.infer({"image": [PHOTOS[0], "nowhere.jpg"]})
    with pytest.raises(ValueError, match=r"with the names \['image'\]. Received: \['photo'\]"):
        loaded.infer({"photo": PHOTOS})
    with pytest.raises(ValueError, match="should be a list"):
        loaded.infer({"image": PHOTOS[0]})
    with pytest.raises(ValueError, match="`signature` should be one of"):
        loaded.infer({"image": PHOTOS}, "best")


def test_a_good_export_verifies(captioners):
    assert verify(captioners["lstm"].path) == []


# What follows is about files; a task of nearly no operations will do.


@keras.saving.register_keras_serializable("tests")
class Threshold(keras.layers.Layer):
    """Says the first piece for each number above 0 and the second for others."""

    start_id = 1

    def call(self, ids, context):
        return keras.ops.zeros_like(ids) + keras.ops.cast(context[:, :1], "int32")

    def answer(self, context, beam_width=1, n_best=1):
        ids = tf.where(context > 0, 3 + 0xC3, 3 + ord("a"))
        return {
            "ids": tf.repeat(ids[:, None], n_best, axis=1),
            "scores": tf.cast(tf.repeat(context[:, :1], n_best, axis=1), tf.float16),
        }

    def explain(self, ids, context):
        return {"attention": tf.ones_like(context)[:, None] / 2}


def small_task():
    field, text = Features((2,)), Text(train_tokenizer(["a"], "subword", 259 + 1), 2)
    numbers, ids = field.input("numbers"), text.target_input("word")
    context = keras.layers.Rescaling(1.0)(numbers)
    outputs = {"word": Threshold(name="word")(ids, context)}
    fields = Preprocessor({"numbers": field}, {"word": text})
    return Task({"numbers": numbers, "word_input": ids}, outputs, preprocessor=fields)


@pytest.fixture(scope="module")
def task():
    return small_task()


@pytest.fixture(scope="module")
def written(task, tmp_path_factory):
    return export(task, tmp_path_factory.mktemp("small") / "7")


@pytest.fixture
def copy(written, tmp_path):
    return Path(shutil.copytree(written, tmp_path / "words" / "3"))


def contents(path):
    return {str(file): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_any_task_is_exported(task, written):
    assert written.name == "7"
    numbers = {"numbers": [[1.0, -1.0], [-2.0, -3.0]]}
    exported = Export(written)
    assert exported.infer(numbers) == {"word": ["\ufffda", "aa"], "score": [1.0, -2.0]}
    assert exported.infer(numbers) == task.infer(numbers)
    assert exported.infer(numbers, "nbest")["word"] == [["\ufffda"] * 4, ["aa"] * 4]


def test_served_strings_are_utf_8(written):
    answers = Export(written).run({"numbers": tf.constant([[1.0, -1.0]])})
    assert answers["word"][0].decode() == "\ufffda"
    assert answers["score"].dtype == np.float32


def test_examples_are_the_golden_request(task, tmp_path):
    path = export(task, tmp_path, {"numbers": [[1, 2], [3, 4], [0.1, -5]]})
    golden = json.loads((path / "assets.extra" / "golden.json").read_text())
    assert golden["inputs"]["numbers"][1] == [3, 4]
    assert golden["outputs"]["serving_default"]["word"] == ["��", "��", "\ufffda"]
    assert verify(path) == verify(tmp_path) == []
    with pytest.raises(ValueError, match="row 0"):
        export(task, tmp_path, {"numbers": [[1, 2, 3]]})
    with pytest.raises(ValueError, match="at least one"):
        export(task, tmp_path, {"numbers": []})
    assert sorted(os.listdir(tmp_path)) == ["1", "deploy"]


def test_without_beams_there_is_no_nbest(task, tmp_path):
    assert Export(export(task, tmp_path, beam_width=None)).signatures == [
        "explain",
        "serving_default",
    ]


def test_a_version_is_kept_unless_told_otherwise(task, copy):
    before = contents(copy)
    with pytest.raises(ValueError, match="`path` should be a version that is not there yet"):
        export(task, copy)
    assert contents(copy) == before
    assert export(task, copy, overwrite=True, beam_width=None) == copy
    assert Export(copy).signatures == ["explain", "serving_default"]
    assert sorted(os.listdir(copy.parent)) == ["3", "deploy"]


def test_a_full_disk_leaves_the_old_version(task, copy):
    before, limits = contents(copy), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match="could not be written"):
            export(task, copy, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(copy) == before
    assert os.listdir(copy.parent) == ["3"]
    assert verify(copy) == []


def test_a_failing_rename_leaves_the_old_version(task, copy, monkeypatch):
    before, rename = contents(copy), os.rename

    def full(source, target):
        if Path(target).name == "3" and not str(source).endswith(".old"):
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        export(task, copy, overwrite=True)
    assert contents(copy) == before
    assert sorted(os.listdir(copy.parent)) == ["3", "deploy"]


def test_verify_names_the_file_that_is_damaged(copy):
    variables = copy / "variables" / "variables.index"
    variables.unlink()
    (copy / "extra.txt").write_text("new")
    saved = copy / "saved_model.pb"
    saved.write_bytes(saved.read_bytes()[:-100])
    assert verify(copy) == [
        "variables/variables.index is missing",
        "extra.txt was not there",
        "saved_model.pb was changed",
    ]
    with pytest.raises(ValueError, match="should be a whole SavedModel"):
        Export(copy)


def test_verify_tells_what_is_answered_otherwise(copy):
    file = copy / "assets.extra" / "golden.json"
    golden = json.loads(file.read_text())
    golden["outputs"]["serving_default"]["word"][1] = "cat"
    golden["outputs"]["nbest"]["score"][0][2] += 0.01
    golden["outputs"]["explain"]["word_tokens"] = []
    file.write_text(json.dumps(golden))
    explain, nbest, default = sorted(verify(copy))
    assert explain.startswith("explain: word_tokens has the shape [2, 2], had [0]")
    assert nbest.startswith("nbest: score[0, 2] is ")
    assert default.startswith("serving_default: word[1] is b")
    assert "was b'cat' (1 differ)" in default


def test_what_is_no_export_is_told(copy, tmp_path):
    file = copy / "assets.extra" / "golden.json"
    file.write_text(file.read_text()[:100])
    with pytest.raises(ValueError, match=r"golden.json is damaged"):
        verify(copy)
    with pytest.raises(ValueError, match=r"golden requests: .*nowhere"):
        verify(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"Received: path='.*nowhere'"):
        Export(tmp_path / "nowhere")


def test_warm_up_requests_are_written(written):
    log = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2").PredictionLog
    file = written / "assets.extra" / "tf_serving_warmup_requests"
    records = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    requests = [log.FromString(record).predict_log.request for record in records]
    names = {request.model_spec.signature_name for request in requests}
    assert names == {"serving_default", "nbest", "explain"}
    golden = json.loads((written / "assets.extra" / "golden.json").read_text())
    numbers = np.float32(golden["inputs"]["numbers"])
    sizes = set()
    for request in requests:
        asked = tf.make_ndarray(request.inputs["numbers"])
        sizes.add((request.model_spec.signature_name, len(asked)))
        assert all(any(np.array_equal(row, one) for one in numbers) for row in asked)
    assert sizes == {(name, size) for name in names for size in (1, 8)}


def test_without_the_serving_extra_there_is_no_warm_up(task, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    path = export(task, tmp_path)
    assert sorted(os.listdir(path / "assets.extra")) == ["golden.json", "model_card.md"]
    assert verify(path) == []


class TestCard:
    def card(self, path):
        return (path / "assets.extra" / "model_card.md").read_text(encoding="utf-8")

    def test_says_what_the_model_takes_and_gives(self, written, task):
        text = self.card(written)
        assert text.startswith(f"# {task.name}\n")
        assert "| input | `numbers` | Features |" in text
        assert "| `serving_default` | `numbers` | " in text
        assert "`score`" in text
        assert text.count("Not told by whoever exported it.") == 5

    def test_says_what_people_told(self, task, tmp_path):
        told = {
            "data": "Eight made-up rows \N{SNOWMAN}",
            "scores": {"BLEU-4": 0.21862, "photos": 1000},
            "limits": ["Knows 30 words.", "Has seen no people."],
        }
        text = self.card(export(task, tmp_path / "told", card=told))
        assert "## Data\n\nEight made-up rows \N{SNOWMAN}\n" in text
        assert "| BLEU-4 | 0.2186 |\n| photos | 1000 |" in text
        assert "- Knows 30 words.\n- Has seen no people." in text
        assert text.count("Not told by whoever exported it.") == 2

    def test_what_nobody_asks_is_refused(self, task, tmp_path):
        with pytest.raises(ValueError, match=r"`card` should be a dict of \['data', .*colour"):
            export(task, tmp_path / "refused", card={"colour": "red"})
        assert not (tmp_path / "refused").exists()


class TestDeployment:
    def test_names_the_model(self, tmp_path):
        text_format = pytest.importorskip("google.protobuf.text_format")
        servers = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
        folder = write_deployment(tmp_path / "captions")
        text = (folder / "models.config").read_text()
        config = text_format.Parse(text, servers.ModelServerConfig())
        (model,) = config.model_config_list.config
        assert (model.name, model.base_path) == ("captions", "/models/captions")

    def test_all_files_fit_together(self, tmp_path):
        yaml = pytest.importorskip("yaml")
        folder = write_deployment(tmp_path / "captions", name="words")
        compose = yaml.safe_load((folder / "compose.yaml").read_text())["services"]["serving"]
        deployment, service = yaml.safe_load_all((folder / "kubernetes.yaml").read_text())
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert compose["image"] == container["image"]
        assert compose["command"] == container["args"]
        assert "..:/models/words:ro" in compose["volumes"]
        named = {arg.rpartition("/")[2] for arg in compose["command"] if "/deploy/" in arg}
        assert named <= set(os.listdir(folder))
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {
            "/models/words",
            "/deploy",
        }
        assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]

    def test_what_was_changed_stays(self, task, tmp_path):
        folder = write_deployment(tmp_path)
        (folder / "batching.config").write_text("max_batch_size { value: 4 }")
        export(task, tmp_path)
        assert (folder / "batching.config").read_text() == "max_batch_size { value: 4 }"
        assert verify(tmp_path) == []


class TestAskedByRow:
    """Signatures whose requests say how to search: as the task does when it is told so."""

    def test_search(self, captioner):
        exported, photos = Export(captioner.path), PHOTOS[:3]
        asked = {"beam_width": [1, 3, 9], "max_length": [4, 0, 6], "length_penalty": [0.0, NAN, 2]}
        found = exported.infer({"image": photos, **asked}, signature="search")
        alone = [
            captioner.task.infer(
                {"image": photos[:1]}, beam_width=1, max_length=4, length_penalty=0
            ),
            captioner.task.infer({"image": photos[1:2]}, beam_width=3),
            captioner.task.infer(
                {"image": photos[2:]}, beam_width=4, max_length=6, length_penalty=2
            ),
        ]
        assert found["caption"] == [each["caption"][0] for each in alone]
        scores = [each["score"][0] for each in alone]
        np.testing.assert_allclose(found["score"], scores, rtol=1e-4)

    def test_who_asks_for_nothing_gets_what_all_get(self, captioner):
        exported, photos = Export(captioner.path), PHOTOS[:2]
        usual = exported.infer({"image": photos})
        assert exported.infer({"image": photos}, signature="search") == usual
        some = exported.infer({"image": photos, "beam_width": [None, 1]}, signature="search")
        assert some["caption"][0] == usual["caption"][0]

    def test_sample(self, captioner):
        exported, photo = Export(captioner.path), PHOTOS[0]
        asked = {
            "temperature": [0.0, 1.0, 1.0, 1.0],
            "top_p": [NAN, 1.0, 1.0, 1.0],
            "seed": [0, 7, 7, 8],
            "max_length": [0, 0, 0, 5],
        }
        found = exported.infer({"image": [photo] * 4, **asked}, signature="sample")["caption"]
        assert found[0] == captioner.task.infer({"image": [photo]})["caption"][0]
        assert found[1] == found[2]
        raw = {"image_bytes": tf.constant([photo])}
        options = {"temperature": 1.0, "top_p": tf.constant([1.0]), "seed": tf.constant([7])}
        drawn = captioner.task.serve(raw, **options)["caption"][0].numpy()
        assert found[1] == drawn.decode("utf-8", "replace")
