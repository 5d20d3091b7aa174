"""Readers: the standard layouts of transcribed recordings on disk, as records."""

import math
import os
import pathlib
import re

from mmkeras.data.files import Listings, columns, files_in, filled, first, lines
from mmkeras.data.problems import Problems

_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".sph")
_SUFFIXES += tuple(map(str.upper, _SUFFIXES))
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def read_librispeech(folder, on_error="raise"):
    """Reads LibriSpeech, or a subset of it such as `train-clean-100` (Panayotov et al. 2015).

    Args:
        folder: path of a folder below which `SPEAKER/CHAPTER/` hold `SPEAKER-CHAPTER.trans.txt`
            and `SPEAKER-CHAPTER-UTTERANCE.flac` (or `.wav` and so on).
        on_error: `"raise"` stops at the first entry that is wrong; `"skip"` leaves such entries
            out, and warns at the end with how many they were and which came first.

    Returns:
        Records `{"audio": [...], "transcript": [...], "speaker": [...]}`, sorted by file. A
        recording is named by its path and not opened; that it is there is checked against the
        listing of its folder.

    Raises:
        ValueError: naming the file and line that is malformed, doubled or empty, or whose
            recording is missing.

    Example:

    ```python
    records = mm.read_librispeech("LibriSpeech/dev-clean")
    ```
    """
    problems, utterances = Problems(on_error), _Utterances()
    for source in sorted(map(str, pathlib.Path(folder).rglob("*.trans.txt"))):
        for line, text in lines(source, problems):
            with problems.at(f"{source}, line {line}"):
                key, _, transcript = text.strip().partition(" ")
                speaker, dash, _ = key.partition("-")
                if not dash:
                    raise ValueError(f"should be `SPK-CHAPTER-UTT text`. Received: {text!r:.80}")
                place = os.path.join(os.path.dirname(source), key)
                utterances.add(utterances.recording(place), transcript, speaker)
    problems.warn(folder)
    return utterances.records(folder)


def read_common_voice(table, clips=None, on_error="raise"):
    """Reads one split of Common Voice (Ardila et al. 2020).

    Args:
        table: path of a TSV file with the columns `path` and `sentence` and, if it has it,
            `client_id`, the speaker.
        clips: folder of the recordings; `clips` beside the table by default.
        on_error: `"raise"` or `"skip"`, see `read_librispeech`.

    Returns:
        Records, as `read_librispeech` gives them, in the order of the file.

    Raises:
        ValueError: as `read_librispeech`, or a column is missing.

    Example:

    ```python
    records = mm.read_common_voice("cv-corpus/cy/dev.tsv")
    ```
    """
    problems, utterances = Problems(on_error), _Utterances()
    clips = clips or os.path.join(os.path.dirname(table), "clips")
    # Not a CSV dialect: quotes are part of the sentences.
    rows = ((line, text.split("\t")) for line, text in lines(table, problems))
    _, header = next(rows, (1, []))
    missing = {"path", "sentence"} - set(header)
    if missing:
        raise ValueError(f"{table}, line 1: the header should name {sorted(missing)}")
    for line, values in rows:
        with problems.at(f"{table}, line {line}"):
            if len(values) != len(header):
                raise ValueError(f"should have {len(header)} fields, as the header has")
            row = dict(zip(header, values, strict=True))
            place = os.path.join(clips, filled(row["path"], "path"))
            speaker = row.get("client_id")
            utterances.add(utterances.recording(place), row["sentence"], speaker)
    problems.warn(table)
    return utterances.records(table)


def read_kaldi(folder, on_error="raise"):
    """Reads a Kaldi data directory (Povey et al. 2011).

    Args:
        folder: with `wav.scp` (`ID path`), `text` (`ID words`) and maybe `segments`
            (`ID recording start end`, seconds) and `utt2spk` (`ID speaker`). Paths are from the
            folder or, where nothing is there, from the current folder on. A segment becomes
            `path#t=start,end`.
        on_error: `"raise"` or `"skip"`, see `read_librispeech`.

    Returns:
        Records, as `read_librispeech` gives them, in the order of `segments` or `wav.scp`, with
        speakers if there is `utt2spk`.

    Raises:
        ValueError: as `read_librispeech`, or a recording is given by a command (`... |`), which
            is never run, or by a place in an archive (`file.ark:17`).

    Example:

    ```python
    records = mm.read_kaldi("data/train")
    ```
    """
    problems, utterances = Problems(on_error), _Utterances()
    recordings, texts = (
        _kaldi_table(os.path.join(folder, name), problems) for name in ("wav.scp", "text")
    )
    segments, speakers = (
        os.path.exists(path) and _kaldi_table(path, problems)
        for path in (os.path.join(folder, name) for name in ("segments", "utt2spk"))
    )
    source = os.path.join(folder, "segments" if segments else "wav.scp")
    for key, (line, rest) in (segments or recordings).items():
        with problems.at(f"{source}, line {line}"):
            name, times = key, ""
            if segments:
                name, times = _kaldi_segment(rest)
            if name not in recordings:
                raise ValueError(f"there is no recording {name!r} in wav.scp")
            audio = _kaldi_recording(utterances, folder, recordings[name][1]) + times
            for table, what in ((texts, "text"), (speakers, "utt2spk")):
                if table and key not in table:
                    raise ValueError(f"there is no {key!r} in {what}")
            utterances.add(audio, texts[key][1], speakers and speakers[key][1])
    problems.warn(folder)
    return utterances.records(folder)


def _kaldi_table(path, problems):
    """What stands after each key, by key, with the number of its line."""
    table = {}
    for line, text in lines(path, problems):
        with problems.at(f"{path}, line {line}"):
            key, *rest = text.split(maxsplit=1)
            if key in table:
                raise ValueError(f"{key!r} comes twice")
            table[key] = line, "".join(rest).strip()
    return table


def _kaldi_segment(text):
    parts = text.split()
    if len(parts) != 3:
        raise ValueError(f"should be `ID recording start end`. Received: {text!r:.80}")
    name, start, end = parts
    start, end = _number("start", start), _number("end", end)
    return name, _fragment(start, None if end == -1 else end)


def _kaldi_recording(utterances, folder, path):
    if path.endswith("|"):
        raise ValueError(
            "the recording is given by a command, which is not run: write its output to a file "
            f"and name that. Received: {path!r:.80}"
        )
    if re.search(r":\d+$", path):
        raise ValueError(
            "the recording is given by a place in an archive, which is not read: write it to a "
            f"file and name that. Received: {path!r:.80}"
        )
    below = os.path.join(folder, path)
    return utterances.recording(below if below in utterances.listings else path)


def read_ljspeech(folder, on_error="raise"):
    """Reads LJSpeech, or a data set set out like it (Ito and Johnson 2017).

    Args:
        folder: with `metadata.csv`, a line `ID|text|normalized text` each (the last part is taken;
            there may be only two), and the recordings `wavs/ID.wav` (or `.flac` and so on).
        on_error: `"raise"` or `"skip"`, see `read_librispeech`.

    Returns:
        Records, as `read_librispeech` gives them, in the order of the file, without speakers.

    Raises:
        ValueError: as `read_librispeech`.

    Example:

    ```python
    records = mm.read_ljspeech("LJSpeech-1.1")
    ```
    """
    problems, utterances = Problems(on_error), _Utterances()
    source = os.path.join(folder, "metadata.csv")
    for line, text in lines(source, problems):
        with problems.at(f"{source}, line {line}"):
            key, *texts = text.split("|")
            if len(texts) not in (1, 2):
                raise ValueError(f"should be `ID|text|normalized text`. Received: {text!r:.80}")
            place = os.path.join(folder, "wavs", key.strip())
            utterances.add(utterances.recording(place), texts[-1])
    problems.warn(source)
    return utterances.records(source)


def read_an4(folder, split="train", on_error="raise"):
    """Reads one split of AN4 (Acero 1993), or of a data set set out like it for CMU Sphinx.

    Args:
        folder: with `etc/an4_train.fileids` (`an4_clstk/SPEAKER/ID`), `etc/an4_train.transcription`
            (`<s> WORDS </s> (ID)`) and the recordings in `wav`, `flac` or the folder itself.
        split: `"train"` or `"test"`: which two files in `etc`.
        on_error: `"raise"` or `"skip"`, see `read_librispeech`.

    Returns:
        Records, as `read_librispeech` gives them, in the order of the transcription.

    Raises:
        ValueError: as `read_librispeech`, or a file is missing.

    Example:

    ```python
    records = mm.read_an4("an4")
    ```
    """
    problems, utterances = Problems(on_error), _Utterances()
    ids, texts = (first(folder, f"etc/*_{split}.{kind}") for kind in ("fileids", "transcription"))
    if not (ids and texts):
        raise ValueError(
            f"`folder` should hold `etc/*_{split}.fileids` and `etc/*_{split}.transcription`. "
            f"Received: folder={str(folder)!r}"
        )
    places = {text.strip().rpartition("/")[2]: text.strip() for _, text in lines(ids, problems)}
    homes = [os.path.join(folder, name) for name in ("wav", "flac", "")]
    for line, text in lines(texts, problems):
        with problems.at(f"{texts}, line {line}"):
            found = re.fullmatch(r"(?:<s>)?(.*?)(?:</s>)?\s*\(([^()\s]+)\)\s*", text.strip())
            if not found:
                raise ValueError(f"should be `<s> WORDS </s> (ID)`. Received: {text!r:.80}")
            transcript, key = found.groups()
            if key not in places:
                raise ValueError(f"there is no {key!r} in {ids}")
            audio = utterances.recording(*(os.path.join(home, places[key]) for home in homes))
            utterances.add(audio, transcript, os.path.basename(os.path.dirname(places[key])))
    problems.warn(texts)
    return utterances.records(texts)


def read_fsdd(folder, takes=None, on_error="raise"):
    """Reads the free spoken digits: recordings named `DIGIT_SPEAKER_TAKE.wav` (Jackson et al.).

    Args:
        folder: of the recordings, or the one that holds their folder `recordings`.
        takes: the numbers of the takes to read, or `None` for all. The official test split is
            `range(5)`.
        on_error: `"raise"` or `"skip"`, see `read_librispeech`.

    Returns:
        Records, as `read_librispeech` gives them, by digit, speaker and take; the transcript is
        the digit's English word.

    Raises:
        ValueError: naming a recording whose name is not so, or there is none.

    Example:

    ```python
    records = mm.read_fsdd("free-spoken-digit-dataset", takes=range(5, 50))
    ```
    """
    problems, utterances = Problems(on_error), _Utterances()
    below = os.path.join(folder, "recordings")
    folder = below if os.path.isdir(below) else folder
    named = []
    for name in sorted(files_in(folder)):
        if name.endswith(_SUFFIXES):
            with problems.at(os.path.join(folder, name)):
                found = re.fullmatch(r"(\d)_(.+)_(\d+)\.\w+", name)
                if not found:
                    raise ValueError("should be named `DIGIT_SPEAKER_TAKE.wav`")
                digit, speaker, take = found.groups()
                named.append((int(digit), speaker, int(take), name))
    for digit, speaker, take, name in sorted(named):
        if takes is None or take in takes:
            utterances.add(os.path.join(folder, name), DIGITS[digit], speaker)
    problems.warn(folder)
    return utterances.records(folder)


def read_timit(folder, on_error="raise"):
    """Reads TIMIT, or a part of it (Garofolo et al. 1993).

    Args:
        folder: path of a folder below which `SPEAKER/UTTERANCE.txt` (`start end sentence`, start
            and end in samples) stands beside `UTTERANCE.wav` (or `.flac` and so on; capitals or
            not).
        on_error: `"raise"` or `"skip"`, see `read_librispeech`.

    Returns:
        Records, as `read_librispeech` gives them, sorted by file.

    Raises:
        ValueError: as `read_librispeech`.

    Example:

    ```python
    records = mm.read_timit("TIMIT/TRAIN")
    ```
    """
    problems, utterances = Problems(on_error), _Utterances()
    for source in sorted(map(str, pathlib.Path(folder).rglob("*.[tT][xX][tT]"))):
        home, place = os.path.dirname(source), os.path.splitext(source)[0]
        for line, text in lines(source, problems):
            with problems.at(f"{source}, line {line}"):
                found = re.fullmatch(r"\d+\s+\d+\s+(.*)", text.strip())
                if not found and not utterances.has(place):
                    break  # a note about the data
                if not found:
                    raise ValueError(f"should be `start end sentence`. Received: {text!r:.80}")
                utterances.add(utterances.recording(place), found[1], os.path.basename(home))
    problems.warn(folder)
    return utterances.records(folder)


def part_of_recording(row):
    """The recording that a line of a manifest names, and the part of it that is meant.

    Args:
        row: dict with `audio` and maybe `start` and `duration`, as JSON or a table gives them.

    Returns:
        `(path, fragment)`: a fragment is empty or `#t=start,end`.

    Raises:
        ValueError: a value is missing, empty or of the wrong kind.
    """
    if not isinstance(row["audio"], str):
        raise ValueError(f"`audio` should be a string. Received: {row['audio']!r:.80}")
    path, mark, fragment = filled(row["audio"], "audio").partition("#t=")
    times = [row.get(name) for name in ("start", "duration")]
    start, duration = (
        None if value in (None, "") else _number(name, value)
        for name, value in zip(("start", "duration"), times, strict=True)
    )
    if (start, duration) != (None, None):
        start = start or 0.0
        return path, _fragment(start, None if duration is None else start + duration)
    return path, mark + fragment


def spoken_records(rows, source):
    """Records of a list of dicts, without the column `speaker` where that is always `None`."""
    records = columns(rows, source, "recording with a transcript")
    speakers = records["speaker"]
    if not any(speakers):
        del records["speaker"]
    elif None in speakers:
        without = records["audio"][speakers.index(None)]
        raise ValueError(f"{source}: some have a speaker and others none, such as {without!r}")
    return records


class _Utterances:
    """Recordings found, with what is said in them."""

    def __init__(self):
        self.listings = Listings()
        self.rows = {}

    def has(self, place):
        return any(place + suffix in self.listings for suffix in ("", *_SUFFIXES))

    def recording(self, *places):
        """The recording that is at one of these places, given with or without its suffix."""
        for place in places:
            for suffix in ("", *_SUFFIXES):
                if place + suffix in self.listings:
                    return place + suffix
        raise ValueError(f"there is no recording {' or '.join(map(repr, places))}")

    def add(self, audio, transcript, speaker=None):
        if audio in self.rows:
            raise ValueError(f"{audio!r} comes twice")
        self.rows[audio] = {
            "audio": audio,
            "transcript": filled(transcript, "transcript"),
            "speaker": speaker or None,
        }

    def records(self, source):
        return spoken_records(list(self.rows.values()), source)


def _number(name, value):
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"`{name}` should be a number of seconds. Received: {value!r:.80}")
    return number


def _fragment(start, end):
    """A part of a recording, as W3C Media Fragments write it; no end is the recording's."""
    if start < 0 or (end is not None and end <= start):
        raise ValueError(f"should start at 0 or later, and end after. Received: {start} to {end}")
    times = [f"{time:.6f}".rstrip("0").rstrip(".") for time in (start, end) if time is not None]
    return "#t=" + ",".join(times)


def _librispeech(path, valid="dev-clean", test="test-clean", on_error="raise"):
    subsets = {
        "train": sorted(map(str, pathlib.Path(path).glob("train*"))),
        "valid": [os.path.join(path, valid)],
        "test": [os.path.join(path, test)],
    }
    parts = [[each for each in subset if os.path.isdir(each)] for subset in subsets.values()]
    if not any(parts) and first(path, "**/*.trans.txt"):
        parts[0] = [path]
    return [_joined([read_librispeech(each, on_error) for each in part]) for part in parts]


def _joined(parts):
    if not parts:
        return None
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def _common_voice(path, clips=None, on_error="raise"):
    tables = [first(path, f"{name}.tsv") for name in ("train", "dev", "test")]
    return [table and read_common_voice(table, clips, on_error) for table in tables]


def _kaldi(path, on_error="raise"):
    if first(path, "wav.scp"):
        return read_kaldi(path, on_error), None, None
    names = [("train",), ("dev", "valid", "val"), ("test", "eval")]
    folders = [first(path, *(f"{each}/wav.scp" for each in name)) for name in names]
    return [each and read_kaldi(os.path.dirname(each), on_error) for each in folders]


def _ljspeech(path, on_error="raise"):
    found = first(path, "metadata.csv")
    return found and read_ljspeech(path, on_error), None, None


def _an4(path, on_error="raise"):
    found = {split: first(path, f"etc/*_{split}.fileids") for split in ("train", "test")}
    train, test = (found[split] and read_an4(path, split, on_error) for split in found)
    return train, None, test


def _fsdd(path, on_error="raise"):
    records = read_fsdd(path, None, on_error)
    official = [int(re.search(r"_(\d+)\.\w+$", name)[1]) < 5 for name in records["audio"]]
    parts = {
        name: {
            key: [value for value, test in zip(values, official, strict=True) if test == wanted]
            for key, values in records.items()
        }
        for name, wanted in (("train", False), ("test", True))
    }
    train, test = (part if part["audio"] else None for part in parts.values())
    return train, None, test


def _timit(path, on_error="raise"):
    splits = [first(path, name, name.lower()) for name in ("TRAIN", "TEST")]
    if splits == [None, None]:
        return read_timit(path, on_error), None, None
    train, test = (each and read_timit(each, on_error) for each in splits)
    return train, None, test


LAYOUTS = {
    "librispeech": _librispeech,
    "common_voice": _common_voice,
    "kaldi": _kaldi,
    "ljspeech": _ljspeech,
    "an4": _an4,
    "fsdd": _fsdd,
    "timit": _timit,
}
