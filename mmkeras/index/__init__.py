"""Items found by their embeddings."""

from mmkeras.index.items import Index

__all__ = ["Index"]
