"""ONNX: what a Task computes as one function, for runtimes that are not TensorFlow's."""

import numpy as np

from mmkeras.serving.archive import without_cudnn
from mmkeras.serving.tensor_function import TensorFunction, placed

OPSET = 17


def export_onnx(task, path, examples=None, frames=1000):
    """Write a classifier, or speech recognition by CTC, as an ONNX model: tensors in and out.

    It takes and gives what `mmkeras.export_litert` says, of a batch of any size, and is asked the
    examples by ONNX Runtime before it is put in its place. Needs `pip install mmkeras[onnx]`.

    tf2onnx cannot convert the loop of this library's own LSTM: of the encoders `"lstm"`,
    `"bilstm"` and, of recordings, `"conv_lstm"`. GRU, Transformers and convolutions it can.

    Args:
        task, path, examples, frames: As in `mmkeras.export_litert`.

    Returns:
        The file, a `Path`.

    Raises:
        ValueError: if the task does something else, or holds what tf2onnx cannot convert, or
            answers differ from the task's.
        ImportError: if tf2onnx or ONNX Runtime is not installed.

    Example:

    ```python
    import mmkeras as mm
    import onnxruntime

    task = mm.image_classification(["ring", "disc"], 32)
    path = mm.export_onnx(task, "shapes.onnx")
    pixels = task.preprocessor.inputs["image"](["a.jpg", "b.jpg"]).numpy()
    onnxruntime.InferenceSession(str(path)).run(["label"], {"image": pixels})  # [(2, 2)]
    ```
    """
    try:
        import onnxruntime
        import tf2onnx
    except ImportError as error:
        raise ImportError(
            f"ONNX needs the extra `onnx`: pip install mmkeras[onnx]. {error}"
        ) from None
    function = TensorFunction(task, None, frames)
    with without_cudnn(task):
        model, _ = tf2onnx.convert.from_function(
            function.graph(),
            [function.specs],
            opset=OPSET,
            custom_op_handlers={"Erfc": (_erfc, [])},
        )
    contents = model.SerializeToString()
    try:
        session = onnxruntime.InferenceSession(contents)
    except Exception as error:  # its own have no class in common
        raise ValueError(f"tf2onnx cannot convert {task.name!r}: {error}") from None
    function.compare(lambda inputs: session.run(None, inputs)[0], examples)
    return placed(contents, path)


def _erfc(graph, node, name, args):
    """What GELU is made of, and tf2onnx does not know: 1 - erf(x)."""
    (output,) = node.output
    dtype, shape = graph.get_dtype(output), graph.get_shape(output)
    graph.remove_node(node.name)
    erf = graph.make_node("Erf", node.input)
    one = graph.make_const(f"{name}_one", np.array(1.0, "float32"))
    parts = [one.output[0], erf.output[0]]
    graph.make_node("Sub", parts, name=name, outputs=[output], shapes=[shape], dtypes=[dtype])
