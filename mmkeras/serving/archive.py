"""Writing an export: a Task as a versioned SavedModel that a stock model server loads."""

import contextlib
import functools
import os
import shutil
import uuid
from pathlib import Path

import keras
import tensorflow as tf

from mmkeras.serving import asked
from mmkeras.serving import examples as tf_examples
from mmkeras.serving.card import check_card, write_card
from mmkeras.serving.deployment import write_deployment
from mmkeras.serving.golden import record
from mmkeras.serving.loading import Export, is_version, reason, versions
from mmkeras.serving.warmup import write_warmup
from mmkeras.serving.weights import StoredWeights, check_weights, differences
from mmkeras.streaming import Stream, what_hinders

EXAMPLES = 2
# Classes or spans that `nbest` gives.
MANY = 5


def export(
    task,
    path,
    examples=None,
    beam_width=4,
    n_best=None,
    overwrite=False,
    card=None,
    weights="float32",
    **options,
):
    """Write a Task as a SavedModel: raw bytes in, answers out, stock TensorFlow operations only.

    Signatures, for an input `image` and a target `caption`, of a batch of any size:

    - `serving_default`: `image_bytes` `(batch,)` -> `caption` `(batch,)` and `score` `(batch,)`
    - `nbest`: the same -> `caption` and `score` `(batch, n_best)`, best first, of a closed set of
      answers too
    - `explain`: the same -> what `serving_default` gives, `caption_tokens` `(batch, length)` and
      `caption_attention` `(batch, length, context length)`, see `Task.explain`
    - `search`, `sample` of a decoder: the same, and for each row what it asks for, see
      `mmkeras.serving.asked`: `beam_width` up to that of the export, `max_length` in tokens, END
      included, and `length_penalty`; `temperature`, `top_p`, `seed` and `max_length` -> what
      `serving_default` gives. A value of 0, or NaN of the fractions, asks for nothing.
    - `timestamps`: the same -> what `serving_default` gives and when each word was said, of heads
      that align what they answer to a recording, see `Task.timestamps`
    - `embed_image`: `image_bytes` -> `embedding` `(batch, width)`, one for each input that has an
      embedding, see `Task.embed`; of a task that only compares its inputs there are these and
      `serving_default`, which gives `score` alone
    - `classify` of a closed set: `inputs` `(batch,)`, serialized `tf.train.Example`s with the names
      of `serving_default` as features -> `classes` and `scores` `(batch, classes)`, for TensorFlow
      Serving's Classify
    - `stream_init`, `stream_step`, `stream_end` of a task that can listen to streams, see
      `Stream.signatures`

    One input that cannot be read fails its whole batch, with an error that names its row. An input
    that a request lacks is sent as an empty value (no bytes, no text, nothing but NaN) by those
    who ask: TensorFlow Serving fills in defaults over gRPC only, and so there are none.

    The export is written beside its place, loaded, asked the golden requests (see `verify`), and
    only then put in its place, so that neither a model server nor a failure sees half of it. In
    its `assets.extra` are a model card and, where `tensorflow-serving-api` is installed, warm-up
    requests; beside the versions is what a server is started with, see `write_deployment`.

    Args:
        task: A `Task`.
        path: The version directory if its last part is a whole number; otherwise the directory of
            versions, in which the next free number is taken.
        examples: A dict of lists by input name, for golden and warm-up requests; None for some
            that the fields make up.
        beam_width: Of the search in all signatures; None for the search that `options` ask for,
            without the signature `nbest`.
        n_best: Answers that `nbest` gives; None for `beam_width`, or 5 of a closed set.
        overwrite: Whether a version that is there is replaced.
        card: What its card should tell of it: a dict of text, lists or, of scores, numbers by
            name, under `"data"`, `"scores"`, `"languages"`, `"licence"` and `"limits"`.
        weights: What matrices are stored as: `"float32"`, or in half the bytes `"bfloat16"`, or in
            a quarter `"int8"`, which the graph casts: it computes in float32 all the same. The
            card then tells how the golden requests' answers differ; `mmkeras.rounded` gives a task
            to evaluate.
        **options: Of the search, as in `Task.infer`.

    Returns:
        The version directory, a `Path`.

    Raises:
        ValueError: if the version is there already, or an option or an example is no good.
        OSError: if it cannot be written; nothing is left behind, and an older version stays.

    Example:

    ```python
    import mmkeras as mm

    words = mm.train_tokenizer(["a dog runs"], kind="word")
    model = mm.image_captioning(words, image_size=64, size="tiny")
    mm.export(model, "saved_models/captions")             # saved_models/captions/1
    ```
    """
    target, card = _target(Path(path), overwrite), check_card(card)
    stored = None if check_weights(weights) == "float32" else StoredWeights(task, weights)
    raw = _raw(task, examples)
    heads = [task.get_layer(name) for name in task.preprocessor.targets]
    several = {}
    if not all(getattr(head, "searches", True) for head in heads):
        several = {
            "n_best": n_best or min([MANY, *(getattr(head, "classes", MANY) for head in heads)])
        }
    elif beam_width is not None:
        options["beam_width"] = beam_width
        several = {"n_best": n_best or beam_width}
    signatures = {"serving_default": ("serve", options)}
    if all(hasattr(head, "explain") for head in heads):
        signatures["explain"] = ("explain", options)
        if several:
            signatures["nbest"] = ("serve", {**options, **several})
    requests = {}
    if len(heads) == 1 and hasattr(heads[0], "max_length") and hasattr(heads[0], "step"):
        requests = {"sample": options} | ({"search": options} if several else {})
        raw |= asked.nothing(len(next(iter(raw.values()))))
    signatures |= {f"embed_{name}": ("embedding", {"name": name}) for name in task.embeds}
    if task.aligned:
        signatures["timestamps"] = ("timestamps", options)
    archive, takes, gives = _archive(task, signatures, requests, stored)
    # A model server takes no directory for a version whose name is not a number.
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        archive.write_out(str(aside), verbose=False)
        if tf_examples.NAME in takes:
            tf_examples.name_method(aside)
        changed = _changed(task, raw, aside, options) if stored else []
        write_card(aside, task, takes, gives, card, [f"Stored as {weights}.", *changed])
        write_warmup(aside, {name: takes[name] for name in (*signatures, *requests)}, raw)
        optional = [name for name, field in task.preprocessor.inputs.items() if field.optional]
        record(aside, raw, [*optional, *(asked.NAMES if requests else [])])
        for file in (aside, *aside.rglob("*")):
            _sync(file)
        write_deployment(target.parent)
        _place(aside, target, overwrite)
    except tf.errors.OpError as error:
        raise OSError(f"{target} could not be written: {reason(error)}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _target(path, overwrite):
    if not is_version(path.name):
        return path / str(max(versions(path), default=0) + 1)
    if path.exists() and not overwrite:
        raise ValueError(
            "`path` should be a version that is not there yet, or `overwrite` should be True. "
            f"Received: path={str(path)!r}"
        )
    return path


def _raw(task, examples):
    if examples is None:
        fields = task.preprocessor.inputs.items()
        examples = {name: [f.example(seed) for seed in range(EXAMPLES)] for name, f in fields}
    columns = task.preprocessor.load(examples)
    if not all(columns.values()):
        raise ValueError("`examples` should have at least one example. Received: none")
    return task.raw_tensors(columns)


def _changed(task, raw, path, options):
    """What answers with stored weights differ in from those of the Task, as sentences."""
    raw = {name: raw[name] for name in task.signature()}
    expected = task.serve_function(**options)(raw)
    return differences({k: x.numpy() for k, x in expected.items()}, Export(path).run(raw))


def _archive(task, signatures, requests, stored):
    """The Keras archive of a Task, traced, with all that its graphs need tracked.

    Also what each signature takes and gives: specs by name.
    """
    task.preprocessor.build()
    archive = keras.export.ExportArchive()
    # Variables that graphs read are tracked anyway; those of a tracked task are written twice.
    for field in task.preprocessor.fields.values():
        archive.track(field)
    functions = {
        name: (functools.partial(getattr(task, method), **o), task.signature(o.get("name")))
        for name, (method, o) in signatures.items()
    }
    for name, options in requests.items():
        function = functools.partial(asked.answered, task, name, options=options)
        functions[name] = (function, {**task.signature(), **asked.specs_of(name)})
    if tf_examples.fits(task):
        function = functools.partial(tf_examples.classified, task)
        functions[tf_examples.NAME] = function, tf_examples.SPECS
    if what_hinders(task) is None:
        functions |= Stream(task, **signatures["serving_default"][1]).signatures()
    with without_cudnn(task):
        gives = {name: _add(archive, name, *each, stored) for name, each in functions.items()}
    return archive, {name: specs for name, (_, specs) in functions.items()}, gives


def _add(archive, name, function, specs, stored):
    """Adds a signature; gives the specs of its answers."""

    @tf.function(input_signature=[specs], autograph=False)
    def endpoint(raw):
        with stored.scope() if stored else contextlib.nullcontext():
            return {key: _servable(key, values) for key, values in function(raw).items()}

    # Saving traces a function twice more, and a traced one not again.
    traced = endpoint.get_concrete_function()
    archive.add_endpoint(name, lambda raw: traced(raw), [specs])
    return traced.structured_outputs


def _servable(name, values):
    if values.dtype.is_floating:
        return tf.cast(values, tf.float32)
    if values.dtype == tf.string and not name.endswith("_bytes"):
        # REST answers are JSON; a cut character in one of them would make it no JSON at all.
        return tf.strings.unicode_transcode(values, "UTF-8", "UTF-8")
    return values


@contextlib.contextmanager
def without_cudnn(task):
    """On a machine with a GPU Keras's recurrent layers would bind the export to GPUs."""
    chosen = {
        layer: layer.use_cudnn for layer in task._flatten_layers() if hasattr(layer, "use_cudnn")
    }
    for layer in chosen:
        layer.use_cudnn = False
    try:
        yield
    finally:
        for layer, use_cudnn in chosen.items():
            layer.use_cudnn = use_cudnn


def _sync(path):
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _place(aside, target, overwrite):
    """Renames the export into its place: it is there whole or not at all."""
    old = aside.with_name(f"{aside.name}.old")
    if overwrite and target.exists():
        target.rename(old)
    try:
        aside.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    _sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)
