"""Peak resident size while training streams ten times more photos than before.

    python benchmarks/memory.py

Each training is one epoch of `fit` in a process of its own.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import measure
from photos import write_photos

import mmkeras as mm

SIDE = 224
BATCH = 16
TIMES = 10


def main():
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--quick", action="store_true", help="tiny, to see that it runs")
    options.add_argument("--photos", type=int, default=500, help="of the smaller training")
    options.add_argument("--train", metavar="FOLDER", help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.train:
        print(train(Path(args.train), args.photos))
        return
    machine = measure.machine()
    few = BATCH if args.quick else args.photos
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder), TIMES * few, SIDE, SIDE)
        less, more = (peak(folder, count) for count in (few, TIMES * few))
    figures = {
        "photos": few,
        "peak_megabytes": round(less / 1e6),
        "peak_megabytes_ten_times": round(more / 1e6),
        "ratio": measure.rounded(more / less),
        # What it would grow by if all photos were kept.
        "megabytes_of_pixels_more": round((TIMES - 1) * few * SIDE * SIDE * 3 / 1e6),
    }
    measure.report("memory", figures, machine)


def peak(folder, count):
    """Bytes at the peak of a training in a process of its own."""
    command = [sys.executable, __file__, "--train", folder, "--photos", str(count)]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def encoder(image):
    """As little as can be: what is measured is what streams."""
    import keras  # seconds, which the process that only compares need not take

    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.AveragePooling2D(SIDE // 4)(x)
    return keras.layers.Reshape((16, 3))(x), None


def train(folder, count):
    """Trains on the first photos of a folder; the peak resident size of this process in bytes."""
    paths = sorted(str(path) for path in folder.iterdir())[:count]
    records = {"image": paths, "caption": ["a photo"] * count}
    words = mm.train_tokenizer(["a photo"], kind="word")
    decoder = mm.TransformerDecoder(
        words.vocabulary_size, max_length=5, width=32, depth=1, heads=2, name="caption"
    )
    task = mm.assemble(
        {"image": (mm.Image(SIDE), encoder)},
        {"caption": (mm.Text(words, 4), decoder)},
        width=32,
    )
    batches = mm.dataset(records, task.preprocessor, BATCH, shuffle=True)
    task.fit(batches, shuffle=False, verbose=0)
    # Not `ru_maxrss`, which begins at the size of the process that started this one.
    kilobytes = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
    return int(kilobytes) * 1024


if __name__ == "__main__":
    main()
