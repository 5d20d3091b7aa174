"""Asking a model server, without TensorFlow: REST needs httpx, gRPC needs grpcio."""

from mmkeras.client.asking import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]
