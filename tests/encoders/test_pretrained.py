from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
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
    net = tiny_backbone()
    dropped = keras.Model(net.input, keras.layers.Dropout(0.5)(net.output))
    model = encode(dropped)
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


def hub_vit(hub):
    return hub.models.ViTBackbone(
        image_shape=(32, 32, 3),
        patch_size=16,
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        mlp_dim=8,
    )


def hub_resnet(hub):
    return hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(32, 32, 3),
    )


@pytest.mark.parametrize(("make", "shape"), [(hub_vit, (5, 8)), (hub_resnet, (16, 64))])
def test_kerashub_backbones(make, shape, photo, tmp_path):
    backbone = make(pytest.importorskip("keras_hub"))
    assert encode(backbone).output_shape == (None, *shape)
    words = mm.train_tokenizer(["a red dog", "two birds"], "word")
    encoder = mm.pretrained(backbone, scale="unit")
    task = mm.image_captioning(words, 32, encoder=encoder, decoder="lstm", size="tiny")
    task.save(tmp_path / "task.keras")
    again = mm.load_model(tmp_path / "task.keras")
    assert again.infer({"image": [photo(0)]}) == task.infer({"image": [photo(0)]})
    kept = again.get_layer("backbone_frozen").layer
    assert type(kept) is type(backbone)
    assert kept.trainable_weights == []


@pytest.mark.parametrize("make", [hub_vit, hub_resnet])
@pytest.mark.parametrize("trainable", [False, True])
def test_kerashub_backbones_are_frozen_or_trained(make, trainable):
    backbone = make(pytest.importorskip("keras_hub"))
    model = encode(backbone, trainable=trainable, scale="unit")
    before = backbone.get_weights()
    with tf.GradientTape() as tape:
        x = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), "uint8")
        loss = keras.ops.mean(keras.ops.square(model(x, training=True)))
    variables = [variable.value for variable in model.trainable_weights]
    assert bool(variables) == trainable
    assert all(gradient is not None for gradient in tape.gradient(loss, variables))
    same = [np.array_equal(*pair) for pair in zip(before, backbone.get_weights(), strict=True)]
    # Batch statistics move in training mode alone.
    assert all(same) == (not trainable or make is hub_vit)


def test_a_kerashub_image_converter_scales_pixels(tmp_path):
    hub = pytest.importorskip("keras_hub")
    converter = hub.layers.ViTImageConverter(image_size=(32, 32), scale=1 / 255)
    encoded = [encode(hub_vit(hub), scale=scale) for scale in (converter, "unit")]
    encoded[1].set_weights(encoded[0].get_weights())
    x = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), "uint8")
    np.testing.assert_allclose(*(model.predict(x, verbose=0) for model in encoded), atol=1e-5)


@keras.saving.register_keras_serializable("tests")
class Pyramid(keras.Model):
    """A backbone as those of keras_cv: a Functional subclass with attributes of its own."""

    def __init__(self, filters=(8, 16), **kwargs):
        image = keras.Input((None, None, 3))
        x = keras.layers.Rescaling(1 / 255)(image)
        for i, width in enumerate(filters):
            x = keras.layers.Conv2D(width, 3, 2, "same", activation="relu", name=f"stage{i}")(x)
        super().__init__(image, x, **kwargs)
        self.filters = filters
        self.pyramid_level_inputs = {f"P{i + 1}": f"stage{i}" for i in range(len(filters))}

    def get_config(self):
        return {"filters": self.filters, "name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def test_a_backbone_with_a_config_of_its_own(photo, tmp_path):
    words = mm.train_tokenizer(["a red dog", "two birds"], "word")
    task = mm.image_captioning(words, 32, encoder=Pyramid(), decoder="lstm", size="tiny")
    task.save(tmp_path / "task.keras")
    again = mm.load_model(tmp_path / "task.keras")
    assert isinstance(again.get_layer("backbone_frozen").layer, Pyramid)
    assert again.infer({"image": [photo(0)]}) == task.infer({"image": [photo(0)]})
