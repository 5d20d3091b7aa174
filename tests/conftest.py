"""Quiet start-up for all tests, and the helpers beside them on the path."""

import sys
from pathlib import Path

import mmkeras

sys.path.insert(0, str(Path(__file__).parent))
mmkeras.startup.start()
