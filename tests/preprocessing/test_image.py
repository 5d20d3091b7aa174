"""The image field: every format, every way a file can be bad, and the same pixels everywhere."""

import contextlib
import io
import struct
import threading
import warnings
import zipfile
import zlib
from pathlib import Path

import keras
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmkeras.preprocessing.field import Field, read_bytes
from mmkeras.preprocessing.image import Image

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
SIZES = {"square": (32, 32), "tall": (60, 40)}


@pytest.fixture(scope="module")
def in_graph():
    one = tf.function(Image(16), input_signature=[tf.TensorSpec([], tf.string)])
    many = tf.function(Image(16), input_signature=[tf.TensorSpec([None], tf.string)])
    return lambda raw: many(raw) if raw.shape.rank else one(raw)


def photo(height, width, mode="RGB"):
    """A smooth picture, so that filters and codecs differ little."""
    y, x = np.mgrid[0:height, 0:width] / [[[height]], [[width]]]
    waves = [np.sin(5 * x + 2 * y), np.cos(4 * y - x), np.sin(3 * x * y + 1)]
    pixels = np.stack([127 + 120 * wave for wave in waves], axis=-1).astype(np.uint8)
    return PIL.Image.fromarray(pixels).convert(mode)


def encoded(image, format_, **options):
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def png_header(height, width):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0" * 12
    )


def difference(pixels, image):
    return np.abs(np.asarray(pixels, int) - np.asarray(image.convert("RGB"), int))


def translucent():
    image = photo(20, 30).convert("RGBA")
    image.putalpha(PIL.Image.linear_gradient("L").resize((30, 20)))
    return image


def on_white(image):
    image = image.convert("RGBA")
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)


# What can be decoded.


@pytest.mark.parametrize(
    ("format_", "mode", "options"),
    [
        ("JPEG", "RGB", {"quality": 95}),
        ("JPEG", "RGB", {"quality": 95, "progressive": True, "subsampling": 0}),
        ("JPEG", "L", {"quality": 95}),
        ("JPEG", "CMYK", {"quality": 95}),
        ("PNG", "RGB", {}),
        ("PNG", "L", {}),
        ("PNG", "1", {}),
        ("PNG", "P", {}),
        ("PNG", "P", {"bits": 4}),
        ("GIF", "P", {}),
        ("GIF", "L", {"interlace": 1}),
        ("BMP", "RGB", {}),
        ("BMP", "RGBA", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGB", {"quality": 95}),
    ],
)
def test_formats_and_modes(format_, mode, options):
    raw = encoded(photo(20, 30, mode), format_, **options)
    expected = PIL.Image.open(io.BytesIO(raw))
    pixels = Image((20, 30))(raw)
    assert pixels.dtype == tf.uint8
    assert pixels.shape == (20, 30, 3)
    limit = 6 if format_ in ("JPEG", "WEBP") else 0
    assert difference(pixels, expected).max() <= limit


@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(format_, mode):
    image = translucent().convert(mode)
    raw = encoded(image, format_, **({} if format_ == "PNG" else {"lossless": True, "exact": True}))
    expected = on_white(PIL.Image.open(io.BytesIO(raw)))
    assert difference(Image((20, 30))(raw), expected).max() <= 1


@pytest.mark.parametrize(("mode", "bits"), [("P", 8), ("P", 2), ("L", 8), ("1", 1), ("RGB", 8)])
def test_a_transparent_colour_is_laid_on_white(mode, bits):
    image = PIL.Image.new(mode, (6, 4))
    key, other = ((0, 0, 0), (9, 9, 200)) if mode == "RGB" else (0, 1)
    if mode == "P":
        image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((2, 1), other)
    raw = encoded(image, "PNG", transparency=key, bits=bits)
    expected = on_white(PIL.Image.open(io.BytesIO(raw)))
    assert difference(Image((4, 6))(raw), expected).max() == 0


def test_sixteen_bits_keep_the_upper_eight():
    levels = np.arange(600, dtype=np.uint16).reshape(20, 30) * 109
    pixels = Image((20, 30))(encoded(PIL.Image.fromarray(levels), "PNG"))
    np.testing.assert_array_equal(pixels[..., 1], levels >> 8)


def test_bmp_with_rows_top_down():
    raw = bytearray(encoded(photo(8, 8), "BMP"))
    raw[22:26] = struct.pack("<i", -8)
    assert difference(Image(8)(bytes(raw)), PIL.ImageOps.flip(photo(8, 8))).max() == 0


def test_first_frame_of_an_animation():
    frames = [PIL.Image.new("RGB", (12, 8), colour) for colour in ("red", "lime", "blue")]
    for format_, options in (("GIF", {}), ("WEBP", {"lossless": True})):
        raw = encoded(frames[0], format_, save_all=True, append_images=frames[1:], **options)
        assert (Image(8)(raw).numpy() == [255, 0, 0]).all()


def test_later_frames_of_a_gif_are_not_looked_at():
    frames = [photo(20, 30), photo(20, 30).rotate(180)]
    whole = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], comment=b"c" * 600)
    alone = Image((20, 30))(encoded(frames[0], "GIF")).numpy()
    np.testing.assert_array_equal(Image((20, 30))(whole[:-200]), alone)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation(orientation, format_, order):
    exif = PIL.Image.Exif()
    exif.endian = order
    exif[0x010F] = "a maker with a long name"
    exif[0x0112] = orientation
    options = {"PNG": {}, "JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
    data = exif.tobytes()
    assert (b"MM" if order == ">" else b"II") in data[:8]
    raw = encoded(photo(24, 36), format_, exif=data, **options[format_])
    expected = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(raw)))
    pixels = Image(expected.size[::-1])(raw)
    assert difference(pixels, expected).max() <= (4 if format_ == "JPEG" else 0)


@pytest.mark.parametrize(
    "tiff", [b"", b"II*\0", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"]
)
def test_broken_exif_leaves_the_picture_as_it_is(tiff):
    raw = encoded(photo(16, 16), "JPEG", exif=b"Exif\0\0" + tiff + b"\x12\x01\x03\0")
    np.testing.assert_array_equal(Image(16)(raw), Image(16)(encoded(photo(16, 16), "JPEG")))


# How it is resized.


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("source", [(33, 47), (300, 500), (2000, 1000)])
@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_resized_as_pillow_does(resize, size, source, format_):
    raw = encoded(photo(*source), format_, **({"quality": 95} if format_ == "JPEG" else {}))
    pixels = Image(size, resize=resize)(raw)
    image, target = PIL.Image.open(io.BytesIO(raw)).convert("RGB"), size[::-1]
    how = PIL.Image.Resampling.BILINEAR
    if resize == "crop":
        expected = PIL.ImageOps.fit(image, target, how)
    elif resize == "pad":
        expected = PIL.ImageOps.pad(image, target, how, color="black")
    else:
        expected = image.resize(target, how)
    apart = difference(pixels, expected)
    # The border of a padded picture may lie half a pixel further in or out.
    assert np.percentile(apart, 85 if resize == "pad" else 100) <= 12
    assert np.median(apart) <= 2


def test_far_smaller_still_sees_every_pixel():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::4] = 255
    for format_ in ("PNG", "BMP"):
        pixels = Image(16)(encoded(PIL.Image.fromarray(stripes), format_)).numpy()
        assert abs(pixels.astype(int) - 64).max() <= 16


def test_right_size_is_left_alone():
    raw = encoded(photo(32, 48), "PNG")
    for resize in ("crop", "pad", "squash"):
        assert difference(Image((32, 48), resize)(raw), photo(32, 48)).max() == 0


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize("source", [(1, 1), (1, 500), (700, 1)])
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_thinnest_pictures(resize, source, format_):
    raw = encoded(PIL.Image.new("RGB", source[::-1], (200, 100, 50)), format_)
    pixels = Image((16, 24), resize)(raw).numpy()
    assert pixels.shape == (16, 24, 3)
    assert abs(pixels[7:9, 11:13].max((0, 1)).astype(int) - [200, 100, 50]).max() <= 6


# Batches and graphs.


def test_a_batch_is_its_pictures_and_may_be_empty(in_graph):
    rows = [
        encoded(photo(20, 30), "JPEG"),
        encoded(photo(16, 16), "PNG"),
        encoded(photo(9, 9), "GIF"),
        encoded(photo(40, 20), "BMP"),
        encoded(translucent(), "WEBP"),
    ]
    batch = in_graph(tf.constant(rows))
    assert batch.shape == (5, 16, 16, 3)
    for row, pixels in zip(rows, batch, strict=True):
        np.testing.assert_array_equal(pixels, in_graph(tf.constant(row)))
    np.testing.assert_array_equal(batch, Image(16)(rows))
    assert in_graph(tf.constant([], tf.string)).shape == (0, 16, 16, 3)


def test_in_tf_data_shapes_are_known():
    rows = [encoded(photo(20, 30), "JPEG"), encoded(photo(20, 30), "PNG")]
    data = tf.data.Dataset.from_tensor_slices(rows)
    one = data.map(Image((8, 12)), num_parallel_calls=2)
    assert one.element_spec == tf.TensorSpec((8, 12, 3), tf.uint8)
    many = data.batch(2).map(Image((8, 12)))
    assert many.element_spec == tf.TensorSpec((None, 8, 12, 3), tf.uint8)
    np.testing.assert_array_equal(next(iter(many)), list(one.as_numpy_iterator()))


def test_wrong_rank():
    with pytest.raises(ValueError, match="shape"):
        Image(8)(tf.constant([[b"a"]]))


CORE_OPS = {
    *("DecodeJpeg", "DecodePng", "DecodeImage", "DecodeRaw", "DecodePaddedRaw", "ExtractJpegShape"),
    *("StringSplitV2", "StringLength", "StringJoin", "StringFormat", "Substr", "AsString"),
    *("ResizeBilinear", "ScaleAndTranslate", "Pad", "PadV2", "Slice", "StridedSlice", "GatherV2"),
    *("ReverseV2", "Transpose", "Reshape", "ExpandDims", "Squeeze", "Pack", "Unpack", "ConcatV2"),
    *("Assert", "If", "StatelessIf", "Case", "StatelessCase", "While", "StatelessWhile"),
    *("PartitionedCall", "StatefulPartitionedCall", "EnsureShape", "Identity", "IdentityN", "NoOp"),
    *("TensorListReserve", "TensorListFromTensor", "TensorListGetItem", "TensorListSetItem"),
    *("TensorListStack", "Placeholder", "Const", "Shape", "Size", "Fill", "Range", "Cast"),
    *("Bitcast", "Add", "AddV2", "Sub", "Mul", "RealDiv", "Div", "FloorDiv", "FloorMod", "Pow"),
    *("Abs", "Neg", "Round", "Maximum", "Minimum", "Max", "Min", "Prod", "Sum", "All", "Any"),
    *("ArgMax", "Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual", "Rank"),
    *("LogicalAnd", "LogicalOr", "LogicalNot", "SelectV2", "Reciprocal", "ZerosLike", "RsqrtGrad"),
}


def test_export_holds_core_ops_only_and_reloads(tmp_path):
    field = Image(16)
    field.build(None)
    archive = keras.export.ExportArchive()
    archive.track(field)
    (spec,) = field.signature("image").values()
    assert spec == tf.TensorSpec([None], tf.string, name="image_bytes")
    archive.add_endpoint("serve", field.call, input_signature=[spec])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.write_out(tmp_path / "export", verbose=False)
    served = tf.saved_model.load(tmp_path / "export")
    definition = served.signatures["serve"].graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    assert {node.op for node in nodes} <= CORE_OPS
    rows = [encoded(photo(20, 30), "JPEG"), encoded(translucent(), "PNG")]
    np.testing.assert_array_equal(served.serve(tf.constant(rows)), field(rows))
    with pytest.raises(tf.errors.InvalidArgumentError, match="row 1 is not a JPEG"):
        served.serve(tf.constant([rows[0], b"hello"]))


def test_field_contract():
    field = Image((8, 12))
    assert isinstance(field, Field)
    assert field.per_example
    assert not field.weights
    tensor = field.input("picture")
    assert (tensor.shape, tensor.dtype, tensor.name) == ((None, 8, 12, 3), "uint8", "picture")
    config = keras.saving.serialize_keras_object(Image((8, 12), "pad", 99, name="picture"))
    copy = keras.saving.deserialize_keras_object(config)
    assert (copy.size, copy.resize, copy.max_pixels, copy.name) == ((8, 12), "pad", 99, "picture")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"size": 0}, "size"),
        ({"size": (8,)}, "size"),
        ({"size": 1.5}, "size"),
        ({"size": "big"}, "size"),
        ({"resize": "fill"}, "resize"),
        ({"max_pixels": 0}, "max_pixels"),
        ({"max_pixels": 1e6}, "max_pixels"),
    ],
)
def test_wrong_arguments(arguments, name):
    with pytest.raises(ValueError, match=f"`{name}` should be"):
        Image(**arguments)


# Bad input.

JPEG = encoded(photo(64, 64), "JPEG", quality=95)
BAD = {
    "empty": (b"", "empty file"),
    "text": (b"this is no picture at all, just text in a .jpg", "not a JPEG, PNG"),
    "jpeg header": (JPEG[:40], "JPEG without a whole header"),
    "jpeg magic": (b"\xff\xd8\xff", "JPEG without a whole header"),
    "png header": (encoded(photo(8, 8), "PNG")[:30], "PNG without a whole header"),
    "png of nothing": (png_header(0, 5), "PNG without a whole header"),
    "gif header": (encoded(photo(8, 8), "GIF")[:12], "GIF without a whole header"),
    "gif frame": (encoded(photo(64, 64), "GIF")[:900], "GIF without a whole header"),
    "bmp header": (encoded(photo(8, 8), "BMP")[:50], "BMP without a whole header"),
    "bmp palette": (encoded(photo(8, 8, "P"), "BMP"), "BMP of other than 24 or 32 bits"),
    "webp header": (encoded(photo(8, 8), "WEBP")[:20], "WebP without a whole header"),
    "png bomb": (png_header(20000, 20000), "PNG of 20000 x 20000 pixels; at most 50000000"),
    "png of 2**31": (png_header(2**31 + 5, 2**31 + 5), "pixels; at most 50000000 are allowed"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_headers_name_the_row_before_anything_is_decoded(name, in_graph):
    bad, reason = BAD[name]
    # The first row is cut off behind its header, which only decoding it would tell.
    for raw, row in (([JPEG[:-300], bad, JPEG], "row 1 is "), (bad, "it is ")):
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{row}.*{reason}"):
            in_graph(tf.constant(raw))


@pytest.mark.parametrize(
    ("format_", "options"),
    [
        ("JPEG", {}),
        ("PNG", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": PIL.Image.Exif().tobytes()}),
    ],
)
def test_every_format_says_its_size_before_it_is_decoded(format_, options):
    raw = encoded(photo(20, 31), format_, **options)
    assert Image(16, max_pixels=620)(raw).shape == (16, 16, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="of 20 x 31 pixels; at most 619"):
        Image(16, max_pixels=619)(raw)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "BMP", "WEBP"])
def test_truncated_data_is_an_error(format_):
    raw = encoded(photo(64, 64), format_)
    with pytest.raises(tf.errors.InvalidArgumentError):
        Image(16)([raw[: len(raw) * 2 // 3]])


def test_large_pictures_below_the_limit():
    raw = encoded(PIL.Image.new("RGB", (6000, 5000), "teal"), "JPEG")
    assert abs(Image(16)(raw).numpy().astype(int) - [0, 128, 128]).max() <= 4


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(
        [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF0000WEBP"]
    ),
    st.binary(max_size=300),
)
def test_other_bytes_are_an_error_that_says_why(magic, data):
    raw = magic + data
    with contextlib.suppress(OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        PIL.Image.open(io.BytesIO(raw)).load()
        assume(False)  # a picture by chance
    with pytest.raises(ValueError, match=rf"<{len(raw)} bytes>: [^{{\[\n]+$"):
        Image(8).load(raw)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_pictures_are_pictures_or_a_value_error(data):
    format_ = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "WEBP"]))
    raw = bytearray(encoded(photo(16, 16), format_))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        Image(8, max_pixels=10_000).verify(bytes(raw))


# What a person gives.


def test_load_takes_what_people_have(tmp_path):
    image = photo(20, 30)
    raw = encoded(image, "PNG")
    path = tmp_path / "photo.png"
    path.write_bytes(raw)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("in/photo.png", raw)
    field = Image((20, 30))
    for value in (raw, path, str(path), tmp_path / "photos.zip" / "in" / "photo.png"):
        assert field.load(value) == raw
    for value in (image, np.asarray(image)):
        assert difference(field(field.load(value)), image).max() == 0
    grey = np.asarray(image.convert("L"))
    for value in (grey, grey[..., None]):
        np.testing.assert_array_equal(field(field.load(value))[..., 0], grey)
    rgba = np.asarray(translucent())
    assert difference(field(field.load(rgba)), on_white(translucent())).max() <= 1


def test_load_turns_a_pillow_image_upright(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "phone.jpg"
    photo(20, 30).save(path, exif=exif)
    field = Image((30, 20))
    np.testing.assert_allclose(
        np.asarray(field(field.load(PIL.Image.open(path))), int), field(field.load(path)), atol=2
    )


@pytest.mark.parametrize(
    ("format_", "mode"),
    [("BMP", "P"), ("BMP", "L"), ("BMP", "1"), ("TIFF", "RGB"), ("TIFF", "CMYK"), ("TIFF", "RGBA")],
)
def test_load_converts_what_only_pillow_reads(format_, mode, tmp_path):
    image = photo(20, 30, mode)
    path = tmp_path / "photo"
    image.save(path, format_)
    field = Image((20, 30))
    raw = field.load(path)
    assert raw.startswith(b"\x89PNG")
    assert difference(field(raw), on_white(image.convert("RGB"))).max() <= 1


@pytest.mark.parametrize("name", [name for name in BAD if name != "bmp palette"])
def test_load_names_the_bad_file_and_says_why(name, tmp_path):
    bad, reason = BAD[name]
    path = tmp_path / "bad.jpg"
    path.write_bytes(bad)
    with pytest.raises(ValueError, match=rf"bad\.jpg.*{reason}"):
        Image(16).load(path)


def test_load_finds_damage_behind_the_header(tmp_path):
    path = tmp_path / "half.jpg"
    path.write_bytes(JPEG[:-300])
    with pytest.raises(ValueError, match=r"half\.jpg.*Invalid JPEG"):
        Image(16).load(path)
    with pytest.raises(ValueError, match="Invalid JPEG"):
        Image(16).verify(JPEG[:-300])
    Image(16).verify(JPEG)


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B"])
def test_load_keeps_the_upper_bits_of_sixteen(mode):
    levels = np.arange(600, dtype=np.uint16).reshape(20, 30) * 109
    image = PIL.Image.fromarray(levels).convert("I").convert(mode)
    field = Image((20, 30))
    np.testing.assert_array_equal(field(field.load(image))[..., 0], levels >> 8)


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        ["a.jpg"],
        PIL.Image.new("F", (4, 4)),
        PIL.Image.new("L", (0, 4)),
        np.zeros((4, 4)),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_load_refuses_other_values(value):
    with pytest.raises(ValueError, match="`image` should be"):
        Image(16).load(value)


def test_load_keeps_to_max_pixels_whatever_the_value():
    field = Image(16, max_pixels=100)
    tiff = encoded(photo(11, 11), "TIFF")
    for value in (photo(11, 11), np.zeros((11, 11), np.uint8), encoded(photo(11, 11), "PNG"), tiff):
        with pytest.raises(ValueError):
            field.load(value)


def test_missing_files_and_folders(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(ValueError, match=r"folder\.jpg.*a folder"):
        Image(16).load(tmp_path / "folder.jpg")
    for name in ("missing.jpg", "missing.zip/a.jpg"):
        with pytest.raises(FileNotFoundError, match="missing"):
            Image(16).load(tmp_path / name)


# Archives.


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("stored.bin", b"a" * 1000)
        file.writestr("deflated.bin", b"b" * 1000, zipfile.ZIP_DEFLATED)
        file.writestr("bzip2.bin", b"c" * 1000, zipfile.ZIP_BZIP2)
        file.writestr("folder/", b"")
    return path


def test_members_from_many_threads(archive):
    wrong = []

    def read():
        for _ in range(50):
            for name, byte in (("stored", b"a"), ("deflated", b"b")):
                if read_bytes(f"{archive}/{name}.bin") != byte * 1000:
                    wrong.append(name)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_new_archive_of_the_same_name_is_seen(archive):
    assert len(read_bytes(f"{archive}/stored.bin")) == 1000
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("other.bin", b"new")
    assert read_bytes(f"{archive}/other.bin") == b"new"


def test_bad_members(archive):
    for name in ("none.bin", "folder/", "folder"):
        with pytest.raises(FileNotFoundError, match=name):
            read_bytes(f"{archive}/{name}")
    with pytest.raises(ValueError, match=r"bzip2\.bin"):
        read_bytes(f"{archive}/bzip2.bin")
    data = bytearray(archive.read_bytes())
    data[data.index(b"aaaa")] = 0
    archive.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"stored\.bin.*damaged"):
        read_bytes(f"{archive}/stored.bin")
    archive.write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"photos\.zip"):
        read_bytes(f"{archive}/stored.bin")


def test_real_photos_are_what_pillow_sees():
    path = SHARED / "flickr8k" / "images_dev_160.zip"
    if not path.exists():
        pytest.skip("needs ../shared/data/flickr8k")
    names = zipfile.ZipFile(path).namelist()[:24]
    rows = [read_bytes(path / name) for name in names]
    batch = tf.function(Image(160))(tf.constant(rows))
    half = tf.function(Image(72))(tf.constant(rows))
    for raw, pixels, small in zip(rows, batch, half, strict=True):
        image = PIL.Image.open(io.BytesIO(raw))
        assert difference(pixels, image).max() <= 2
        expected = image.resize((72, 72), PIL.Image.Resampling.BILINEAR)
        assert difference(small, expected).mean() <= 4
