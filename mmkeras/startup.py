"""Quiet start-up of TensorFlow, and Keras told of our classes as soon as it is there."""

import contextlib
import importlib
import os
import sys
import tempfile

import wrapt

SERIALIZABLE = (
    "mmkeras.assembly",
    "mmkeras.task",
    "mmkeras.losses",
    "mmkeras.encoders",
    "mmkeras.decoders",
    "mmkeras.layers",
    "mmkeras.preprocessing",
    "mmkeras.training",
)


@contextlib.contextmanager
def quiet_stderr():
    """Hide what C++ writes to standard error; show it after all if the body fails."""
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


def start():
    """Import TensorFlow without its wall of log lines (which come before any log level is read)."""
    if "tensorflow" not in sys.modules:
        with quiet_stderr():
            importlib.import_module("tensorflow")


def register_on_keras_import():
    """Register our classes once Keras is imported, so that `keras.models.load_model` finds them.

    Keras imports only its own packages on load, and importing everything here would cost the
    seconds that a lazy `import mmkeras` saves.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    for name in ("keras", "tensorflow"):
        wrapt.register_post_import_hook(_register, name)


def _register(_):
    # Each of the two imports the other; the hook of the one that ends last does the work.
    for name in ("keras", "tensorflow"):
        module = sys.modules.get(name)
        if module is not None and getattr(module.__spec__, "_initializing", False):
            return
    for module in SERIALIZABLE:
        importlib.import_module(module)
