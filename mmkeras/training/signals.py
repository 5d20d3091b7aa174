"""Signals that ask a training to end."""

import os
import signal
import threading


class Signals:
    """Notes SIGINT and SIGTERM, which are heeded between two steps; a second one ends the process.

    Args:
        fit: the `Fit` that is stopped. A signal that comes after it, as when it ended with an
            error, does what it did before.

    Attributes:
        received: the number of the first; None if there was none.
    """

    def __init__(self, fit):
        self.fit = fit
        self.received = None
        self._before = {}

    def watch(self):
        """Only the main thread can; and what is ignored, as behind `nohup`, stays so."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)

    def forget(self):
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler or signal.SIG_DFL)

    def _note(self, number, frame):
        if not self.fit.is_running(frame):  # It has ended with an error.
            self.forget()
            signal.raise_signal(number)
        elif self.received is not None:
            os._exit(128 + number)
        else:
            self.received = number
            os.write(2, b"\nFinishing the step, then saving; once more to leave at once.\n")
