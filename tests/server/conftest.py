"""Bundles that tell what they were asked, made in no time, and servers of them."""

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
