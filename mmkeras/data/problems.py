"""What is wrong with data: raised at once, or counted and told at the end."""

import contextlib
import warnings


class Problems:
    """Wrong entries of a data set.

    Args:
        on_error: `"raise"` or `"skip"`.

    Attributes:
        skipped: list of str, what was wrong and where, in the order it was met.
    """

    def __init__(self, on_error):
        if on_error not in ("raise", "skip"):
            raise ValueError(
                f'`on_error` should be "raise" or "skip". Received: on_error={on_error!r}'
            )
        self.on_error = on_error
        self.skipped = []

    def add(self, message):
        """Raises or counts a `ValueError`."""
        if self.on_error == "raise":
            raise ValueError(message) from None
        self.skipped.append(message)

    @contextlib.contextmanager
    def at(self, where):
        """Names the place of a `ValueError` or `OSError` of the body, and raises or counts it."""
        try:
            yield
        except (ValueError, OSError) as error:
            self.add(f"{where}: {error}")

    def warn(self, source):
        """Says how many entries were skipped, and which came first."""
        if self.skipped:
            first = "".join(f"\n  {each}" for each in self.skipped[:5])
            warnings.warn(
                f"{source}: skipped {len(self.skipped)} wrong entries, first:{first}", stacklevel=3
            )
