"""What TensorBoard shows: numbers, texts and pictures, written without it."""

import tensorflow as tf

# As in tensorboard/plugins: what reads a value, and of which of its classes of data it is.
_SCALAR, _TEXT, _IMAGE = ("scalars", 1), ("text", 2), ("images", 3)


class Board:
    """Writes event files that TensorBoard reads.

    Args:
        directory: where; made if there is none.
    """

    def __init__(self, directory):
        self._writer = tf.summary.create_file_writer(str(directory))

    def numbers(self, values, step):
        """Numbers by name."""
        for name, value in values.items():
            self._write(name, tf.constant(value, tf.float32), step, _SCALAR)

    def text(self, name, text, step):
        """A text in Markdown."""
        self._write(name, tf.constant([text]), step, _TEXT)

    def pictures(self, name, pictures, step):
        """Pictures `(count, height, width, 3)` uint8."""
        size = [tf.strings.as_string(pictures.shape[axis]) for axis in (2, 1)]
        files = [tf.io.encode_png(picture) for picture in pictures]
        self._write(name, tf.stack([*size, *files]), step, _IMAGE)

    def flush(self):
        self._writer.flush()

    def close(self):
        self._writer.close()

    def _write(self, name, tensor, step, kind):
        metadata = tf.compat.v1.SummaryMetadata(data_class=kind[1])
        metadata.plugin_data.plugin_name = kind[0]
        with self._writer.as_default(), tf.device("CPU:0"):
            tf.summary.write(name, tensor, step, metadata)
