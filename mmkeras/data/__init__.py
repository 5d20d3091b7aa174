"""Data: readers of standard layouts, the built-in world, and records made into batches."""

from mmkeras.data.dataset import dataset
from mmkeras.data.readers import read, read_coco, read_flickr, read_manifest
from mmkeras.data.world import world

__all__ = ["dataset", "read", "read_coco", "read_flickr", "read_manifest", "world"]
