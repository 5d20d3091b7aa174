"""Readers: the standard layouts of captioned images on disk, and manifests, as records."""

import collections
import csv
import json
import os
import pathlib
import zipfile

from mmkeras.data.files import Listings, decoded, files_below, filled, first, lines, members
from mmkeras.data.problems import Problems
from mmkeras.data.speaking import read_spoken_world
from mmkeras.data.speech import LAYOUTS, spoken_records, spoken_row
from mmkeras.data.world import SPLITS, read_world


def read(layout, path=None, **options):
    """Reads a data set in a known layout as records, `{"image": [...], "caption": [[...], ...]}`.

    There is one record per image, with all of its captions, or per recording:
    `{"audio": [...], "transcript": [...], "speaker": [...]}`. A file is named by its path
    (`archive.zip/member.jpg` inside a zip, `talk.wav#t=1.5,3.25` for a part) and not opened; that
    it is there is checked against the listing of its folder or zip. Text is UTF-8, with or without
    a byte order mark.

    Args:
        layout: `"coco"`: `captions_train2014.json` and `captions_val2014.json` in `path` or
            `path/annotations`, images in `path/train2014`, `path/train2014.zip`, `path/images`
            and so on.
            `"flickr8k"` or `"flickr30k"`: `*.token.txt` or `*.token`, split lists
            `*.trainImages.txt`, `*.devImages.txt`, `*.testImages.txt` or `train.txt`, `val.txt`,
            `test.txt`, and the images in a folder or in any zips beside them.
            `"manifest"`: a file that `read_manifest` reads; where its lines name no split, all of
            them are the split that the option `split` names, `"train"` by default.
            `"world"`: the built-in world. `"spoken_world"`: the same with captions spoken.
            Of speech: `"librispeech"`: the folder of the subsets; `train*` together are for
            training, and the options `valid="dev-clean"`, `test="test-clean"` name the others.
            `"common_voice"`: the folder of a language, with `train.tsv`, `dev.tsv`, `test.tsv`.
            `"kaldi"`: a data directory, or a folder that holds `train`, `dev` and `test`.
            `"an4"`, `"fsdd"` (with the official test split, where it is there), `"timit"` (with
            `TRAIN` and `TEST`) and `"ljspeech"`: see `read_an4` and so on; all that is in no split
            is for training, see `hold_out`.
        path: the folder, or the manifest; the worlds need none.
        **options: `on_error` for all layouts on disk, see `read_coco`; `images` for COCO and
            Flickr, where the images are elsewhere; `year` for COCO; `split` for a manifest; for the
            world those of `read_world`.

    Returns:
        `(train, valid, test)`; a split whose files are not there is `None`.

    Raises:
        ValueError: the layout is unknown, no split is there, or an entry is wrong (the message
            names the file and line).

    Example:

    ```python
    import mmkeras as mm

    train, valid, test = mm.read("flickr8k", "path/to/flickr8k")
    print(train["image"][0], train["caption"][0])
    ```
    """
    if layout not in _LAYOUTS:
        raise ValueError(f"`layout` should be one of {list(_LAYOUTS)}. Received: layout={layout!r}")
    if layout not in _MADE and not (path and os.path.exists(path)):
        raise ValueError(f"`path` should be where the data set is. Received: path={path!r}")
    train, valid, test = _LAYOUTS[layout](path, **options)
    if train is valid is test is None:
        raise ValueError(
            f"`path` should hold a data set in the layout {layout!r}, but none of its files is "
            f"there. Received: path={str(path)!r}"
        )
    return train, valid, test


def read_coco(annotations, images, on_error="raise"):
    """Reads one file of COCO captions (Chen et al. 2015, "Microsoft COCO Captions").

    Args:
        annotations: path of the JSON file with the lists `images` and `annotations`.
        images: folder or zip with the images, or a list of these.
        on_error: `"raise"` stops at the first entry that is wrong; `"skip"` leaves such entries
            out, and warns at the end with how many they were and which came first.

    Returns:
        Records, in the order of the file's `images`.

    Raises:
        ValueError: naming the file and the entry that is malformed, doubled, empty or unknown, or
            whose image is missing.

    Example:

    ```python
    records = mm.read_coco("annotations/captions_val2014.json", "val2014.zip")
    ```
    """
    problems = Problems(on_error)
    listed, told = _coco_lists(annotations)
    found = _Images(images)
    paths, captions, ids = {}, {}, set()
    for index, entry in enumerate(listed):
        with problems.at(f"{annotations}, images[{index}]"):
            image, name = _values(entry, id=int, file_name=str)
            if image in captions:
                raise ValueError(f"image id {image} comes twice")
            captions[image] = []
            paths[image] = found.path(name)
    for index, entry in enumerate(told):
        with problems.at(f"{annotations}, annotations[{index}]"):
            key, image, caption = _values(entry, id=int, image_id=int, caption=str)
            if key in ids:
                raise ValueError(f"annotation id {key} comes twice")
            ids.add(key)
            if image not in captions:
                raise ValueError(f"image id {image} is not among `images`")
            captions[image].append(filled(caption, "caption"))
    for image, path in paths.items():
        with problems.at(f"{annotations}, image id {image}"):
            if not captions[image]:
                raise ValueError(f"{path!r} has no captions")
    problems.warn(annotations)
    return _records({paths[i]: captions[i] for i in paths if captions[i]}, annotations)


def _coco_lists(annotations):
    with open(annotations, encoding="utf-8-sig") as file:
        try:
            content = json.load(file)
        except ValueError as error:
            raise ValueError(f"{annotations}: not valid JSON: {error}") from None
    if not isinstance(content, dict):
        content = {}
    lists = content.get("images"), content.get("annotations")
    if not all(isinstance(each, list) for each in lists):
        raise ValueError(f"{annotations}: should be an object with lists `images`, `annotations`")
    return lists


def read_flickr(tokens, split_list, images, on_error="raise"):
    """Reads one split of Flickr8k or Flickr30k (Hodosh et al. 2013; Young et al. 2014).

    Args:
        tokens: path of the captions, a line `name.jpg#0<TAB>caption` each.
        split_list: path of the list of the split's images, a name per line, with or without `.jpg`.
        images: folder or zip with the images, or a list of these.
        on_error: `"raise"` or `"skip"`, see `read_coco`.

    Returns:
        Records, in the order of the list.

    Raises:
        ValueError: naming the file and line that is malformed, doubled or empty, or whose image is
            missing or has no captions.

    Example:

    ```python
    test = mm.read_flickr("Flickr8k.token.txt", "Flickr_8k.testImages.txt", "photos.zip")
    ```
    """
    problems = Problems(on_error)
    captions = _flickr_captions(tokens, problems)
    records = _flickr_split(split_list, captions, _Images(images), problems)
    problems.warn(split_list)
    return records


def _flickr_captions(tokens, problems):
    captions, seen = {}, set()
    for line, text in lines(tokens, problems):
        with problems.at(f"{tokens}, line {line}"):
            key, tab, caption = text.partition("\t")
            name, mark, _ = key.rpartition("#")
            if not (tab and mark and name):
                raise ValueError(f"should be `name.jpg#0<TAB>caption`. Received: {text!r:.80}")
            if key in seen:
                raise ValueError(f"{key!r} comes twice")
            seen.add(key)
            captions.setdefault(name, []).append(filled(caption, "caption"))
    return captions


def _flickr_split(split_list, captions, found, problems):
    chosen = {}
    for line, text in lines(split_list, problems):
        with problems.at(f"{split_list}, line {line}"):
            name = text.strip()
            if name not in captions:
                name += ".jpg"
            if name not in captions:
                raise ValueError(f"{text.strip()!r} has no captions")
            path = found.path(name)
            if path in chosen:
                raise ValueError(f"{name!r} comes twice")
            chosen[path] = captions[name]
    return _records(chosen, split_list)


def read_manifest(path, split=None, on_error="raise"):
    """Reads a list of one's own, of images with captions or recordings with transcripts.

    Args:
        path: a `.jsonl` or `.ndjson` file with an object per line, or a `.csv` or `.tsv` file with
            a header. Paths are from the manifest's folder on.
            Of images, each line has `image` (a path), `caption` or, in JSON, a list `captions`,
            and maybe `split`. Lines with the same image merge.
            Of recordings, each has `audio` (a path), `text` or `transcript`, and maybe `start` and
            `duration` (seconds, for a part of the recording), `speaker` and `split`.
        split: which of `"train"`, `"valid"` and `"test"` to read, or `None` for all lines.
        on_error: `"raise"` or `"skip"`, see `read_coco`.

    Returns:
        Records, in the order of the file, split by split.

    Raises:
        ValueError: naming the file and line that is malformed or empty, or whose image or
            recording is missing or in two splits.

    Example:

    ```python
    records = mm.read_manifest("holiday/photos.csv")
    ```
    """
    splits = _manifest_splits(path, on_error)
    if split is None:
        parts = splits.values()
        return {name: [v for part in parts for v in part[name]] for name in next(iter(parts))}
    if split not in splits:
        raise ValueError(
            f"`split` should be one that {path} has, of {sorted(splits, key=str)}. "
            f"Received: split={split!r}"
        )
    return splits[split]


def _manifest_splits(path, on_error):
    """Records by the split that the lines name, which may be `None`."""
    problems = Problems(on_error)
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in _MANIFESTS:
        raise ValueError(
            f"`path` should end in one of {list(_MANIFESTS)}. Received: path={str(path)!r}"
        )
    kind, names = None, Listings()
    splits, home = {}, {}
    for line, row in _MANIFESTS[suffix](path, problems):
        with problems.at(f"{path}, line {line}"):
            if _kind(row) != (kind := kind or _kind(row)):
                raise ValueError(f"should have `{kind}`, as the lines before")
            file, part, told = spoken_row(row) if kind == "audio" else _captioned_row(row)
            split = _split(row)
            file = os.path.join(os.path.dirname(path), file)
            if file not in names:
                raise ValueError(f"there is no {kind} {file!r}")
            if splits and (split is None) != (None in splits):
                raise ValueError("`split` should be on all lines or on none")
            item = file + part
            if item in home and kind == "audio":
                raise ValueError(f"{item!r} comes twice")
            if home.setdefault(item, split) != split:
                raise ValueError(f"{item!r} is in the split {home[item]!r} too")
            splits.setdefault(split, {}).setdefault(item, []).extend(told)
    problems.warn(path)
    make = spoken_records if kind == "audio" else _records
    return {split: make(rows, path) for split, rows in (splits or {None: {}}).items()}


def _kind(row):
    return "audio" if "audio" in row and "image" not in row else "image"


def _captioned_row(row):
    (image,) = _values(row, image=str)
    captions = row["captions"] if "captions" in row else [row.get("caption")]
    if not isinstance(captions, list) or not captions:
        raise ValueError(f"`captions` should be a list of strings. Received: {captions!r:.80}")
    for caption in captions:
        if not isinstance(caption, str):
            raise ValueError(f"`caption` should be a string. Received: {caption!r:.80}")
    return filled(image, "image"), "", [filled(each, "caption") for each in captions]


def _split(row):
    split = row.get("split") or None
    if split is not None and split not in _SPLIT_WORDS:
        raise ValueError(f"`split` should be one of {list(SPLITS)}. Received: {split!r}")
    return _SPLIT_WORDS.get(split)


_SPLIT_WORDS = {name: name for name in SPLITS} | dict.fromkeys(
    ["val", "dev", "validation"], "valid"
)


def _json_rows(path, problems):
    for line, text in lines(path, problems):
        with problems.at(f"{path}, line {line}"):
            row = json.loads(text)
            if not isinstance(row, dict):
                raise ValueError(f"should be a JSON object. Received: {text!r:.80}")
            yield line, row


def _table_rows(path, problems, delimiter=","):
    lines = (text for _, text in decoded(path, problems))
    rows = csv.DictReader(lines, delimiter=delimiter, strict=True)
    header = set(rows.fieldnames or ())
    text = "transcript" if "transcript" in header else "text"
    missing = ({"audio", text} if _kind(header) == "audio" else {"image", "caption"}) - header
    if missing:
        raise ValueError(f"{path}, line 1: the header should name {sorted(missing)}")
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise ValueError(f"{path}, line {rows.line_num + 1}: {error}") from None
        if row is None:
            return
        with problems.at(f"{path}, line {rows.line_num}"):
            if None in row or None in row.values():
                raise ValueError(f"should have {len(rows.fieldnames)} fields, as the header has")
            yield rows.line_num, row


def _tab_rows(path, problems):
    return _table_rows(path, problems, "\t")


_MANIFESTS = {
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
    ".csv": _table_rows,
    ".tsv": _tab_rows,
}


def _coco(path, year=2014, images=None, on_error="raise"):
    def split(name):
        annotations = first(path, f"annotations/captions_{name}{year}.json")
        annotations = annotations or first(path, f"captions_{name}{year}.json")
        if annotations is None:
            return None
        beside = [f"{name}{year}", f"{name}{year}.zip", f"images/{name}{year}", "images"]
        return read_coco(annotations, images or first(path, *beside) or [], on_error)

    return split("train"), split("val"), split("test")


def _flickr(path, images=None, on_error="raise"):
    tokens = first(path, "*.token.txt", "*.token")
    lists = [
        first(path, f"*.{words[0]}Images.txt", *(f"{w}.txt" for w in words)) for words in _LISTS
    ]
    if tokens is None or lists == [None] * 3:
        return None, None, None
    if images is None:
        folders = [first(path, name) for name in _FLICKR_FOLDERS]
        images = [*filter(None, folders), *sorted(pathlib.Path(path).glob("*.zip"))]
    problems, found = Problems(on_error), _Images(images)
    captions = _flickr_captions(tokens, problems)
    splits = [each and _flickr_split(each, captions, found, problems) for each in lists]
    problems.warn(path)
    return splits


_LISTS = ("train",), ("dev", "val", "valid"), ("test",)
_FLICKR_FOLDERS = (
    *("Flicker8k_Dataset", "Flickr8k_Dataset", "flickr30k_images", "flickr30k-images"),
    *("Images", "images"),
)


def _manifest(path, split="train", on_error="raise"):
    if split not in SPLITS:
        raise ValueError(f"`split` should be one of {list(SPLITS)}. Received: split={split!r}")
    splits = _manifest_splits(path, on_error)
    if None in splits:
        splits = {split: splits[None]}
    return [splits.get(name) for name in SPLITS]


# Made from a seed, not read.
_MADE = {"world": read_world, "spoken_world": read_spoken_world}
_LAYOUTS = {
    "coco": _coco,
    "flickr8k": _flickr,
    "flickr30k": _flickr,
    "manifest": _manifest,
    **LAYOUTS,
    **_MADE,
}


class _Images:
    """Where the images are, from one listing of each folder or zip."""

    def __init__(self, sources):
        self.sources = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
        self.listed = {}
        self.same_name = collections.defaultdict(list)
        for source in self.sources:
            for name in members(source) if zipfile.is_zipfile(source) else files_below(source):
                path = os.path.join(source, name)
                self.listed.setdefault(name, path)
                self.same_name[name.rpartition("/")[2]].append(path)

    def path(self, name):
        """The path of an image, named in full or, where that is clear, by its last part."""
        if name in self.listed:
            return self.listed[name]
        alike = self.same_name.get(name.rpartition("/")[2], [])
        if len(alike) == 1:
            return alike[0]
        if alike:
            raise ValueError(f"the image {name!r} could be any of {alike}")
        raise ValueError(f"there is no image {name!r} in {[str(each) for each in self.sources]}")


def _values(entry, **types):
    """The named values of a JSON object, checked."""
    values = [entry.get(key) if isinstance(entry, dict) else None for key in types]
    for value, (key, expected) in zip(values, types.items(), strict=True):
        if not isinstance(value, expected):
            raise ValueError(
                f"`{key}` should be of type {expected.__name__}. Received: {value!r:.80}"
            )
    return values


def _records(captions, source):
    if not captions:
        raise ValueError(f"{source}: holds no image with a caption")
    return {"image": list(captions), "caption": list(captions.values())}
