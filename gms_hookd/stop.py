"""How a run is ended early."""

import threading


class Stop:
    """A request, from another thread, to end a run now; reason says who asked."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._reason = ""

    def set(self, reason: str) -> None:
        """Ask; the first reason given stays."""
        self._reason = self._reason or reason
        self._event.set()

    def is_set(self) -> bool:
        """Whether someone asked."""
        return self._event.is_set()

    def wait(self, timeout: float) -> bool:
        """Wait up to timeout seconds for it."""
        return self._event.wait(timeout)

    @property
    def reason(self) -> str:
        """Give "cancelled" or "shutdown", "" as long as nobody asked."""
        return self._reason
