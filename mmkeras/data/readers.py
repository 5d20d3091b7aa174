"""Readers: all standard layouts by name, and those of captioned images, as records."""

import os
import pathlib

from mmkeras.data import labelled, questions, speech, squad, vqa
from mmkeras.data.files import Images, filled, first, json_lists, lines, values
from mmkeras.data.manifest import manifest_splits
from mmkeras.data.problems import Problems
from mmkeras.data.speaking import read_spoken_world
from mmkeras.data.world import (
    SPLITS,
    read_sort_of_clevr,
    read_world,
    read_world_questions,
    read_world_texts,
)


def read(layout, path=None, **options):
    """Reads a data set in a known layout as records, `{"image": [...], "caption": [[...], ...]}`.

    There is one record per image, with all of its captions, per recording, `{"audio": [...],
    "transcript": [...], "speaker": [...]}`, per question, `{"image": [...], "question": [...],
    "answer": [...]}`, or per text or image with its `label`. A file is named by its path
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
            `"world_questions"`: questions about it. `"world_texts"`: texts on it, with questions.
            `"sort_of_clevr"`: questions on relations.
            Of speech: `"librispeech"`: the folder of the subsets; `train*` together are for
            training, and the options `valid="dev-clean"`, `test="test-clean"` name the others.
            `"common_voice"`: the folder of a language, with `train.tsv`, `dev.tsv`, `test.tsv`.
            `"kaldi"`: a data directory, or a folder that holds `train`, `dev` and `test`.
            `"an4"`, `"fsdd"` (with the official test split, where it is there), `"timit"` (with
            `TRAIN` and `TEST`) and `"ljspeech"`: see `read_an4` and so on; all that is in no split
            is for training, see `hold_out`.
            Of questions: `"vqa"`: `v2_OpenEnded_mscoco_train2014_questions.json`,
            `v2_mscoco_train2014_annotations.json` and so on, in `path` or folders in it, images as
            for COCO, or none. `"easy_vqa"`: `train/questions.json` and `train/images`. `"daquar"`:
            `qa.894.raw.train.txt` and `nyu_depth_images`; the option `classes=37` for the others.
            `"nlvr"`: `train/train.json` and `train/images`; the options `train`, `valid="dev"` and
            `test` name others. `"clevr"`: `questions/CLEVR_train_questions.json` and
            `images/train`. `"squad"`: `train-v1.1.json`; the option `version="2.0"` for the other.
            Of labels: `"sst"`: `stsa.binary.train`; the option `labels="fine"` for five of them.
            `"trec"`: `TREC.train` or `train_5500.label`. `"mr_polarity"`: `rt-polarity.pos` and
            `.neg`. `"image_folder"`: a folder or zip of class folders, in `train`, `valid` and
            `test` or not. `"mnist"`: `train-images-idx3-ubyte.gz` and so on.
        path: the folder, or the manifest; the worlds need none.
        **options: `on_error` for all layouts on disk but MNIST, see `read_coco`; `images` for
            those whose images may be elsewhere; `year` for COCO; `split` for a manifest; for the
            worlds those of `read_world`, `world_questions`, `world_texts` and `sort_of_clevr`; and
            as above.

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
    listed, told = json_lists(annotations, "images", "annotations")
    found = Images(images)
    paths, captions, ids = {}, {}, set()
    for index, entry in enumerate(listed):
        with problems.at(f"{annotations}, images[{index}]"):
            image, name = values(entry, id=int, file_name=str)
            if image in captions:
                raise ValueError(f"image id {image} comes twice")
            captions[image] = []
            paths[image] = found.path(name)
    for index, entry in enumerate(told):
        with problems.at(f"{annotations}, annotations[{index}]"):
            key, image, caption = values(entry, id=int, image_id=int, caption=str)
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
    records = _flickr_split(split_list, captions, Images(images), problems)
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
    problems, found = Problems(on_error), Images(images)
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
    splits = manifest_splits(path, on_error)
    if None in splits:
        splits = {split: splits[None]}
    return [splits.get(name) for name in SPLITS]


# Made from a seed, not read.
_MADE = {
    "world": read_world,
    "spoken_world": read_spoken_world,
    "world_questions": read_world_questions,
    "world_texts": read_world_texts,
    "sort_of_clevr": read_sort_of_clevr,
}
_LAYOUTS = {
    "coco": _coco,
    "flickr8k": _flickr,
    "flickr30k": _flickr,
    "manifest": _manifest,
    **speech.LAYOUTS,
    **vqa.LAYOUTS,
    **questions.LAYOUTS,
    **squad.LAYOUTS,
    **labelled.LAYOUTS,
    **_MADE,
}


def _records(captions, source):
    if not captions:
        raise ValueError(f"{source}: holds no image with a caption")
    return {"image": list(captions), "caption": list(captions.values())}
