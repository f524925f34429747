"""A text while it is written: pieces that are certain are told at once, and a stop text ends it.

A character of several bytes may take several tokens, and a stop text may begin in one token and end in another; so
what could still be part of either is held back.
"""

from collections.abc import Callable, Sequence

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What a decoder writes for bytes that are no character, or not yet."""


class Writing:
    """One text, token after token; `spell` says what tokens are as text."""

    def __init__(
        self,
        spell: Callable[[Sequence[int]], str],
        stop: Sequence[str] = (),
        tell: Callable[[str], None] | None = None,
    ):
        self.spell, self.stop, self.tell = spell, stop, tell
        self.ids: list[int] = []
        self.told = 0
        self.stopped = False

    def add(self, token: int) -> bool:
        """Write one more token; whether the text has come to a stop text."""
        self.ids.append(token)
        text = self._text()
        if not self.stopped:
            self._tell(text[: len(text) - self._uncertain(text)])
        return self.stopped

    def finished(self, ids: Sequence[int]) -> tuple[str, bool]:
        """The whole text of `ids`, added before or not, up to a stop text, and whether there was one."""
        self.ids = list(ids)
        text = self._text()
        self._tell(text)
        return text, self.stopped

    def _text(self) -> str:
        text = self.spell(self.ids)
        at = min((found for stop in self.stop if (found := text.find(stop)) >= 0), default=None)
        self.stopped = at is not None
        return text if at is None else text[:at]

    def _tell(self, text: str) -> None:
        if self.tell is not None and len(text) > self.told:
            self.tell(text[self.told :])
            self.told = len(text)

    def _uncertain(self, text: str) -> int:
        """Characters at the end that later tokens may change or make part of a stop text."""
        open_ = text.endswith(UNFINISHED)  # one stands for all bytes of the last character; earlier ones are faults
        certain = text[: len(text) - open_]
        begun = max(
            (n for stop in self.stop for n in range(1, len(stop)) if certain.endswith(stop[:n])),
            default=0,
        )
        return open_ + begun
