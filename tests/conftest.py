"""Quiet start-up for all tests, and the helpers beside them on the path."""

import gc
import io
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import mmkeras

sys.path.insert(0, str(Path(__file__).parent))
mmkeras.startup.start()


def pytest_configure(config):
    """Pytest undoes what importing mmkeras does about warnings."""
    # While a graph is traced nothing is garbage; to look for some took an eighth of the time.
    gc.set_threshold(50_000, 10, 10)
    for message in mmkeras.startup.NEEDLESS:
        config.addinivalue_line("filterwarnings", f"ignore:{message}:UserWarning")


def pytest_collection_modifyitems(items):
    """The file that takes longest comes first, so that no process waits for another in the end."""
    items.sort(key=lambda item: item.path.name != "test_recipes.py")


@pytest.fixture(scope="module", autouse=True)
def _garbage():
    """Graphs are many objects: those of a file go with it, and what stays is not looked through."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seed():
    """A model begins the same whatever ran before its test."""
    import keras  # after `start`, which makes it quiet

    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def photo():
    """A function that gives the bytes of a picture of noise."""

    def make(seed, size=(32, 32), kind="PNG"):
        pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype="uint8")
        file = io.BytesIO()
        PIL.Image.fromarray(pixels).save(file, kind)
        return file.getvalue()

    return make
