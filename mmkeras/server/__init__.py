"""A server of bundles for development and small use, with TensorFlow Serving's interfaces.

Beside `serving`, which makes and checks bundles and needs no more than TensorFlow: this room needs
the packages of the extra `serve`.
"""

try:
    from mmkeras.server.running import Server
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"A server needs the extra `serve`: pip install mmkeras[serve]. {error}", name=error.name
    ) from None

__all__ = ["Server"]
