"""Readers: the standard layouts of labelled texts and images on disk, as records."""

import io
import math
import os
import zlib

import numpy as np
import PIL.Image

from mmkeras.data.files import SPLIT_WORDS, columns, files_at, first, lines, opened
from mmkeras.data.problems import Problems

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


def read_labelled_text(path, labels=None, on_error="raise"):
    """Reads a file with a label and a text on each line, `LABEL text`.

    So come the sentences of the Stanford Sentiment Treebank (Socher et al. 2013) as Kim (2014)
    used them: `stsa.binary.train` (`0` negative, `1` positive), `stsa.fine.train` (`0` to `4`).

    Args:
        path: of the file.
        labels: the labels that there may be, or `None` for any.
        on_error: `"raise"` stops at the first line that is wrong; `"skip"` leaves such lines out,
            and warns at the end with how many they were and which came first.

    Returns:
        Records `{"text": [...], "label": [...]}`, in the order of the file.

    Raises:
        ValueError: naming the file and line that has no label or no text, or another label.

    Example:

    ```python
    records = mm.read_labelled_text("stsa.binary.dev", labels=["0", "1"])
    ```
    """
    problems, rows = Problems(on_error), []
    for line, text in lines(path, problems):
        with problems.at(f"{path}, line {line}"):
            label, text = _label_and_text(text)
            if labels is not None and label not in labels:
                raise ValueError(f"the label should be one of {list(labels)}. Received: {label!r}")
            rows.append({"text": text, "label": label})
    problems.warn(path)
    return columns(rows, path, "text with a label")


def _label_and_text(line):
    label, *text = line.split(maxsplit=1)
    if not text:
        raise ValueError(f"should be `LABEL text`. Received: {line!r:.80}")
    return label, text[0].strip()


def read_trec(path, on_error="raise"):
    """Reads one split of the TREC question types (Li and Roth 2002).

    Args:
        path: of the file, a line `COARSE:fine question` each, in UTF-8 or Latin-1.
        on_error: `"raise"` or `"skip"`, see `read_labelled_text`.

    Returns:
        Records with the columns `text`, `label` (`"LOC"`, one of 6) and `fine_label`
        (`"LOC:city"`, one of 50), in the order of the file.

    Raises:
        ValueError: naming the file and line that is malformed or empty.

    Example:

    ```python
    records = mm.read_trec("TREC.train")
    ```
    """
    problems, rows = Problems(on_error), []
    for line, text in lines(path, problems, latin=True):
        with problems.at(f"{path}, line {line}"):
            fine_label, question = _label_and_text(text)
            label, colon, fine = fine_label.partition(":")
            if not (label and colon and fine):
                raise ValueError(f"should be `COARSE:fine question`. Received: {text!r:.80}")
            rows.append({"text": question, "label": label, "fine_label": fine_label})
    problems.warn(path)
    return columns(rows, path, "question with its type")


def read_mr_polarity(folder, on_error="raise"):
    """Reads the sentence polarity of movie reviews (Pang and Lee 2005).

    Args:
        folder: with `rt-polarity.neg` and `rt-polarity.pos`, a sentence per line, in UTF-8 or
            Latin-1.
        on_error: `"raise"` or `"skip"`, see `read_labelled_text`.

    Returns:
        Records `{"text": [...], "label": [...]}`, all that are `"negative"` before all that are
        `"positive"`. There are no official splits: `hold_out(records, 0.1, by="text")` makes one.

    Raises:
        ValueError: naming the file that is missing or holds nothing.

    Example:

    ```python
    records = mm.read_mr_polarity("rt-polaritydata")
    ```
    """
    problems, rows = Problems(on_error), []
    for label, suffix in (("negative", "neg"), ("positive", "pos")):
        path = os.path.join(folder, f"rt-polarity.{suffix}")
        texts = [text.strip() for _, text in lines(path, problems, latin=True)]
        if not texts:
            raise ValueError(f"{path}: holds no sentence")
        rows += [{"text": text, "label": label} for text in texts]
    problems.warn(folder)
    return columns(rows, folder, "sentence")


def read_image_folder(images, on_error="raise"):
    """Reads images in class folders, as `keras.utils.image_dataset_from_directory` does.

    Args:
        images: folder or zip, or a folder in a zip (`archive.zip/train`), with a folder for each
            class. A single folder that holds all of these is passed over.
        on_error: `"raise"` or `"skip"`, see `read_labelled_text`.

    Returns:
        Records `{"image": [...], "label": [...]}`, sorted by path; the label is the name of the
        class folder, also of images in folders below it. Files that are no images by their names,
        or hidden, are passed over.

    Raises:
        ValueError: naming the image that is in no class folder, or there is none.

    Example:

    ```python
    records = mm.read_image_folder("flowers.zip")
    ```
    """
    problems = Problems(on_error)
    records = _labelled_images(images, _image_names(images), problems)
    problems.warn(images)
    return records


def _image_names(images):
    """Names of the images below a folder, with their parts after what is common to all."""
    names = sorted(
        name
        for name in files_at(images)
        if name.lower().endswith(_SUFFIXES) and not name.rpartition("/")[2].startswith(".")
    )
    parts = [name.split("/") for name in names]
    while parts and len({each[0] for each in parts}) == 1 and min(map(len, parts)) > 2:
        parts = [each[1:] for each in parts]
    return list(zip(names, parts, strict=True))


def _labelled_images(images, names, problems):
    rows = []
    for name, parts in names:
        path = os.path.join(images, name)
        with problems.at(path):
            if len(parts) < 2:
                raise ValueError("should be in the folder of a class")
            rows.append({"image": path, "label": parts[0]})
    return columns(rows, images, "image in the folder of a class")


def read_mnist(images, labels):
    """Reads MNIST (LeCun et al. 1998), or a data set in the same format, as Fashion-MNIST.

    Args:
        images: path of the IDX file of images, bytes in 3 dimensions; it may be packed by gzip.
        labels: path of the IDX file of labels, bytes in 1 dimension; it may be packed by gzip.

    Returns:
        Records `{"image": [...], "label": [...]}`, in the order of the files: the bytes of a grey
        PNG each, and `"0"` to `"9"`.

    Raises:
        ValueError: naming the file that is not such an IDX file, or is cut off, or of which there
            are not as many labels as images.

    Example:

    ```python
    records = mm.read_mnist("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    ```
    """
    pixels, classes = _idx(images, 3), _idx(labels, 1)
    if len(pixels) != len(classes):
        raise ValueError(
            f"{labels}: should hold a label for each of {len(pixels)} images in {images}. "
            f"Received: {len(classes)}"
        )
    rows = [{"image": _png(p), "label": str(c)} for p, c in zip(pixels, classes, strict=True)]
    return columns(rows, images, "image")


def _idx(path, dimensions):
    """The array of bytes that an IDX file holds: zeros, type, dimensions, shape, values."""
    try:
        with opened(path) as file:
            raw = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: {error}") from None
    start = 4 + 4 * dimensions
    if raw[:4] != bytes([0, 0, 8, dimensions]) or len(raw) < start:
        raise ValueError(
            f"{path}: should be an IDX file of bytes in {dimensions} dimensions. "
            f"Received: a file that begins with {raw[:4]!r}"
        )
    shape = np.frombuffer(raw, ">u4", dimensions, offset=4).tolist()
    if len(raw) - start != math.prod(shape):
        raise ValueError(
            f"{path}: should hold {math.prod(shape)} values, of shape {shape}. "
            f"Received: {len(raw) - start}"
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _png(pixels):
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _sst(path, labels="binary", on_error="raise"):
    if labels not in _SST:
        raise ValueError(f"`labels` should be one of {list(_SST)}. Received: labels={labels!r}")

    def split(name):
        found = first(path, f"stsa.{labels}.{name}")
        return found and read_labelled_text(found, _SST[labels], on_error)

    return split("train"), split("dev"), split("test")


_SST = {"binary": ["0", "1"], "fine": ["0", "1", "2", "3", "4"]}


def _trec(path, on_error="raise"):
    found = [first(path, *names) for names in _TREC]
    train, test = (each and read_trec(each, on_error) for each in found)
    return train, None, test


_TREC = ("TREC.train*", "train_5500.label*"), ("TREC.test*", "TREC_10.label*")


def _mr_polarity(path, on_error="raise"):
    found = first(path, "rt-polarity.pos", "*/rt-polarity.pos")
    return found and read_mr_polarity(os.path.dirname(found), on_error), None, None


def _image_folder(path, on_error="raise"):
    problems, names = Problems(on_error), _image_names(path)
    splits = {parts[0] for _, parts in names}
    if "train" not in splits or not splits <= set(SPLIT_WORDS):
        return read_image_folder(path, on_error), None, None
    parted = {name: [] for name in SPLIT_WORDS.values()}
    for name, (split, *parts) in names:
        parted[SPLIT_WORDS[split]].append((name, parts))
    records = [each and _labelled_images(path, each, problems) for each in parted.values()]
    problems.warn(path)
    return [each or None for each in records]


def _mnist(path):
    found = [[first(path, name.format(part)) for name in _IDX] for part in ("train", "t10k")]
    train, test = (read_mnist(*each) if all(each) else None for each in found)
    return train, None, test


_IDX = "*{}*images*idx3*", "*{}*labels*idx1*"

LAYOUTS = {
    "sst": _sst,
    "trec": _trec,
    "mr_polarity": _mr_polarity,
    "image_folder": _image_folder,
    "mnist": _mnist,
}
