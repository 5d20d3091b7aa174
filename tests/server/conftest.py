"""Bundles that tell what they were asked, made in no time, and servers of them."""

import numpy as np
import pytest
import tensorflow as tf

from mmkeras.serving.golden import record

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("tensorflow_serving")


class Echo(tf.Module):
    """Signatures of one and two inputs, with and without rows, and one that refuses."""

    def __init__(self, number):
        super().__init__()
        self.number = tf.Variable(number)

    @tf.function(
        input_signature=[
            {
                "x": tf.TensorSpec([None, None], tf.float32, name="x"),
                "data_bytes": tf.TensorSpec([None], tf.string, name="data_bytes"),
            }
        ]
    )
    def echo(self, raw):
        rows = tf.size(raw["data_bytes"])
        return {
            "total": tf.reduce_sum(raw["x"], axis=1),
            "data_bytes": tf.identity(raw["data_bytes"]),
            "number": tf.fill([rows], self.number),
        }

    @tf.function(input_signature=[{"n": tf.TensorSpec([None], tf.int32, name="n")}])
    def root(self, raw):
        negative = tf.cast(raw["n"] < 0, tf.int32)
        row = tf.strings.as_string(tf.argmax(negative))
        message = tf.strings.join(["row ", row, " is negative"])
        with tf.control_dependencies(
            [tf.debugging.Assert(tf.reduce_sum(negative) == 0, [message])]
        ):
            return {"root": tf.sqrt(tf.cast(raw["n"], tf.float32))}

    @tf.function(input_signature=[{"n": tf.TensorSpec([], tf.int64, name="n")}])
    def next(self, raw):
        return {"next": raw["n"] + 1}

    @tf.function(input_signature=[{"text": tf.TensorSpec([None], tf.string, name="text")}])
    def upper(self, raw):
        return {"upper": tf.strings.upper(raw["text"], encoding="utf-8")}

    @tf.function(
        input_signature=[{"sample_rate": tf.TensorSpec([None], tf.int32, name="sample_rate")}]
    )
    def stream_init(self, raw):
        rows = tf.size(raw["sample_rate"])
        return {
            "heard": tf.zeros([rows, 0, 2]),
            "loudest": tf.fill([rows], -np.inf),
            "sample_rate": tf.fill([rows], 4),
        }

    @tf.function(
        input_signature=[
            {
                "samples": tf.TensorSpec([None, None], tf.float32, name="samples"),
                "heard": tf.TensorSpec([None, None, 2], tf.float32, name="heard"),
                "loudest": tf.TensorSpec([None], tf.float32, name="loudest"),
                "sample_rate": tf.TensorSpec([None], tf.int32, name="sample_rate"),
            }
        ]
    )
    def stream_step(self, raw):
        more = tf.stack([raw["samples"], raw["samples"] / 3], axis=-1)
        heard = tf.concat([raw["heard"], more], axis=1)
        loudest = tf.maximum(raw["loudest"], tf.reduce_max(raw["samples"], axis=1))
        text = tf.strings.as_string(tf.reduce_sum(heard, axis=[1, 2]))
        return {
            "text": text,
            "text_stable": text,
            "heard": heard,
            "loudest": loudest,
            "sample_rate": tf.identity(raw["sample_rate"]),
        }

    @tf.function(
        input_signature=[
            {
                "heard": tf.TensorSpec([None, None, 2], tf.float32, name="heard"),
                "loudest": tf.TensorSpec([None], tf.float32, name="loudest"),
                "sample_rate": tf.TensorSpec([None], tf.int32, name="sample_rate"),
            }
        ]
    )
    def stream_end(self, raw):
        return {
            "text": tf.strings.as_string(tf.reduce_sum(raw["heard"], axis=[1, 2])),
            "score": tf.identity(raw["loudest"]),
        }


@pytest.fixture(scope="session")
def write_echo():
    """A function that writes a version whose answers tell its number."""

    def write(path, number=None):
        number = int(path.name) if number is None else number
        echo = Echo(number)
        signatures = {
            "serving_default": echo.echo,
            "root": echo.root,
            "next": echo.next,
            "upper": echo.upper,
            "stream_init": echo.stream_init,
            "stream_step": echo.stream_step,
            "stream_end": echo.stream_end,
        }
        tf.saved_model.save(echo, str(path), signatures)
        raw = {"x": tf.constant([[1.0, 2.0]]), "data_bytes": tf.constant([b"\xff\x00"])}
        record(path, raw)
        return path

    return write


@pytest.fixture(scope="module")
def echoes(tmp_path_factory, write_echo):
    """The directory of a bundle `echo` with the version 3."""
    folder = tmp_path_factory.mktemp("bundles") / "echo"
    write_echo(folder / "3")
    return folder
