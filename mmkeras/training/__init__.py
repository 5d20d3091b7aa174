"""What training needs beyond `model.fit`."""

from mmkeras.training.averaging import average_weights, greedy_soup
from mmkeras.training.callbacks import StopOnNaN
from mmkeras.training.checking import check
from mmkeras.training.finetuning import (
    GradualUnfreeze,
    LayerwiseAdamW,
    enable_lora,
    freeze,
    layerwise_rates,
)
from mmkeras.training.frozen import precompute, split_frozen
from mmkeras.training.resume import Resume
from mmkeras.training.run_log import RunLog
from mmkeras.training.runs import format_runs, read_runs
from mmkeras.training.self_critical import self_critical
from mmkeras.training.strategies import strategy

__all__ = [
    "GradualUnfreeze",
    "LayerwiseAdamW",
    "Resume",
    "RunLog",
    "StopOnNaN",
    "average_weights",
    "check",
    "enable_lora",
    "format_runs",
    "freeze",
    "greedy_soup",
    "layerwise_rates",
    "precompute",
    "read_runs",
    "self_critical",
    "split_frozen",
    "strategy",
]
