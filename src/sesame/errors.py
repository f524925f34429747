"""The one exception a user's mistake raises: what was found, where, and how to mend it."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the input, not of the program. The command line prints it as it is and exits with 2.

    Write the message as one or two sentences: what was found and where, what was expected, what to do.
    """


def nearest(word: str, known: Iterable[str]) -> str:
    """`" Did you mean a, b?"` for the known words that resemble `word`, or the list of all when none does."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f" Did you mean {', '.join(close)}?" if close else f" Known: {', '.join(known)}."
