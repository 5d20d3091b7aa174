"""Manifests: lists of one's own, of files and texts, as records."""

import contextlib
import csv
import json
import os
import pathlib

from mmkeras.data.files import SPLIT_WORDS, Listings, columns, decoded, filled, lines, values
from mmkeras.data.problems import Problems
from mmkeras.data.speech import part_of_recording, spoken_records

_KNOWN = {
    **{name: name for name in ("image", "audio", "text", "question", "context", "answer")},
    **{name: name for name in ("label", "caption", "transcript")},
    "answers": "answer",
    "captions": "caption",
}


def read_manifest(path, split=None, on_error="raise"):
    """Reads a list of one's own: of images with captions, recordings with transcripts, or others.

    Args:
        path: a `.jsonl` or `.ndjson` file with an object per line, or a `.csv` or `.tsv` file with
            a header. Paths are from the manifest's folder on.
            Of images with captions, each line has `image` (a path), `caption` or, in JSON, a list
            `captions`, and maybe `split`. Lines with the same image merge, so that other columns
            are left out.
            Of recordings with transcripts, each has `audio` (a path), `text` or `transcript`, and
            maybe `start` and `duration` (seconds, for a part of the recording), `speaker` and
            `split`.
            Of anything else, each line is a record with the same columns, of `image` and `audio`
            (paths; none where it is empty or, in JSON, null), `text`, `question`, `context`,
            `transcript`, `label`, `answer` and `caption` (in JSON maybe lists, also named
            `answers`, `captions`; no answers is an answer), and maybe `split`.
            All other columns are kept as they are, and are `None` where a line lacks them.
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
    kind, parts = _read(path, on_error)
    if split is None:
        return _records([each for part in parts.values() for each in part.values()], kind, path)
    if split not in parts:
        raise ValueError(
            f"`split` should be one that {path} has, of {sorted(parts, key=str)}. "
            f"Received: split={split!r}"
        )
    return _records(list(parts[split].values()), kind, path)


def manifest_splits(path, on_error):
    """Records by the split that the lines name, which may be `None`."""
    kind, parts = _read(path, on_error)
    return {
        split: _records(list(part.values()), kind, path)
        for split, part in (parts or {None: {}}).items()
    }


def _read(path, on_error):
    """What tells how the lines are read, and by split a dict of records."""
    problems = Problems(on_error)
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in _MANIFESTS:
        raise ValueError(
            f"`path` should end in one of {list(_MANIFESTS)}. Received: path={str(path)!r}"
        )
    kind, files, parts = None, _Files(path), {}
    for line, row in _MANIFESTS[suffix](path, problems):
        with problems.at(f"{path}, line {line}"):
            if _kind(row) != (kind := kind or _kind(row)):
                wanted = ", ".join(f"`{name}`" for name in kind)
                raise ValueError(f"should have {wanted}, as the lines before")
            split = _split(row)
            record = _READ.get(kind, _any_record)(row, files)
            if parts and (split is None) != (None in parts):
                raise ValueError("`split` should be on all lines or on none")
            files.keep_apart(record, split, once=kind == _SPEECH)
            key = record["image"] if kind == _CAPTIONS else line
            before = parts.setdefault(split, {}).setdefault(key, record)
            if before is not record:
                before["caption"] += record["caption"]
    problems.warn(path)
    return kind, parts


def _records(rows, kind, path):
    if kind == _SPEECH:
        return spoken_records(rows, path)
    return columns(rows, path, "image with a caption, nor any other record")


_CAPTIONS, _SPEECH = ("image",), ("audio",)


def _kind(row):
    """The columns of a line that tell how to read it, which are the same on all lines."""
    known = {_KNOWN[name] for name in row if name in _KNOWN}
    if known <= {"image", "caption"}:
        return _CAPTIONS
    if "audio" in known and known <= {"audio", "text", "transcript"}:
        return _SPEECH
    return tuple(sorted(known))


class _Files:
    """Files that a manifest names, and the split that each is in."""

    def __init__(self, manifest):
        self.folder = os.path.dirname(manifest)
        self.names, self.home = Listings(), {}

    def path(self, name, kind):
        path = os.path.join(self.folder, name)
        if path not in self.names:
            raise ValueError(f"there is no {kind} {path!r}")
        return path

    def keep_apart(self, record, split, once):
        for item in filter(None, (record.get("image"), record.get("audio"))):
            if once and item in self.home:
                raise ValueError(f"{item!r} comes twice")
            if self.home.setdefault(item, split) != split:
                raise ValueError(f"{item!r} is in the split {self.home[item]!r} too")


def _captioned_record(row, files):
    (image,) = values(row, image=str)
    captions = row["captions"] if "captions" in row else [row.get("caption")]
    if not isinstance(captions, list) or not captions:
        raise ValueError(f"`captions` should be a list of strings. Received: {captions!r:.80}")
    captions = [_text(each, "caption") for each in captions]
    return {"image": files.path(filled(image, "image"), "image"), "caption": captions}


def _spoken_record(row, files):
    path, part = part_of_recording(row)
    told = row["transcript"] if row.get("transcript") is not None else row.get("text")
    speaker = row.get("speaker")
    record = {
        "audio": files.path(path, "audio") + part,
        "transcript": _text(told, "text"),
        "speaker": None if speaker in (None, "") else str(speaker),
    }
    read = {"audio", "text", "transcript", "start", "duration", "speaker", "split"}
    return record | {name: value for name, value in row.items() if name not in read}


def _any_record(row, files):
    record = {}
    for name, value in row.items():
        if name in ("image", "audio"):
            record[name] = _file(row, name, files)
        elif name in ("answer", "answers", "caption", "captions"):
            record[_KNOWN[name]] = _texts(value, name)
        elif name == "label":
            record[name] = _text(str(value) if type(value) is int else value, name)
        elif name in _KNOWN:
            record[name] = _text(value, name)
        elif name != "split" and not ("audio" in row and name in ("start", "duration")):
            record[name] = value
    return record


def _file(row, name, files):
    if row[name] in (None, ""):
        return None
    path = _text(row[name], name)
    if name == "image":
        return files.path(path, name)
    path, part = part_of_recording(row)
    return files.path(path, name) + part


def _texts(value, name):
    if not isinstance(value, list):
        return _text(value, name)
    if not value and _KNOWN[name] != "answer":
        raise ValueError(f"`{name}` is empty")
    return [_text(each, name) for each in value]


def _text(value, name):
    if not isinstance(value, str):
        raise ValueError(f"`{name}` should be a string. Received: {value!r:.80}")
    return filled(value, name)


def _split(row):
    split = row.get("split") or None
    if split is not None and split not in SPLIT_WORDS:
        raise ValueError(
            f"`split` should be one of {list(dict.fromkeys(SPLIT_WORDS.values()))}. "
            f"Received: {split!r}"
        )
    return SPLIT_WORDS.get(split)


_READ = {_CAPTIONS: _captioned_record, _SPEECH: _spoken_record}


def _json_rows(path, problems):
    for line, text in lines(path, problems):
        with problems.at(f"{path}, line {line}"):
            yield line, _json_object(text)


def _json_object(text):
    with contextlib.suppress(json.JSONDecodeError):
        row = json.loads(text)
        if isinstance(row, dict):
            return row
    raise ValueError(f"should be a JSON object. Received: {text!r:.80}")


def _table_rows(path, problems, delimiter=","):
    lines = (text for _, text in decoded(path, problems))
    rows = csv.DictReader(lines, delimiter=delimiter, strict=True)
    header = set(rows.fieldnames or ())
    text = "transcript" if "transcript" in header else "text"
    needed = {_SPEECH: {"audio", text}, _CAPTIONS: {"image", "caption"}}
    missing = needed.get(_kind(header), set()) - header
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
