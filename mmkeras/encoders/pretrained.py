"""A pretrained network as an encoder, with its own input scaling in the graph."""

import json
import warnings
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from mmkeras.layers import FlattenGrid

# What each family of `keras.applications` does to pixels before its first layer. Families that
# are not named here scale inside the network.
SCALES = {
    "mobilenet": "tf",
    "mobilenetv2": "tf",
    "inception": "tf",
    "xception": "tf",
    "nasnet": "tf",
    "resnetv2": "tf",
    "vgg": "caffe",
    "resnet": "caffe",
    "densenet": "torch",
}
PREFIXES = (
    ("mobilenetv2", "mobilenetv2"),
    ("mobilenetv3", None),
    ("mobilenet", "mobilenet"),
    ("inception", "inception"),
    ("xception", "xception"),
    ("nasnet", "nasnet"),
    ("vgg", "vgg"),
    ("densenet", "densenet"),
)
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


def pretrained(backbone, trainable=False, scale="auto", weights=None, dropout=0.0, name="backbone"):
    """Use a pretrained network as an image encoder.

    Args:
        backbone: A `keras.applications` model, a KerasHub backbone (extra `hub`) or a `keras_cv`
            backbone, made without its classifier (`include_top=False`), which takes a picture and
            gives a grid `(batch, height, width, channels)`, a sequence `(batch, length, channels)`
            or a vector `(batch, channels)`.
        trainable: False keeps its weights (and its batch statistics) as they are; True trains
            all; a number trains the last so many layers that have weights.
        scale: What is done to pixels of 0 to 255 first: `"tf"` (-1 to 1), `"caffe"` (BGR, minus
            the mean), `"torch"` (minus mean, over deviation, of 0 to 1), `"unit"` (0 to 1),
            `"none"` (the network does it), a layer such as the `ImageConverter` of a KerasHub
            preset, or `"auto"`, which knows `keras.applications` and is `"none"` for others.
        weights: A local file of weights to load first, see `load_backbone_weights`.
        dropout: Rate on the features that it gives, which a few thousand photos overfit.
        name: Prefix of the layers' names.

    Returns:
        A function: image `(batch, height, width, 3)` with values 0 to 255 -> sequence
        `(batch, length, channels)` and no mask (None).

    Raises:
        ValueError: if `scale` is not known, or the backbone gives something else.

    Example:

    ```python
    import keras
    import mmkeras as mm

    backbone = keras.applications.MobileNetV2((160, 160, 3), include_top=False, weights=None)
    sequence, mask = mm.pretrained(backbone)(keras.Input((160, 160, 3)))   # (None, 25, 1280), None
    ```
    """
    if not isinstance(backbone, keras.Model):
        raise ValueError(
            "`backbone` should be a keras.Model such as keras.applications gives. "
            f"Received: backbone={backbone!r} of {type(backbone)}"
        )
    scale = _known_scale(backbone) if scale == "auto" else scale
    if not isinstance(scale, keras.Layer) and scale not in ("tf", "caffe", "torch", "unit", "none"):
        raise ValueError(
            "`scale` should be one of 'auto', 'tf', 'caffe', 'torch', 'unit', 'none'. "
            f"Received: scale={scale!r}"
        )
    if weights is not None:
        load_backbone_weights(backbone, weights)
    set_trainable(backbone, trainable)

    def encoder(image):
        x = (PixelScale(scale, name=f"{name}_scale") if isinstance(scale, str) else scale)(image)
        # A frozen network runs in inference mode: its batch statistics are weights too.
        features = (
            backbone(x)
            if trainable
            else Inference(backbone, trainable=False, name=f"{name}_frozen")(x)
        )
        sequence = _sequence(features, name)
        return keras.layers.Dropout(dropout, name=f"{name}_dropout")(sequence), None

    return encoder


@keras.saving.register_keras_serializable("mmkeras")
class Inference(keras.layers.Wrapper):
    """A layer or model that has no dropout in training either.

    Called with `training=False` in a functional model, it would have: Keras passes on how the
    whole model is called.
    """

    frozen = True

    def call(self, inputs):
        return self.layer(inputs, training=False)


def _sequence(features, name):
    if len(features.shape) == 4:
        return FlattenGrid(name=f"{name}_grid")(features)
    if len(features.shape) == 3:
        return features
    if len(features.shape) == 2:
        return keras.layers.Reshape((1, -1), name=f"{name}_vector")(features)
    raise ValueError(
        "`backbone` should give a grid, a sequence or a vector per picture. "
        f"Received: output of shape {features.shape}"
    )


def _known_scale(backbone):
    if type(backbone).__module__.split(".")[0] != "keras":
        return "none"
    name = backbone.name.lower().replace("-", "").replace("_", "")
    if name.startswith("resnet"):
        return SCALES["resnetv2" if "v2" in name else "resnet"]
    family = next((family for prefix, family in PREFIXES if name.startswith(prefix)), None)
    return SCALES.get(family, "none")


def set_trainable(backbone, trainable):
    """All layers, none, or the last so many that have weights."""
    if isinstance(trainable, bool):
        backbone.trainable = trainable
        return
    backbone.trainable = True
    weighted = [layer for layer in backbone.layers if layer.weights]
    for layer in weighted[: len(weighted) - trainable]:
        layer.trainable = False


@keras.saving.register_keras_serializable("mmkeras")
class PixelScale(keras.layers.Layer):
    """Pixels of 0 to 255 -> what a pretrained network was trained on; shape is kept."""

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, pixels):
        x = keras.ops.cast(pixels, self.compute_dtype)
        if self.scale == "tf":
            return x / 127.5 - 1.0
        if self.scale == "unit":
            return x / 255.0
        if self.scale == "torch":
            mean, std = (
                keras.ops.convert_to_tensor(v, x.dtype) for v in (IMAGENET_MEAN, IMAGENET_STD)
            )
            return (x / 255.0 - mean) / std
        if self.scale == "caffe":
            return keras.ops.flip(x, axis=-1) - keras.ops.convert_to_tensor(CAFFE_MEAN_BGR, x.dtype)
        return x

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


def load_backbone_weights(backbone, path):
    """Load a network's weights from a local file.

    Args:
        backbone: A `keras.Model`.
        path: `.weights.h5` or `.h5` as Keras writes them; or, for the networks of
            `keras.applications` made of convolutions and batch normalisation in a chain (MobileNet
            V1 and V2), a quantised `.tflite` file, or an `.npz` of its arrays beside a
            `*_graph.json` with its operations. There batch normalisation is folded into the
            convolutions already, so the layers' own becomes an addition of the bias.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the layer whose weights the file does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No weights file {path}")
    if path.suffix == ".npz":
        _assign_folded(backbone, list(_read_arrays(path)), path)
    elif path.suffix == ".tflite":
        _assign_folded(backbone, list(_read_tflite(path)), path)
    else:
        backbone.load_weights(path)


def _read_arrays(path):
    """Kernel and bias of each convolution, in order, from arrays beside a list of operations."""
    listing = path.with_name(path.name.removesuffix("_weights.npz") + "_graph.json")
    if not listing.is_file():
        raise FileNotFoundError(f"{path} needs its list of operations beside it: {listing}")
    with np.load(path) as arrays:
        for op in json.loads(listing.read_text())["ops"]:
            if op["op"] in CONVOLUTIONS:
                _, kernel, bias = op["inputs"]
                kernel = (arrays[kernel].astype("float32") - op["weight_zero_point"]) * op[
                    "weight_scale"
                ]
                yield kernel, arrays[bias].astype("float32") * op["bias_scale"]


def _read_tflite(path):
    """Kernel and bias of each convolution, in order, from a quantised TensorFlow Lite file."""
    with warnings.catch_warnings():
        # TensorFlow asks to move to the package ai_edge_litert; here it only reads a file.
        warnings.simplefilter("ignore")
        model = tf.lite.Interpreter(str(path), num_threads=1)
    quantization = {t["index"]: t["quantization"] for t in model.get_tensor_details()}

    def real(index):
        scale, zero_point = quantization[index]
        return (model.get_tensor(index).astype("float32") - zero_point) * scale

    for op in model._get_ops_details():
        if op["op_name"] in CONVOLUTIONS:
            _, kernel, bias = op["inputs"]
            yield real(kernel), real(bias)


def _assign_folded(backbone, found, path):
    """Give each convolution its kernel, and the bias to it or to the normalisation behind it."""
    layers = [layer for layer in backbone.layers if layer.weights]
    convolutions = [layer for layer in layers if not _is_normalisation(layer)]
    # One more in the file is the classifier that the backbone was made without.
    if not len(convolutions) <= len(found) <= len(convolutions) + 1:
        raise ValueError(
            f"{path} holds {len(found)} convolutions, the backbone {backbone.name!r} has "
            f"{len(convolutions)}"
        )
    for i, layer in enumerate(layers):
        if _is_normalisation(layer):
            continue
        kernel, bias = found.pop(0)
        kernel = _keras_kernel(kernel, layer)
        if kernel.shape != tuple(layer.kernel.shape):
            raise ValueError(
                f"{path} does not fit the layer {layer.name!r} of the backbone "
                f"{backbone.name!r}: a kernel of shape {tuple(layer.kernel.shape)} is needed. "
                f"Received: shape {kernel.shape}"
            )
        layer.kernel.assign(kernel)
        if layer.use_bias:
            layer.bias.assign(bias)
        else:
            _become_bias(layers[i + 1], bias)


def _is_normalisation(layer):
    return isinstance(layer, keras.layers.BatchNormalization)


def _keras_kernel(kernel, layer):
    kernel = np.transpose(kernel, (1, 2, 3, 0))
    return kernel[0, 0] if isinstance(layer, keras.layers.Dense) else kernel


def _become_bias(normalisation, bias):
    one = np.ones_like(bias)
    normalisation.set_weights([one * (1 + normalisation.epsilon) ** 0.5, bias, 0 * one, one])
