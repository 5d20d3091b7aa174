"""Checkpoints on disk: written whole or not at all, verified when they are read."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import warnings
import zipfile
from concurrent import futures
from pathlib import Path

import numpy as np

FORMAT = 1
ARRAYS, STATE, MANIFEST = "arrays.npz", "state.json", "manifest.json"
_WRITING, _DELETING = ".writing", ".deleting"

# Of this process, by directory: a `fit` that ended with an error has not closed its own.
_OPEN = {}


class Checkpoints:
    """The checkpoints of a run in a directory of their own.

    Each is a folder `checkpoint-NUMBER` of plain arrays (`arrays.npz`, no pickle), JSON
    (`state.json`) and a manifest with size and SHA-256 of both. It is written under another name
    and flushed to the disk, the manifest last; then it is renamed and the directory flushed. So
    whatever has its name is whole, or the disk has damaged it.

    Args:
        directory: made if there is none. On a file system with `rename` and `flock`.
        keep: how many good checkpoints stay.

    Raises:
        ValueError: `directory` cannot be written to.
        RuntimeError: another process has it open. A process that died has not.
    """

    def __init__(self, directory, keep=2):
        self.directory = Path(directory)
        self.keep = keep
        self._good = []
        self._writer = futures.ThreadPoolExecutor(1)
        self._pending = None
        self._key = os.path.realpath(directory)
        if self._key in _OPEN:
            _OPEN[self._key].close()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.directory)
            _OPEN[self._key] = self
            self._try_writing()
        except OSError as error:
            self.close()
            raise ValueError(
                f"`directory` should be one that can be written to. "
                f"Received: directory={str(directory)!r} ({error})"
            ) from None

    def _try_writing(self):
        for name in (_WRITING, _DELETING):
            shutil.rmtree(self.directory / name, ignore_errors=True)
        os.mkdir(self.directory / _WRITING)
        os.rmdir(self.directory / _WRITING)

    @property
    def busy(self):
        """Whether one is being written."""
        return self._pending is not None and not self._pending.done()

    def start(self, arrays, state):
        """Writes a checkpoint while training goes on; one at a time.

        Args:
            arrays: dict of arrays by name, that nobody changes any more.
            state: what JSON can hold.
        """
        self.wait()
        self._pending = self._writer.submit(self.write, arrays, state)

    def wait(self):
        """Returns when nothing is being written.

        Raises:
            OSError: it could not be written, as when the disk is full.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def write(self, arrays, state):
        """Writes a checkpoint and lets go of those that are too many."""
        part = self.directory / _WRITING
        shutil.rmtree(part, ignore_errors=True)
        try:
            os.mkdir(part)
            with _synced(part / ARRAYS) as file:
                np.savez(file, **arrays)
            with _synced(part / STATE) as file:
                file.write(json.dumps(state).encode())
            manifest = {
                "format": FORMAT,
                "files": {name: _measure(part / name) for name in (ARRAYS, STATE)},
            }
            with _synced(part / MANIFEST) as file:
                file.write(json.dumps(manifest, indent=1).encode())
            _sync_directory(part)
            number = max(self._numbers(), default=0) + 1
            os.rename(part, self._path(number))
            _sync_directory(self.directory)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        self._good = [*self._good, number][-self.keep :]
        self._prune()

    def read(self):
        """The arrays and the state of the newest checkpoint that verifies; None if there is none.

        Raises:
            ValueError: there are some and none verifies.
        """
        faults = []
        for number in sorted(self._numbers(), reverse=True):
            path = self._path(number)
            try:
                found = _verified(path)
            except (OSError, ValueError, zipfile.BadZipFile) as error:
                faults.append(f"{path}: {error}")
                continue
            for fault in faults:
                warnings.warn(
                    f"A damaged checkpoint, in its place that before it is taken. {fault}",
                    stacklevel=2,
                )
            self._good = [number]
            return found
        if faults:
            raise ValueError(
                f"`directory` should hold a checkpoint that verifies, or none at all: to begin "
                f"anew, move {str(self.directory)!r} away. Received: " + "; ".join(faults)
            )
        return None

    def close(self):
        """Lets other processes have the directory, once nothing is being written."""
        if _OPEN.get(self._key) is not self:
            return
        with contextlib.suppress(OSError):
            self.wait()
        self._writer.shutdown()
        os.close(self._lock)
        del _OPEN[self._key]

    def _path(self, number):
        return self.directory / f"checkpoint-{number:06d}"

    def _numbers(self):
        names = (re.fullmatch(r"checkpoint-(\d{6,})", name) for name in os.listdir(self.directory))
        return [int(name[1]) for name in names if name]

    def _prune(self):
        """Deletes what is older than the good ones. A damaged one stays until they are newer."""
        gone = self.directory / _DELETING
        for number in self._numbers():
            if number < self._good[0]:
                with contextlib.suppress(OSError):
                    os.rename(self._path(number), gone)
                shutil.rmtree(gone, ignore_errors=True)


class Reader(Checkpoints):
    """The checkpoints of a run that another process writes: here nothing is locked or written."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self._pending = None

    def start(self, arrays, state):
        pass

    def close(self):
        pass

    def _numbers(self):
        return super()._numbers() if self.directory.is_dir() else []


def _lock(directory):
    """A file descriptor that is locked as long as it is open and its process lives."""
    import fcntl  # not on Windows, where the rest of this package is of use

    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 1000).decode()
        os.close(descriptor)
        raise RuntimeError(
            f"`directory` should be of one run at a time. Received: directory={str(directory)!r}, "
            f"where {holder} is training"
        ) from None
    os.truncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
    return descriptor


def _forget():
    """A forked process would keep the lock of its parent."""
    for checkpoints in _OPEN.values():
        os.close(checkpoints._lock)
    _OPEN.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextlib.contextmanager
def _synced(path):
    with open(path, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _measure(path):
    with open(path, "rb") as file:
        return {
            "bytes": os.fstat(file.fileno()).st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }


def _verified(path):
    """The arrays and the state of a checkpoint that is as its manifest says."""
    manifest = json.loads((path / MANIFEST).read_bytes())
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{MANIFEST} should have the format {FORMAT}. Received: {manifest!r:.200}")
    found = {name: _measure(path / name) for name in (ARRAYS, STATE)}
    if manifest.get("files") != found:
        raise ValueError(
            f"the files should be as {MANIFEST} says, {manifest.get('files')!r:.400}. "
            f"Received: {found}"
        )
    with np.load(path / ARRAYS, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return arrays, json.loads((path / STATE).read_bytes())
