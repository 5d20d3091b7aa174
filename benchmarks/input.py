"""Photos per second: read, decoded, resized to 224 x 224 and batched.

    python benchmarks/input.py
    python benchmarks/input.py --images path/to/folder/of/jpegs

`mm.dataset` against a plain loop of Pillow and NumPy, and against nothing but `tf.io.read_file` and
`tf.io.decode_jpeg` in tf.data, with the same parallelism, without resizing.
"""

import sys
import tempfile
from pathlib import Path

import measure
import numpy as np
import PIL.Image
import PIL.ImageOps
import tensorflow as tf
from photos import write_photos

import mmkeras as mm

SIZE = 224
BATCH = 32
# A turn should be long beside the start of an epoch.
REPEATS = 4


def main():
    options = measure.parser(__doc__, rounds=5)
    options.add_argument("--images", type=Path, help="a folder of JPEG files; default: made up")
    options.add_argument("--photos", type=int, default=256, help="how many are made up")
    args = options.parse_args()
    machine = measure.machine()
    with tempfile.TemporaryDirectory() as folder:
        if args.images:
            paths = sorted(str(path) for path in args.images.glob("*.jpg"))
            if not paths:
                sys.exit(f"`--images` should be a folder of JPEG files. Received: {args.images}")
        else:
            paths = write_photos(Path(folder), 2 if args.quick else args.photos, 500, 375)
            paths *= REPEATS
        runs = {
            "photos": measure.consuming(batches(paths)),
            "pillow": lambda: list(pillow_batches(paths)),
            "decode": measure.consuming(decoded(paths)),
        }
        runs = {name: measure.timed(run) for name, run in runs.items()}
        times = measure.in_turns(runs, args.rounds)
        size = sum(Path(path).stat().st_size for path in paths) / len(paths)
    figures = {
        "photos_per_s": measure.rate(times, "photos", len(paths)),
        "pillow_photos_per_s": measure.rate(times, "pillow", len(paths)),
        "decode_jpeg_photos_per_s": measure.rate(times, "decode", len(paths)),
        "ratio_pillow": measure.ratio(times, "photos", "pillow"),
        "ratio_decode_jpeg": measure.ratio(times, "photos", "decode"),
        "photos": len(paths),
        "mean_kilobytes": measure.rounded(size / 1000),
    }
    measure.report("input", figures, machine)


def batches(paths):
    fields = mm.Preprocessor({"image": mm.Image(SIZE)}, {})
    return mm.dataset({"image": paths}, fields, BATCH)


def pillow_batches(paths):
    for start in range(0, len(paths), BATCH):
        yield np.stack([pillow_pixels(path) for path in paths[start : start + BATCH]])


def pillow_pixels(path):
    with PIL.Image.open(path) as image:
        upright = PIL.ImageOps.exif_transpose(image).convert("RGB")
    return np.asarray(PIL.ImageOps.fit(upright, (SIZE, SIZE), PIL.Image.Resampling.BILINEAR))


def decoded(paths):
    def shape(path):
        # Pixels of many sizes cannot be batched, and handing them over would cost time.
        return tf.shape(tf.io.decode_jpeg(tf.io.read_file(path), channels=3))

    examples = tf.data.Dataset.from_tensor_slices(paths).map(shape, tf.data.AUTOTUNE)
    return examples.batch(BATCH).prefetch(tf.data.AUTOTUNE)


if __name__ == "__main__":
    main()
