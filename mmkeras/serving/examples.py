"""The signature `classify` of TensorFlow Serving's Classify: examples in, all classes out."""

import numpy as np
import tensorflow as tf

NAME = "classify"
METHOD = "tensorflow/serving/classify"
SPECS = {"inputs": tf.TensorSpec([None], tf.string, name="inputs")}


def fits(task):
    """Whether a task has one target, of a closed set, and inputs that examples can hold."""
    heads = [task.get_layer(name) for name in task.preprocessor.targets]
    specs = task.signature().values()
    return (
        len(heads) == 1
        and hasattr(heads[0], "classes")
        and all(spec.dtype in (tf.string, tf.float32, tf.int64) for spec in specs)
        and all(spec.shape[1:].is_fully_defined() for spec in specs)
    )


def classified(task, raw):
    """Serialized examples -> all classes and their scores, the likeliest first.

    Args:
        task: A `Task` that `fits`.
        raw: A dict of `inputs` `(batch,)`, each with a feature for each name of the signature;
            what is optional may be left out.

    Returns:
        A dict of `classes` and `scores` `(batch, classes)`.
    """
    ((target, _),) = task.preprocessor.targets.items()
    features = {}
    for name, field in task.preprocessor.inputs.items():
        for key, spec in field.signature(name).items():
            missing = None
            if field.optional:
                missing = np.full(spec.shape[1:], "" if spec.dtype == tf.string else np.nan)
            features[key] = tf.io.FixedLenFeature(spec.shape[1:], spec.dtype, missing)
    parsed = tf.io.parse_example(raw["inputs"], features)
    answers = task.serve(parsed, n_best=task.get_layer(target).classes)
    return {"classes": answers[target], "scores": answers["score"]}


def name_method(path):
    """Writes into a SavedModel what the signature is for: TensorFlow 2 says predict of all."""
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(path))
    updater.replace_method_name(NAME, METHOD, tags="serve")
    updater.save()
