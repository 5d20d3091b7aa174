"""Heads: layers that make a target from the context at once."""

from mmkeras.heads.classify import Classify, CreditAccuracy
from mmkeras.heads.locate import Locate, PlaceAccuracy

__all__ = ["Classify", "CreditAccuracy", "Locate", "PlaceAccuracy"]
