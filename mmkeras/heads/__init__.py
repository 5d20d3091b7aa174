"""Heads: layers that make a target from the context at once."""

from mmkeras.heads.classify import Classify, CreditAccuracy
from mmkeras.heads.locate import Locate, PlaceAccuracy
from mmkeras.heads.match import Match, PairRecall

__all__ = ["Classify", "CreditAccuracy", "Locate", "Match", "PairRecall", "PlaceAccuracy"]
