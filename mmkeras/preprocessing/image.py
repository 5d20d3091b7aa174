"""The image field: encoded pictures -> uint8 pixels of one size."""

import functools
import io
import os
import re

import keras
import numpy as np
import PIL.Image
import PIL.ImageOps
import tensorflow as tf

from mmkeras.preprocessing.field import Field, read_bytes

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WebP")
JPEG, PNG, GIF, BMP, WEBP, UNKNOWN = range(6)
_SHORTEST = (4, 33, 13, 54, 26, 2**31 - 1)
# Dots stand for any byte; the last row fits anything, so that the first fit names the format.
_MAGIC = np.array(
    [
        list(magic.ljust(12, b"."))
        for magic in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"RIFF....WEBP", b"")
    ],
    np.uint8,
)
_FIRST_SCAN = b"\xff\xda"
_EXIF = b"Exif\0\0"
_EXIF_LIMIT = 65536
_PACKED = -1


@keras.saving.register_keras_serializable("mmkeras")
class Image(Field):
    """An encoded picture as `uint8` pixels, `(height, width, 3)`.

    Takes JPEG (also grey and CMYK), PNG (also grey, palette, 16 bits), GIF (its first frame), BMP
    (24 and 32 bits) and WebP, and turns each upright as its EXIF orientation says. Transparency of
    a PNG or WebP is laid on white; transparent pixels of a GIF are black. Values stay `uint8`:
    scaling belongs to the encoder.

    All headers of a batch are checked before any picture is decoded, so that the error of a bad
    one names its row, and one that is too large costs nothing. Damage behind the header is found
    by the decoder, whose error names no row.

    Args:
        size: height and width in pixels, one number for a square.
        resize: how a picture of another aspect ratio is fitted. `"crop"` keeps the ratio and cuts
            off what stands out on either side of the centre, `"pad"` keeps the ratio and the whole
            picture and adds black borders, `"squash"` keeps the whole picture and not the ratio.
        max_pixels: largest picture that is decoded, in pixels of the file (height times width).

        optional: as in `Field`.

    Raises:
        ValueError: when an argument is not one of these.
        tf.errors.InvalidArgumentError: when called on what is not a whole picture, or on one of
            more than `max_pixels`.

    Example:

    ```python
    image = Image(160)
    pixels = image([image.load("dog.jpg"), image.load("cat.png")])  # (2, 160, 160, 3)
    ```
    """

    per_example = True

    def __init__(self, size=160, resize="crop", max_pixels=50_000_000, **kwargs):
        super().__init__(**kwargs)
        self.size = _check_size(size)
        if resize not in ("crop", "pad", "squash"):
            raise ValueError(
                f'`resize` should be one of ["crop", "pad", "squash"]. Received: resize={resize!r}'
            )
        if not isinstance(max_pixels, int) or max_pixels < 1:
            raise ValueError(
                f"`max_pixels` should be a whole number above 0. Received: max_pixels={max_pixels}"
            )
        self.resize = resize
        self.max_pixels = max_pixels

    def call(self, raw):
        """Encoded pictures, `()` or `(batch,)` -> `(height, width, 3)` or with `batch` before."""
        raw = tf.convert_to_tensor(raw, tf.string)
        if raw.shape.rank not in (0, 1):
            raise ValueError(f"`raw` should be of shape () or (batch,). Received: {raw.shape}")
        if self.optional:
            raw = tf.where(self.present(raw), raw, _BLANK)
        return _pixels(raw, self.size, self.resize, self.max_pixels)

    def load(self, value):
        """A picture that a person gives -> encoded bytes that the graph decodes.

        A file that TensorFlow cannot decode and Pillow can (a BMP with a palette, a TIFF, ...) is
        turned into a PNG.

        Args:
            value: a path (`str` or `Path`, also `archive.zip/member.jpg`), the `bytes` of a file,
                a `PIL.Image.Image`, or a NumPy array of `uint8`, `(height, width)` or
                `(height, width, 1, 3 or 4)`.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it is not a whole picture of at most `max_pixels`; names the file.
        """
        raw, name = _encoded(value)
        try:
            self.verify(raw)
        except ValueError as error:
            raw = _as_png(raw, self.max_pixels)
            if raw is None:
                raise ValueError(
                    "`image` should be a whole JPEG, PNG, GIF, BMP or WebP picture. "
                    f"Received: image={name}: {error}"
                ) from None
        return raw

    def verify(self, raw):
        """Decodes a picture to know that it is good.

        Args:
            raw: the bytes of a file.

        Raises:
            ValueError: says why it is not.
        """
        try:
            _decoder(self.size, self.resize, self.max_pixels)(tf.constant(raw))
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(_reason(error)) from None

    def input(self, name):
        return keras.Input((*self.size, 3), dtype="uint8", name=name)

    def signature(self, name):
        return {f"{name}_bytes": tf.TensorSpec([None], tf.string, name=f"{name}_bytes")}

    def example(self, seed):
        colours = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
        return _png(PIL.Image.fromarray(colours).resize((64, 48)))

    def get_config(self):
        return {
            **super().get_config(),
            "size": self.size,
            "resize": self.resize,
            "max_pixels": self.max_pixels,
        }


# What is decoded in place of no picture: a GIF of one black pixel.
_BLANK = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01"
    b"\x00\x00\x02\x02D\x01\x00;"
)


def _check_size(size):
    pair = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise ValueError(
            f"`size` should be a number of pixels or (height, width). Received: size={size!r}"
        )
    return pair


# The graph. A layout is int32 [format, height, width, orientation, end of a GIF's first frame], of
# the pixels as they lie in the file; no height or width says that there is no whole header.


def _pixels(raw, size, resize, max_pixels):
    layouts = _each(_layout, raw, tf.TensorSpec([5], tf.int32))
    areas = tf.reduce_prod(tf.cast(layouts[..., 1:3], tf.int64), axis=-1)
    refused = (areas <= 0) | (areas > max_pixels)
    layouts = tf.cond(
        tf.reduce_any(refused),
        lambda: _refuse(raw, layouts, refused, max_pixels),
        lambda: layouts,
    )
    decode = functools.partial(_decode, size=size, resize=resize)
    return _each(decode, (raw, layouts), tf.TensorSpec([*size, 3], tf.uint8))


def _each(function, rows, spec):
    if tf.nest.flatten(rows)[0].shape.rank == 0:
        return function(rows)
    return tf.map_fn(function, rows, fn_output_signature=spec)


def _rarely(function):
    """A branch as one op that calls a function: inlined, its ops take time even when not run."""
    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})


@_rarely
def _refuse(raw, layouts, refused, max_pixels):
    row = tf.argmax(tf.reshape(refused, [-1]))
    contents = tf.reshape(raw, [-1])[row]
    kind, height, width, _, end = tf.unstack(tf.reshape(layouts, [-1, 5])[row])
    name = tf.gather([*FORMATS, ""], kind)
    reason = tf.case(
        [
            (tf.strings.length(contents) == 0, lambda: tf.constant("an empty file (0 bytes)")),
            (
                kind == UNKNOWN,
                lambda: tf.constant(f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file"),
            ),
            (
                end == _PACKED,
                lambda: tf.constant("a BMP of other than 24 or 32 bits, or a compressed one"),
            ),
            (
                (height <= 0) | (width <= 0),
                lambda: tf.strings.join(["a ", name, " without a whole header"]),
            ),
        ],
        default=lambda: tf.strings.join(
            [
                *("a ", name, tf.strings.format(" of {} x {} pixels", (height, width))),
                f"; at most {max_pixels} are allowed (`max_pixels`)",
            ]
        ),
    )
    where = ["row ", tf.strings.as_string(row), " is "] if raw.shape.rank else ["it is "]
    with tf.control_dependencies([tf.debugging.Assert(False, [tf.strings.join([*where, reason])])]):
        return tf.identity(layouts)


def _layout(contents):
    # The commonest kind first, and quickly: a JPEG whose short header holds no Exif data.
    start = tf.strings.substr(contents, 0, 8192)
    header = _split(start, _FIRST_SCAN)
    plain = (tf.size(header) == 2) & (tf.size(_split(header[0], _EXIF)) == 1)
    return tf.cond(
        plain & (tf.strings.substr(start, 0, 3) == b"\xff\xd8\xff"),
        lambda: tf.concat([[JPEG], tf.image.extract_jpeg_shape(contents)[:2], [1, 0]], 0),
        lambda: _other_layout(contents),
    )


@_rarely
def _other_layout(contents):
    head = tf.io.decode_raw([contents], tf.uint8, fixed_length=32)[0]
    fits = np.equal(_MAGIC, ord(".")) | (head[:12] == _MAGIC)
    kind = tf.argmax(tf.reduce_all(fits, axis=1), output_type=tf.int32)
    layouts = {
        JPEG: lambda: _jpeg_layout(contents),
        PNG: lambda: _png_layout(contents, head),
        GIF: lambda: _gif_layout(contents),
        BMP: lambda: _bmp_layout(head),
        WEBP: lambda: _webp_layout(contents, head),
        UNKNOWN: lambda: _stack(0, 0),
    }
    layout = tf.switch_case(kind, layouts)
    whole = tf.strings.length(contents) >= tf.gather(_SHORTEST, kind)
    layout = tf.where(whole, tf.minimum(layout, 2**31 - 1), 0)
    return tf.concat([[kind], tf.cast(layout, tf.int32)], axis=0)


def _jpeg_layout(contents):
    # All of the header comes before the first scan; without a scan it is cut off.
    header = _split(contents, _FIRST_SCAN)

    def whole():
        height, width, _ = tf.unstack(tf.image.extract_jpeg_shape(contents))
        return _stack(height, width, _orientation(_split(header[0], _EXIF)))

    return tf.cond(tf.size(header) == 2, whole, lambda: _stack(0, 0))


def _png_layout(contents, head):
    orientation = _orientation(_split(contents, b"eXIf"))
    height, width = (_number(head, range(last, last - 4, -1)) for last in (23, 19))
    return _stack(height, width, orientation)


def _bmp_layout(head):
    height = tf.abs(tf.bitcast(head[22:26], tf.int32))  # below 0 when its rows lie top down
    width = tf.bitcast(head[18:22], tf.int32)
    header_size, bits, packing = (_number(head, (at, at + 1)) for at in (14, 28, 30))
    plain = (header_size >= 40) & ((bits == 24) | (bits == 32)) & ((packing == 0) | (packing == 3))
    return tf.where(plain, _stack(height, width), _stack(0, 0, 1, _PACKED))


def _webp_layout(contents, head):
    bits = _number(head, range(21, 25))
    height, width = tf.case(
        [
            (
                head[15] == ord("X"),
                lambda: (_number(head, range(27, 30)) + 1, _number(head, range(24, 27)) + 1),
            ),
            (head[15] == ord("L"), lambda: (bits // 2**14 % 2**14 + 1, bits % 2**14 + 1)),
        ],
        default=lambda: (_number(head, (28, 29)) % 2**14, _number(head, (26, 27)) % 2**14),
    )
    return _stack(height, width, _orientation(_split(contents, b"EXIF"), skip=4))


def _gif_layout(contents):
    """Walks to the end of the first frame: left to itself, TensorFlow decodes all frames."""
    length = tf.strings.length(contents)

    def block(at):
        data = tf.strings.substr(contents, tf.minimum(at, length), 10)
        return tf.cast(tf.io.decode_raw([data], tf.uint8, fixed_length=10)[0], tf.int32)

    def palette(flags):
        return flags // 128 * 6 * 2 ** (flags % 8)

    def unfinished(at, height, width, in_data):
        return (at < length) & ((height == 0) | in_data)

    def step(at, height, width, in_data):
        data = block(at)
        frame = ~in_data & (data[0] == ord(","))
        extension = ~in_data & (data[0] == ord("!"))
        skip = tf.where(frame, 11 + palette(data[9]), tf.where(extension, 2, length))
        return (
            at + tf.where(in_data, data[0] + 1, skip),
            tf.where(frame, data[7] + 256 * data[8], height),
            tf.where(frame, data[5] + 256 * data[6], width),
            tf.where(in_data, data[0] != 0, frame | extension),
        )

    start = (13 + palette(block(10)[0]), 0, 0, False)
    end, height, width, in_data = tf.while_loop(unfinished, step, start)
    return tf.where(in_data, _stack(0, 0), _stack(height, width, 1, end))


def _stack(height, width, orientation=1, end=0):
    return tf.stack([tf.cast(value, tf.int64) for value in (height, width, orientation, end)])


def _number(data, places):
    """The bytes at `places`, the lowest first, as one number."""
    weights = 256 ** np.arange(len(places), dtype=np.int64)
    return tf.reduce_sum(tf.cast(tf.gather(data, places), tf.int64) * weights)


def _split(contents, mark):
    return tf.raw_ops.StringSplitV2(input=[contents], sep=mark, maxsplit=1).values


def _orientation(parts, skip=0):
    """The orientation, 1 to 8, by the Exif data `skip` bytes into the second part, if any."""
    return tf.cond(tf.size(parts) == 2, lambda: _tiff_orientation(parts[-1], skip), lambda: 1)


@_rarely
def _tiff_orientation(contents, skip):
    data = tf.io.decode_raw([contents], tf.uint8, fixed_length=_EXIF_LIMIT + skip)[0, skip:]
    little = tf.reduce_all(data[:4] == list(b"II*\0"))
    big = tf.reduce_all(data[:4] == list(b"MM\0*"))

    def number(at, size):
        order = np.arange(size)
        places = at[..., tf.newaxis] + tf.where(little, order, order[::-1])
        values = tf.cast(tf.gather(data, places), tf.int64)
        return tf.reduce_sum(values * 256**order, axis=-1)

    directory = tf.minimum(number(tf.constant(4, tf.int64), 4), _EXIF_LIMIT - 2)
    count = tf.minimum(number(directory, 2), (_EXIF_LIMIT - 2 - directory) // 12)
    entries = directory + 2 + 12 * tf.range(count)
    found = tf.where(number(entries, 2) == 0x0112, number(entries + 8, 2), 1)
    orientation = tf.cast(tf.reduce_max(tf.concat([found, [1]], 0)), tf.int32)
    return tf.where((little | big) & (orientation <= 8), orientation, 1)


def _decode(row, size, resize):
    contents, layout = row
    pixels = tf.cond(
        tf.reduce_all(layout == [JPEG, *size, 1, 0]),
        lambda: _decode_jpeg(contents, 1),
        lambda: _decode_and_fit(contents, layout, size, resize),
    )
    return tf.ensure_shape(pixels, [*size, 3])


def _decode_and_fit(contents, layout, size, resize):
    jpeg = tf.reduce_all(tf.gather(layout, [0, 3]) == [JPEG, 1])
    pixels = tf.switch_case(
        tf.where(jpeg, _halvings(layout[1:3], size, resize), 4),
        [*_jpeg_decoders(contents), lambda: _decode_other(contents, layout, size, resize)],
    )
    same = tf.reduce_all(tf.shape(pixels)[:2] == size)
    return tf.cond(same, lambda: pixels, lambda: _fit(pixels, size, resize))


@_rarely
def _decode_other(contents, layout, size, resize):
    kind, height, width, orientation, end = tf.unstack(layout)
    upright = tf.where(orientation > 4, (width, height), (height, width))
    pixels = tf.switch_case(
        tf.where(kind == JPEG, _halvings(upright, size, resize), kind + 3),
        [
            *_jpeg_decoders(contents),
            lambda: _decode_png(contents),
            lambda: _decode_gif(contents, end),
            lambda: _decode_any(contents, channels=3),
            lambda: _decode_webp(contents),
        ],
    )
    pixels = tf.cond(orientation > 1, lambda: _turn(pixels, orientation), lambda: pixels)
    return tf.ensure_shape(pixels, [None, None, 3])


def _halvings(shape, size, resize):
    """How often, up to 3 times, a JPEG can be halved and stay larger than what is made of it."""
    return tf.reduce_sum(tf.cast(_shrink(shape, size, resize) >= [2.0, 4.0, 8.0], tf.int32))


def _jpeg_decoders(contents):
    return [functools.partial(_decode_jpeg, contents, 2**halvings) for halvings in range(4)]


def _decode_jpeg(contents, ratio):
    # Halving while decoding is quicker than decoding all pixels and throwing most away, and better
    # than throwing them away unseen. The accurate transform costs no more than the fast one.
    return tf.io.decode_jpeg(contents, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")


def _decode_png(contents):
    # An alpha channel is asked for only where there is one: the one that TensorFlow adds to less
    # than 8 bits is not opaque.
    has_alpha = tf.io.decode_raw(tf.strings.substr(contents, 25, 1), tf.uint8)[0] >= 4
    has_colour_key = tf.size(_split(_split(contents, b"IDAT")[0], b"tRNS")) == 2
    return tf.cond(
        has_alpha | has_colour_key,
        lambda: _on_white(tf.io.decode_png(contents, channels=4)),
        lambda: tf.io.decode_png(contents, channels=3),
    )


def _decode_gif(contents, end):
    first_frame = tf.strings.join([tf.strings.substr(contents, 0, end), b";"])
    return _decode_any(first_frame, channels=3)


def _decode_webp(contents):
    head = tf.io.decode_raw(tf.strings.substr(contents, 0, 21), tf.uint8)
    animated = (head[15] == ord("X")) & (head[20] // 2 % 2 == 1)

    def animation():
        # TensorFlow gives an animation whose header promises no transparency a buffer of three
        # channels, and writes four, over its end. So the header is made to promise it.
        before, after = (tf.strings.substr(contents, at, n) for at, n in ((0, 20), (21, 2**31 - 1)))
        return _decode_any(tf.strings.join([before, b"\x12", after]), channels=4)

    return _on_white(tf.cond(animated, animation, lambda: _decode_any(contents, channels=0)))


def _decode_any(contents, channels):
    # One op for all kinds: a server too old for WebP still loads the graph and takes the others.
    return tf.io.decode_image(contents, channels=channels, expand_animations=False)


def _on_white(pixels):
    def blend():
        colour, alpha = (tf.cast(part, tf.uint16) for part in (pixels[..., :3], pixels[..., 3:]))
        return tf.cast((colour * alpha + 255 * (255 - alpha) + 127) // 255, tf.uint8)

    # What has no fourth channel has nothing to look at, and counts as opaque.
    opaque = tf.reduce_all(pixels[..., 3:] == 255)
    return tf.cond(opaque, lambda: pixels[..., :3], blend)


def _turn(pixels, orientation):
    def is_in(*orientations):
        return tf.reduce_any(orientation == orientations)

    pixels = tf.cond(orientation > 4, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    down, across = tf.where(is_in(3, 4, 7, 8), -1, 1), tf.where(is_in(2, 3, 6, 7), -1, 1)
    return pixels[::down, ::across]


def _shrink(shape, size, resize):
    """How many pixels of the picture go into one of the result."""
    shrink = tf.cast(shape, tf.float32) / size
    return tf.reduce_max(shrink) if resize == "pad" else tf.reduce_min(shrink)


def _fit(pixels, size, resize):
    if resize == "squash":
        return _scale(pixels, size)
    shape = tf.shape(pixels)[:2]
    shrink = _shrink(shape, size, resize)
    if resize == "crop":
        box = tf.cast(tf.round(size * shrink), tf.int32)
        box = tf.clip_by_value(box, 1, shape)
        start = tf.pad((shape - box) // 2, [[0, 1]])
        return _scale(tf.slice(pixels, start, tf.pad(box, [[0, 1]], constant_values=3)), size)
    box = tf.cast(tf.round(tf.cast(shape, tf.float32) / shrink), tf.int32)
    box = tf.clip_by_value(box, 1, size)
    before = (size - box) // 2
    border = tf.stack([before, size - box - before], axis=1)
    return tf.pad(_scale(pixels, box), tf.pad(border, [[0, 1], [0, 0]]))


def _scale(pixels, size):
    # Below a factor of two the plain filter sees every pixel, and is several times quicker.
    images, size = pixels[tf.newaxis], tf.convert_to_tensor(size)
    scaled = tf.cond(
        tf.reduce_all(tf.shape(pixels)[:2] < 2 * size),
        lambda: tf.raw_ops.ResizeBilinear(images=images, size=size, half_pixel_centers=True),
        lambda: _scale_far(images, size),
    )
    return tf.cast(scaled[0] + 0.5, tf.uint8)


@_rarely
def _scale_far(images, size):
    return tf.image.resize(images, size, antialias=True)


# Python's side.


@functools.lru_cache(maxsize=16)
def _decoder(size, resize, max_pixels):
    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def decode(contents):
        return _pixels(contents, size, resize, max_pixels)

    return decode


def _reason(error):
    """What an op says, without where in the graph it says so."""
    said = re.search(r"assertion failed: \[(.*?)\]", error.message)
    if said:
        return said[1]
    lines = re.sub(r"\{\{.*?\}\}\s*|\s*\[\[.*|\s*\[Op:.*", "", error.message).split("\n")
    return [line.strip() for line in lines if line.strip()][-1]


def _encoded(value):
    """Any picture as the bytes of a file, and what to call it in an error."""
    if isinstance(value, bytes):
        return value, f"<{len(value)} bytes>"
    if isinstance(value, (str, os.PathLike)):
        return read_bytes(value), repr(os.fspath(value))
    if isinstance(value, np.ndarray):
        return _png(_from_array(value)), f"<array of shape {value.shape}>"
    if isinstance(value, PIL.Image.Image):
        return _png(value), f"<{value.mode} image of {value.size} pixels>"
    raise ValueError(
        "`image` should be a path, bytes, a PIL image or a NumPy array. "
        f"Received: image={value!r} of type {type(value).__name__}"
    )


def _from_array(array):
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.dtype != np.uint8 or not (
        array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4))
    ):
        raise ValueError(
            "`image` should be an array of uint8 of shape (height, width) or (height, width, 1, 3 "
            f"or 4). Received: an array of {array.dtype} of shape {array.shape}"
        )
    return PIL.Image.fromarray(array)


def _png(image):
    if image.mode == "F" or 0 in image.size:
        raise ValueError(
            "`image` should be of at least one pixel, of 8 or 16 bits. "
            f"Received: image of mode {image.mode} and {image.width} x {image.height} pixels"
        )
    image = PIL.ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = image.convert("I").convert("I;16")
    elif image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _as_png(raw, max_pixels):
    """What TensorFlow cannot decode, made into what it can, or None where Pillow cannot either."""
    try:
        image = PIL.Image.open(
            io.BytesIO(raw), formats=("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "TIFF", "WEBP")
        )
        return _png(image) if image.width * image.height <= max_pixels else None
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        return None
