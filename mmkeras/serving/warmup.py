"""Requests that TensorFlow Serving runs when it loads a model, so that the first is not slow."""

from pathlib import Path

import numpy as np
import tensorflow as tf

# Requests of so many rows each: alone, and as many as batches of a server often have.
BATCHES = (1, 8)
WARMUP = Path("assets.extra", "tf_serving_warmup_requests")


def write_warmup(path, signatures, raw):
    """Writes warm-up requests into an export where `tensorflow-serving-api` is installed.

    Args:
        path: A version directory.
        signatures: What each of its signatures takes, a dict of dicts by name.
        raw: A dict of tensors by the names of the signatures.

    Returns:
        Whether they were written.
    """
    try:
        from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2
    except ImportError:
        return False
    (path / WARMUP).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path / WARMUP)) as writer:
        for rows in BATCHES:
            inputs = {
                name: tf.make_tensor_proto(np.resize(values.numpy(), (rows, *values.shape[1:])))
                for name, values in raw.items()
            }
            for signature, names in signatures.items():
                request = predict_pb2.PredictRequest(
                    model_spec=model_pb2.ModelSpec(signature_name=signature),
                    inputs={name: inputs[name] for name in names},
                )
                log = prediction_log_pb2.PredictLog(request=request)
                log = prediction_log_pb2.PredictionLog(predict_log=log)
                writer.write(log.SerializeToString())
    return True
