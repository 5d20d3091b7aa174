from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import mmkeras as mm
from mmkeras.encoders.pretrained import load_backbone_weights

WEIGHTS = Path(__file__).parents[3] / "shared" / "data" / "mobilenet_tflite"
needs_weights = pytest.mark.skipif(
    not WEIGHTS.is_dir(), reason="needs ../shared/data/mobilenet_tflite"
)


@needs_weights
@pytest.mark.parametrize(
    ("network", "side", "alpha", "file"),
    [
        ("MobileNet", 160, 0.5, "mobilenet_v1_0.5_160_quant_weights.npz"),
        ("MobileNet", 160, 0.5, "mobilenet_v1_0.5_160_quant.tflite"),
        ("MobileNetV2", 224, 1.0, "mobilenet_v2_1.0_224_quant.tflite"),
    ],
)
def test_real_weights_give_the_reference_top_1(network, side, alpha, file):
    model = getattr(keras.applications, network)(
        (side, side, 3), alpha=alpha, weights=None, classes=1001
    )
    load_backbone_weights(model, WEIGHTS / file)
    reference = np.load(WEIGHTS / "reference_outputs.npz")
    pictures = np.stack(
        [
            np.array(Image.open(WEIGHTS / "images" / f"{name}_{side}.png").convert("RGB"))
            for name in reference["names"]
        ]
    )
    scaled = mm.pretrained(keras.Sequential([keras.Input((side, side, 3))]), scale="tf")
    inputs = keras.Input((side, side, 3))
    x = keras.Model(inputs, scaled(inputs)[0]).predict(pictures, verbose=0)
    probabilities = model.predict(x.reshape(pictures.shape), verbose=0)
    stem = file.split("_quant")[0]
    expected = reference[f"{stem}_quant_probs_u8"] / 256
    assert probabilities.argmax(-1).tolist() == expected.argmax(-1).tolist()
    assert np.abs(probabilities - expected).max() < 0.06


def tiny_backbone(**options):
    return keras.applications.MobileNet(
        (32, 32, 3), alpha=0.25, include_top=False, weights=None, **options
    )


def encode(backbone, **options):
    image = keras.Input((32, 32, 3), dtype="uint8")
    sequence, mask = mm.pretrained(backbone, **options)(image)
    assert mask is None
    return keras.Model(image, sequence)


def test_a_frozen_backbone_has_nothing_to_train_and_runs_in_inference_mode():
    model = encode(tiny_backbone())
    assert model.trainable_weights == []
    x = np.random.randint(0, 255, (2, 32, 32, 3), "uint8")
    np.testing.assert_array_equal(model(x, training=True), model(x, training=False))


def test_the_last_layers_alone_can_be_trained():
    backbone = tiny_backbone()
    encode(backbone, trainable=3)
    assert len([layer for layer in backbone.layers if layer.trainable_weights]) == 3


def test_a_vector_becomes_a_sequence_of_one():
    assert encode(tiny_backbone(pooling="avg")).output_shape == (None, 1, 256)


@pytest.mark.parametrize(
    ("network", "module"),
    [
        ("MobileNetV2", "mobilenet_v2"),
        ("VGG16", "vgg16"),
        ("ResNet50", "resnet"),
        ("ResNet50V2", "resnet_v2"),
        ("DenseNet121", "densenet"),
        ("EfficientNetB0", "efficientnet"),
        ("MobileNetV3Small", "mobilenet_v3"),
    ],
)
def test_scales_pixels_as_keras_applications_does(network, module):
    backbone = getattr(keras.applications, network)(include_top=False, weights=None)
    from mmkeras.encoders.pretrained import PixelScale, _known_scale

    pixels = np.random.default_rng(0).integers(0, 255, (1, 4, 4, 3)).astype("float32")
    expected = getattr(keras.applications, module).preprocess_input(pixels.copy())
    np.testing.assert_allclose(PixelScale(_known_scale(backbone))(pixels), expected, atol=1e-4)


def test_weights_round_trip_through_a_local_file(tmp_path):
    source, target = tiny_backbone(), tiny_backbone()
    source.save_weights(tmp_path / "b.weights.h5")
    load_backbone_weights(target, tmp_path / "b.weights.h5")
    for a, b in zip(source.get_weights(), target.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_errors_name_the_argument_or_the_file(tmp_path):
    with pytest.raises(ValueError, match="`scale` should be one of"):
        mm.pretrained(tiny_backbone(), scale="imagenet")
    with pytest.raises(ValueError, match=r"`backbone` should be a keras\.Model"):
        mm.pretrained("mobilenet")
    with pytest.raises(FileNotFoundError, match=r"No weights file .*none\.h5"):
        load_backbone_weights(tiny_backbone(), tmp_path / "none.h5")


@needs_weights
def test_weights_of_another_network_are_refused_by_name():
    with pytest.raises(ValueError, match=r"mobilenet_v1.* does not fit the layer 'conv1'"):
        load_backbone_weights(tiny_backbone(), WEIGHTS / "mobilenet_v1_0.5_160_quant.tflite")
