"""SIGINT and SIGTERM ask the loop to stop after its step, instead of stopping it in the middle."""

import signal
import threading
from types import FrameType, TracebackType


class StopSignal:
    """Inside the block the first signal only sets `requested`; a second one acts as it would without us."""

    signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.number = 0

    @property
    def requested(self) -> bool:
        return self.number != 0

    @property
    def name(self) -> str:
        """The signal's name; of another process's signal we only know that there was one."""
        return signal.Signals(self.number).name if self.number else "another process was"

    def __enter__(self) -> "StopSignal":
        self._previous = {}
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._previous = {number: signal.signal(number, self._ask) for number in self.signals}
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
