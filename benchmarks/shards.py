"""Megabytes per second read from shards, in order and shuffled, against bare TFRecord and files.

    python benchmarks/shards.py
    python benchmarks/shards.py --gigabytes 30      # larger than the memory of the machine

Records of 50 kB are made on disk. Each turn begins with files that are in no cache, so that it is
the disk that is read. `mm.dataset` of `mm.read_shards`, which does nothing but count the bytes of a
record, stands against `tf.data.TFRecordDataset` with the same counting, against its `shuffle` of a
buffer, and against the files themselves, read with `tf.io.read_file` as Keras's
`image_dataset_from_directory` does. Photos are then read, decoded and resized to 224 x 224 by both.
"""

import os
import tempfile
from pathlib import Path

import keras
import measure
import numpy as np
import tensorflow as tf
from photos import write_photos

import mmkeras as mm
from mmkeras.preprocessing import Field

BATCH, SIZE, RECORD, BUFFER = 64, 224, 50_000, 1000
# A turn should be long beside the start of an epoch.
REPEATS = 4


class Length(Field):
    """How many bytes a record has: whoever counts them must have read them."""

    per_example = True

    def call(self, raw):
        return tf.strings.length(raw)

    def signature(self, name):
        return {f"{name}_bytes": tf.TensorSpec([None], tf.string)}


def main():
    options = measure.parser(__doc__, rounds=5)
    options.add_argument("--gigabytes", type=float, default=2.0, help="of records")
    options.add_argument("--photos", type=int, default=512, help="that are decoded")
    options.add_argument("--folder", type=Path, help="on the disk to be measured")
    options.add_argument("--warm", action="store_true", help="leave files in the cache")
    args = options.parse_args()
    machine = measure.machine()
    count = 64 if args.quick else int(args.gigabytes * 1e9 / RECORD)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        folder = Path(folder)
        reading = readers(folder / "records", write_records(folder / "files", count))
        (folder / "photos").mkdir()
        photos = write_photos(folder / "photos", 8 if args.quick else args.photos, 500, 375)
        decoding = decoders(folder / "decoded", folder / "photos", photos)
        files = [path for path in folder.rglob("*") if path.is_file()]
        runs = {
            name: measure.timed(measure.consuming(data))
            for name, data in {**reading, **decoding}.items()
        }
        if not args.warm:
            runs = {name: cold(run, files) for name, run in runs.items()}
        times = measure.in_turns(runs, args.rounds)
    figures = {
        f"{name}_megabytes_per_s": measure.rate(times, name, count * RECORD / 1e6)
        for name in reading
    }
    figures |= {
        f"{name}_per_s": measure.rate(times, name, REPEATS * len(photos)) for name in decoding
    }
    figures |= {
        "ratio_bare": measure.ratio(times, "shards", "bare"),
        "ratio_bare_shuffled": measure.ratio(times, "shuffled", "bare_shuffled"),
        "ratio_files": measure.ratio(times, "shuffled", "files"),
        "ratio_keras": measure.ratio(times, "photos", "keras_photos"),
        "gigabytes": measure.rounded(count * RECORD / 1e9),
        "cold": not args.warm,
    }
    measure.report("shards", figures, machine)


def write_records(folder, count):
    """Files of bytes that no disk can compress."""
    paths, random = [], np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number // 1000:04d}" / f"{number:07d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.bytes(RECORD))
        paths.append(str(path))
    return paths


def readers(path, files):
    mm.write_shards({"raw": files}, path)
    records, fields = mm.read_shards(path), mm.Preprocessor({"raw": Length()}, {})
    shards = tf.data.TFRecordDataset(sorted(map(str, path.glob("*.tfrecord"))))
    example = {"raw": tf.io.FixedLenFeature([], tf.string)}
    order = np.random.default_rng(0).permutation(files)

    def counted(record):
        return tf.strings.length(tf.io.parse_single_example(record, example)["raw"])

    def batched(data, function):
        return data.map(function, tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)

    return {
        "bare": batched(shards, counted),
        "shards": mm.dataset(records, fields, BATCH),
        "bare_shuffled": batched(shards.shuffle(BUFFER), counted),
        "shuffled": mm.dataset(records, fields, BATCH, shuffle=True),
        "files": batched(
            tf.data.Dataset.from_tensor_slices(order),
            lambda file: tf.strings.length(tf.io.read_file(file)),
        ),
    }


def decoders(path, folder, files):
    mm.write_shards({"image": files * REPEATS}, path)
    fields = mm.Preprocessor({"image": mm.Image(SIZE)}, {})
    images = keras.utils.image_dataset_from_directory(
        folder, labels=None, batch_size=BATCH, image_size=(SIZE, SIZE), verbose=False
    )
    return {
        "photos": mm.dataset(mm.read_shards(path), fields, BATCH, shuffle=True),
        "keras_photos": images.repeat(REPEATS),
    }


def cold(run, files):
    """Once the files are out of the cache of the system."""

    def dropped():
        os.sync()
        for path in files:
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)
        return run()

    return dropped


if __name__ == "__main__":
    main()
