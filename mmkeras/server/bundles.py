"""Which versions of which bundles are served: each once it is whole and has proven good."""

import gc
import itertools
import logging
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from mmkeras.server.refusal import Refusal
from mmkeras.serving.golden import changed_answers, changed_files
from mmkeras.serving.loading import GOLDEN, Export, is_version, versions

LOG = logging.getLogger("mmkeras.server")


class Version:
    """A version of a bundle, loaded, checked and warm.

    Args:
        name: Of the bundle.
        path: The version directory.

    Attributes:
        name, number: Of bundle and version.
        signature_defs: What the SavedModel says of its signatures, by name.

    Raises:
        ValueError: if it is not whole.
    """

    def __init__(self, name, path):
        if not (path / GOLDEN).is_file():
            raise ValueError(f"{path} should be a whole export. {GOLDEN} is not there (yet)")
        if differences := changed_files(path):
            raise ValueError(f"{path} is not what was written: {_first(differences)}")
        self._export = Export(path)
        # What has answered once is warm. Another processor may count a little otherwise.
        if differences := changed_answers(self._export):
            LOG.warning("%s answers otherwise than it did: %s", path, _first(differences))
        self.name, self.number = name, int(path.name)
        self.signature_defs = _signature_defs(path)
        self._specs = {key: self._export.specs(key) for key in self._export.signatures}
        self._batched = {key for key in self._specs if self._has_rows(key)}

    def __repr__(self):
        return f"{self.name} {self.number}"

    def _has_rows(self, signature):
        """Whether all that goes in and comes out begins with the axis of the batch."""
        outputs = self.signature_defs[signature].outputs.values()
        shapes = [spec.shape for spec in self._specs[signature].values()]
        shapes += [tf.TensorShape(output.tensor_shape) for output in outputs]
        return all(shape.rank is None or (shape.rank and shape[0] is None) for shape in shapes)

    def specs(self, signature):
        """What a signature takes, `{name: tf.TensorSpec}`; `""` is `serving_default`."""
        signature = signature or "serving_default"
        if signature not in self._specs:
            raise Refusal(
                "INVALID_ARGUMENT",
                f'Serving signature name: "{signature}" not found in signature def. '
                f"It should be one of {sorted(self._specs)}",
            )
        return self._specs[signature]

    def check_verb(self, signature, verb):
        """Refuses `"classify"` or `"regress"` of a signature that is for something else."""
        self.specs(signature)
        method = self.signature_defs[signature or "serving_default"].method_name
        if verb == "regress" or method != f"tensorflow/serving/{verb}":
            kind = {"classify": "classification", "regress": "regression"}[verb]
            fit = [n for n, d in self.signature_defs.items() if d.method_name.endswith(f"/{verb}")]
            raise Refusal(
                "INVALID_ARGUMENT",
                f"Expected {kind} signature method_name to be tensorflow/serving/{verb}. "
                f"Was: {method}. Signatures that fit: {fit}",
            )

    def rows(self, signature, inputs):
        """How many examples arrays hold for a signature; None if it knows no batches.

        Raises:
            Refusal: if they do not fit the signature.
        """
        specs = self.specs(signature)
        if set(inputs) != set(specs):
            raise Refusal(
                "INVALID_ARGUMENT",
                f"input size does not match signature: inputs should be {sorted(specs)}. "
                f"Received: {sorted(inputs)}",
            )
        for name, spec in specs.items():
            if not spec.shape.is_compatible_with(inputs[name].shape):
                raise Refusal(
                    "INVALID_ARGUMENT",
                    f"Input {name!r} should have the shape {_shape(spec.shape)}. "
                    f"Received: {_shape(inputs[name].shape)}",
                )
        if (signature or "serving_default") not in self._batched:
            return None
        counts = {name: len(values) for name, values in inputs.items()}
        if len(set(counts.values())) > 1:
            raise Refusal(
                "INVALID_ARGUMENT",
                "Batching session Run() input tensors must have equal 0th-dimension size. "
                f"Received: {counts}",
            )
        return next(iter(counts.values()))

    def run(self, signature, inputs):
        """Arrays by name -> arrays by name."""
        signature = signature or "serving_default"
        specs = self._specs[signature]
        tensors = {name: tf.constant(inputs[name], spec.dtype) for name, spec in specs.items()}
        return self._export.run(tensors, signature)


class Bundles:
    """The bundles of a server, as TensorFlow Serving keeps them: the newest good version of each.

    Args:
        paths: Directories of versions, whose names are those of the bundles; or version
            directories, which stay the only version.
        labels: `{bundle: {label: version}}`; a version with a label is served beside the newest.

    Raises:
        ValueError: if a path holds no version, or two bundles have one name.
    """

    def __init__(self, paths, labels=None):
        self._places = {}
        for path in map(Path, paths):
            name, place = _place(path)
            if name in self._places:
                raise ValueError(
                    f"Bundles should have names of their own. Received: {name!r} in "
                    f"{self._places[name].parent} and in {place.parent}"
                )
            self._places[name] = place
        self._labels = labels or {}
        for name in self._labels:
            if name not in self._places:
                raise ValueError(
                    f"`labels` should be of the bundles {self.names}. Received: {name!r}"
                )
        self._loaded = {name: {} for name in self._places}
        # Why versions are not served, and how their files stood then.
        self._failed = {name: {} for name in self._places}

    @property
    def names(self):
        return sorted(self._places)

    def served(self, name):
        """The numbers of the versions that are served, in order."""
        return sorted(self._loaded[name])

    def missing(self):
        """Why bundles of which nothing is served are not, by name."""
        reasons = {}
        for name in self.names:
            if not self._loaded[name]:
                failed = [reason for _, reason in self._failed[name].values()]
                reasons[name] = failed[-1] if failed else f"{self._places[name]} has no version"
        return reasons

    def refresh(self):
        """Looks for new versions; what is served changes once they have proven to be good."""
        changed = [name for name in self.names if self._refresh(name)]
        if changed:
            # A SavedModel refers to itself: what is served no more would stay in memory.
            gc.collect()

    def find(self, name, number=None, label=None):
        """The `Version` that a request is for.

        Raises:
            Refusal: if there is none, telling which there are.
        """
        loaded = self._loaded.get(name, {})
        if label is not None and loaded:
            labels = self._labels.get(name, {})
            if label not in labels:
                raise Refusal(
                    "INVALID_ARGUMENT",
                    f"Unrecognized servable version label: {label}. "
                    f"It should be one of {sorted(labels)}",
                )
            number = labels[label]
        wanted = max(loaded, default=None) if number is None else number
        if wanted not in loaded:
            asked = f"Latest({name})" if number is None else f"Specific({name}, {number})"
            raise Refusal(
                "NOT_FOUND", f"Servable not found for request: {asked}. Served: {self._listed()}"
            )
        return loaded[wanted]

    def status(self, name, number=None):
        """What became of the versions of a bundle: `[(number, state, error)]`, newest first.

        Raises:
            Refusal: if there is no such bundle or version.
        """
        if name not in self._places:
            raise Refusal(
                "NOT_FOUND",
                f"Could not find any versions of model {name}. Served: {self._listed()}",
            )
        found = {other: ("END", reason) for other, (_, reason) in self._failed[name].items()}
        found |= dict.fromkeys(self._loaded[name], ("AVAILABLE", ""))
        if number is not None and number not in found:
            raise Refusal(
                "NOT_FOUND",
                f"Could not find version {number} of model {name}. Served: {self._listed()}",
            )
        numbers = sorted(found, reverse=True) if number is None else [number]
        return [(other, *found[other]) for other in numbers]

    def _listed(self):
        return {name: self.served(name) for name in self.names}

    def _refresh(self, name):
        place = self._places[name]
        found = {int(place.name): place} if is_version(place.name) else _versions(place)
        self._failed[name] = {n: why for n, why in self._failed[name].items() if n in found}
        good = (n for n in sorted(found, reverse=True) if self._load(name, n, found[n]))
        newest = next(good, max(self._loaded[name], default=None))
        labelled = set(self._labels.get(name, {}).values())
        keep = {n for n in labelled if n != newest and n in found and self._load(name, n, found[n])}
        kept = {n: v for n, v in self._loaded[name].items() if n in keep | {newest}}
        gone = set(self._loaded[name]) - set(kept)
        # Requests see the one dict or the other, never something between.
        self._loaded[name] = kept
        for number in sorted(gone):
            LOG.info("%s %s is served no more", name, number)
        return bool(gone)

    def _load(self, name, number, path):
        """Whether a version is loaded, if need be now."""
        if number in self._loaded[name]:
            return True
        stand = _stand(path)
        if self._failed[name].get(number, (None,))[0] == stand:
            return False
        try:
            version = Version(name, path)
        except (ValueError, OSError, tf.errors.OpError) as error:
            reason = " ".join(str(error).split())
            LOG.warning("%s %s is not served: %s", name, number, reason)
            self._failed[name][number] = stand, reason
            return False
        self._failed[name].pop(number, None)
        self._loaded[name] = {**self._loaded[name], number: version}
        LOG.info("%s %s is served", name, number)
        return True


def _place(path):
    """The name of the bundle at a path, and the directory of its versions or its only version."""
    if not path.is_dir():
        raise ValueError(
            f"A bundle should be a directory that `mmkeras export` wrote. Received: {path}"
        )
    place = path.resolve()
    if is_version(place.name):
        return place.parent.name, place
    if not versions(place):
        raise ValueError(
            f"A bundle should have versions, directories such as {path / '1'}. Received: none"
        )
    return place.name, place


def _versions(place):
    return {number: place / name for number, name in versions(place).items()}


def _stand(path):
    """How the files of a directory stand, to tell whether anything changed."""
    try:
        stats = [(str(file), file.stat()) for file in sorted(path.rglob("*"))]
    except OSError:
        return None
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]


def _first(differences):
    return differences[0] + (f" and {len(differences) - 1} more" if differences[1:] else "")


def _signature_defs(path):
    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graphs = [graph for graph in saved.meta_graphs if "serve" in graph.meta_info_def.tags]
    return dict(itertools.chain.from_iterable(graph.signature_def.items() for graph in graphs))


def _shape(shape):
    return [int(size) if size is not None else "any" for size in np.atleast_1d(list(shape))]
