"""What training needs beyond `model.fit`."""

from mmkeras.training.callbacks import StopOnNaN
from mmkeras.training.checking import check
from mmkeras.training.frozen import precompute, split_frozen
from mmkeras.training.resume import Resume
from mmkeras.training.run_log import RunLog
from mmkeras.training.runs import format_runs, read_runs
from mmkeras.training.self_critical import self_critical

__all__ = [
    "Resume",
    "RunLog",
    "StopOnNaN",
    "check",
    "format_runs",
    "precompute",
    "read_runs",
    "self_critical",
    "split_frozen",
]
