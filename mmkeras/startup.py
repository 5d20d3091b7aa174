"""Quiet start-up of TensorFlow, and Keras told of our classes as soon as it is there."""

import contextlib
import importlib
import importlib.machinery
import os
import sys
import tempfile
import warnings

import wrapt

SERIALIZABLE = (
    "mmkeras.assembly",
    "mmkeras.task",
    "mmkeras.heads",
    "mmkeras.losses",
    "mmkeras.encoders",
    "mmkeras.decoders",
    "mmkeras.layers",
    "mmkeras.preprocessing",
    "mmkeras.training.finetuning",
)

# Warnings of Keras to people who did nothing wrong: `fit` shuffles by default and says so of every
# `tf.data.Dataset`; a model saved before it was trained has no state of its optimizer to lose;
# attention (not a classifier, whose output has two axes) may well have one place to look at.
NEEDLESS = (
    "`shuffle=True` was passed, but will be ignored since the data `x` was provided as a tf.data",
    r"Skipping variable loading for optimizer .* whereas the saved optimizer has [12] variables",
    r"You are using a softmax over axis -1 of a tensor of shape \(\w+, \w+, (\w+, )*1\)",
)

LIGHT = (
    "mmkeras.__main__",
    "mmkeras.cli",
    "mmkeras.client",
    "mmkeras.metrics",
    "mmkeras.startup",
)


def prepare():
    """What `import mmkeras` does: nothing yet, but it is ready for TensorFlow and for Keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    for message in NEEDLESS:
        warnings.filterwarnings("ignore", message, UserWarning)
    sys.meta_path.insert(0, _Finder())
    wrapt.register_post_import_hook(_register, "keras")


def start():
    """Import TensorFlow and Keras, quietly."""
    importlib.import_module("tensorflow")
    importlib.import_module("keras")


class _Finder:
    """Hides the lines that TensorFlow's C++ prints on import, before any log level is read.

    It also sees to it that TensorFlow and Keras are whole before a module of ours that needs them
    begins: otherwise that module would import Keras, which would register our classes, which would
    need that module.
    """

    def find_spec(self, name, path=None, target=None):
        if name.startswith("mmkeras.") and not name.startswith(LIGHT):
            start()
        if name != "tensorflow":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None:
            run = spec.loader.exec_module

            def exec_module(module):
                with _quiet_stderr():
                    run(module)
                _register(module)

            spec.loader.exec_module = exec_module
        return spec


@contextlib.contextmanager
def _quiet_stderr():
    """Hide what is written to the process's standard error; show it after all on failure."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _register(ended):
    """Import our classes, so that `keras.models.load_model` finds them.

    Keras imports only its own packages on load, and importing everything at once would cost the
    seconds that a lazy `import mmkeras` saves. TensorFlow and Keras import each other; the hook of
    the one that ends last does the work.
    """
    for module in (sys.modules.get("keras"), sys.modules.get("tensorflow")):
        if module is None or (module is not ended and module.__spec__._initializing):
            return
    for module in SERIALIZABLE:
        importlib.import_module(module)
