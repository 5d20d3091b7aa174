"""Exports: SavedModels that take raw bytes, give text and hold stock operations only."""

from mmkeras.serving.archive import export
from mmkeras.serving.deployment import write_deployment
from mmkeras.serving.golden import verify
from mmkeras.serving.loading import Export

__all__ = ["Export", "export", "verify", "write_deployment"]
