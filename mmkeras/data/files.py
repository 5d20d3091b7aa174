"""Files of a data set: listings of folders and zips, lines of text, JSON, and records of them."""

import collections
import gzip
import json
import os
import pathlib
import zipfile
import zlib

SPLIT_WORDS = {
    **{name: name for name in ("train", "valid", "test")},
    **dict.fromkeys(["val", "dev", "validation"], "valid"),
}


class Listings:
    """Whether paths are files (or members of zips), with one listing per folder or zip."""

    def __init__(self):
        self.names = {}

    def __contains__(self, path):
        archive, slash, member = path.partition(".zip/")
        in_zip = slash and os.path.isfile(f"{archive}.zip")
        place, name = (f"{archive}.zip", member) if in_zip else os.path.split(path)
        if place not in self.names:
            self.names[place] = set(members(place) if in_zip else files_in(place))
        return name in self.names[place]


class Images:
    """Where the images are, from one listing of each folder or zip.

    Args:
        sources: a folder, a zip, or a list of these.
    """

    def __init__(self, sources):
        self.sources = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
        self.listed = {}
        self.same_name = collections.defaultdict(list)
        for source in self.sources:
            for name in files_at(source):
                path = os.path.join(source, name)
                self.listed.setdefault(name, path)
                self.same_name[name.rpartition("/")[2]].append(path)

    def __contains__(self, name):
        return name in self.listed or name.rpartition("/")[2] in self.same_name

    def path(self, *names):
        """The path of an image, named in full or, where that is clear, by its last part.

        Of several names the first that is there is meant.
        """
        for name in names:
            if name in self.listed:
                return self.listed[name]
            alike = self.same_name.get(name.rpartition("/")[2], [])
            if len(alike) == 1:
                return alike[0]
            if alike:
                raise ValueError(f"the image {name!r} could be any of {alike}")
        asked = " or ".join(map(repr, names))
        raise ValueError(f"there is no image {asked} in {[str(each) for each in self.sources]}")


def members(archive):
    """Names of the files in a zip."""
    try:
        with zipfile.ZipFile(archive) as file:
            names = file.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{archive}: {error}") from None
    return [name for name in names if not name.startswith("__MACOSX/") and name[-1:] != "/"]


def files_below(folder):
    """Names of the files in a folder and in those below it, from the folder on."""
    if not os.path.isdir(folder):
        raise ValueError(f"`images` should be a folder or a zip. Received: {str(folder)!r}")
    for place, _, names in os.walk(folder):
        inside = os.path.relpath(place, folder)
        yield from names if inside == "." else (f"{inside}/{name}" for name in names)


def files_at(place):
    """Names of the files below a folder or zip, or a folder in a zip, from there on."""
    archive, slash, inside = os.fspath(place).partition(".zip/")
    if slash and os.path.isfile(f"{archive}.zip"):
        inside = f"{inside.rstrip('/')}/"
        names = members(f"{archive}.zip")
        return [name[len(inside) :] for name in names if name.startswith(inside)]
    return members(place) if zipfile.is_zipfile(place) else files_below(place)


def files_in(folder):
    """Names of the files in a folder; none if there is no such folder."""
    if not os.path.isdir(folder or "."):
        return []
    return [entry.name for entry in os.scandir(folder or ".") if entry.is_file()]


def decoded(path, problems, latin=False):
    """Lines of UTF-8 by number; one that is not is Latin-1 or, by default, a problem and empty."""
    with open(path, "rb") as file:
        for line, raw in enumerate(file, 1):
            text = ""
            with problems.at(f"{path}, line {line}"):
                try:
                    text = raw.decode("utf-8-sig" if line == 1 else "utf-8")
                except UnicodeDecodeError:
                    if not latin:
                        raise
                    text = raw.decode("latin-1")
            yield line, text


def lines(path, problems, latin=False):
    """Lines that are not blank, by number and without their ends."""
    texts = decoded(path, problems, latin)
    return ((line, text.rstrip("\r\n")) for line, text in texts if text.strip())


def first(path, *patterns):
    """The first file or folder that matches the first pattern that any matches, or `None`."""
    found = (str(each) for pattern in patterns for each in sorted(pathlib.Path(path).glob(pattern)))
    return next(found, None)


def filled(text, name):
    """A text without space around it, refused if nothing is left."""
    if not text.strip():
        raise ValueError(f"`{name}` is empty")
    return text.strip()


def opened(path):
    """A file to read bytes from, unpacked if it is gzip, by whatever name."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else open(path, "rb")


def json_lists(path, *names):
    """The named lists of a JSON file, which may be packed by gzip."""
    content = read_json(path)
    lists = [content.get(name) if isinstance(content, dict) else None for name in names]
    if not all(isinstance(each, list) for each in lists):
        wanted = (
            f"lists {', '.join(f'`{n}`' for n in names)}" if names[1:] else f"a list `{names[0]}`"
        )
        raise ValueError(f"{path}: should be an object with {wanted}")
    return lists


def read_json(path):
    """What a JSON file holds, which may be packed by gzip and begin with a byte order mark."""
    try:
        with opened(path) as file:
            return json.loads(file.read().decode("utf-8-sig"))
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from None


def values(entry, **types):
    """The named values of a JSON object, checked."""
    found = []
    for key, expected in types.items():
        value = entry.get(key) if isinstance(entry, dict) else None
        if not isinstance(value, expected):
            raise ValueError(
                f"`{key}` should be of type {expected.__name__}. Received: {value!r:.80}"
            )
        found.append(value)
    return found


def columns(rows, source, what):
    """Records, from a list of dicts; what some of them lack is `None`."""
    if not rows:
        raise ValueError(f"{source}: holds no {what}")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}
