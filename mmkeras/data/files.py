"""Files of a data set: listings of folders and zips, and lines of text."""

import os
import pathlib
import zipfile


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


def files_in(folder):
    """Names of the files in a folder; none if there is no such folder."""
    if not os.path.isdir(folder or "."):
        return []
    return [entry.name for entry in os.scandir(folder or ".") if entry.is_file()]


def decoded(path, problems):
    """Lines of UTF-8 by number; one that is not UTF-8 is a problem, and empty."""
    with open(path, "rb") as file:
        for line, raw in enumerate(file, 1):
            text = ""
            with problems.at(f"{path}, line {line}"):
                text = raw.decode("utf-8-sig" if line == 1 else "utf-8")
            yield line, text


def lines(path, problems):
    """Lines that are not blank, by number and without their ends."""
    return ((line, text.rstrip("\r\n")) for line, text in decoded(path, problems) if text.strip())


def first(path, *patterns):
    """The first file or folder that matches the first pattern that any matches, or `None`."""
    found = (str(each) for pattern in patterns for each in sorted(pathlib.Path(path).glob(pattern)))
    return next(found, None)


def filled(text, name):
    """A text without space around it, refused if nothing is left."""
    if not text.strip():
        raise ValueError(f"`{name}` is empty")
    return text.strip()
