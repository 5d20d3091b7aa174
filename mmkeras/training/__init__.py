"""What training needs beyond `model.fit`."""

from mmkeras.training.callbacks import StopOnNaN
from mmkeras.training.frozen import precompute, split_frozen
from mmkeras.training.resume import Resume
from mmkeras.training.self_critical import self_critical

__all__ = ["Resume", "StopOnNaN", "precompute", "self_critical", "split_frozen"]
