"""Where sentences start, in English and other languages that use its marks, and in Chinese and Japanese.

A sentence ends at `.`, `!`, `?` or `…` before white space, or at one of their full-width forms anywhere; a line break
ends one too, unless the next line goes on in lower case (a hard-wrapped paragraph). A full stop after a known
abbreviation or an initial ends nothing. Sentence-order and next-sentence pretraining need boundaries that are nearly
always right and cheap to find, not a parser.
"""

import re
from itertools import pairwise

_CLOSERS = r"[\"'”’)\]»」』）】》〉]*"
_OPENERS = r"[\"'“‘(\[«「『（【《〈¿¡]*"
_MARKS, _WIDE_MARKS = "[.!?…؟।॥]", "[。！？｡]"
_BOUNDARY = re.compile(  # starts with a set of characters, so that the engine runs past all others
    rf"[.!?…؟।॥。！？｡\n](?:"
    rf"(?<={_MARKS})(?P<more>{_MARKS}*){_CLOSERS}(?=[^\S\n]+\S)"
    rf"|(?<={_WIDE_MARKS}){_WIDE_MARKS}*{_CLOSERS}(?=[^\S\n]*\S)"
    rf"|(?<=\n)\s*(?=\S))"
)
_FIRST = re.compile(rf"\s*{_OPENERS}(.)", re.DOTALL)
_LAST_WORD = re.compile(r"[^\W\d_]+(?:\.[^\W\d_]+)*$")
_SHORT_FORMS = """
al approx art capt cf ch co col corp dept dr ed eds eq esq etc fig figs gen gov hon inc jr lt ltd maj mr mrs ms mt no
nos op pp prof rep rev sec sen sgt sr st v vol vols vs e.g i.e jan feb mar apr jun jul aug sep sept oct nov dec
"""
_ABBREVIATIONS = frozenset(_SHORT_FORMS.split())


def starts(text: str) -> list[int]:
    """Offsets in `text` at which sentences start, ascending; the first is 0. Empty text has none.

    A start lies right after the end of the sentence before, so white space between the two belongs to the second
    and the sentences together are the text.
    """
    if not text:
        return []
    found = [0]
    for match in _BOUNDARY.finditer(text):
        at, after = match.span()
        mark = text[at]
        if mark == "\n":
            after = at
            while after and text[after - 1] in " \t":
                after -= 1
        first = _FIRST.match(text, after)
        goes_on = first is not None and first.group(1).islower()
        short_form = mark == "." and not match["more"] and _abbreviated(text, at)
        if after > found[-1] and not goes_on and not short_form:
            found.append(after)
    return found


def split(text: str) -> list[str]:
    """The sentences of `text`; joined together they are `text`."""
    return [text[a:b] for a, b in pairwise([*starts(text), len(text)])]


def _abbreviated(text: str, stop: int) -> bool:
    """Whether the full stop at `stop` belongs to an abbreviation ("e.g.") or an initial ("J.")."""
    word = _LAST_WORD.search(text, max(0, stop - 16), stop)
    if word is None:
        return False
    found = word.group()
    return (len(found) == 1 and found.isupper() and found != "I") or found.lower() in _ABBREVIATIONS
