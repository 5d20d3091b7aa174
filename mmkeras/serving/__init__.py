"""Exports: SavedModels that take raw bytes, give text and hold stock operations only."""

from mmkeras.serving.archive import export
from mmkeras.serving.deployment import write_deployment
from mmkeras.serving.golden import verify
from mmkeras.serving.litert import export_litert
from mmkeras.serving.loading import Export
from mmkeras.serving.onnx_file import export_onnx
from mmkeras.serving.weights import rounded

__all__ = [
    "Export",
    "export",
    "export_litert",
    "export_onnx",
    "rounded",
    "verify",
    "write_deployment",
]
