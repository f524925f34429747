"""A file of inputs, one a line."""

import logging
from pathlib import Path

from sesame.errors import UserError
from sesame.tasks.files import contents

log = logging.getLogger(__name__)


def read_lines(file: Path, skip_empty: bool, why: str) -> tuple[list[str], list[int]]:
    """The lines of `file` as they stand, and the numbers of the empty ones that were left out.

    Spaces at the ends of a line are part of it: to a GPT they are tokens. Raises UserError for an empty line unless
    `skip_empty`, and says `why`; for what is not UTF-8; for no line at all.
    """
    lines, skipped = [], []
    for number, raw in enumerate(contents(file).splitlines(), 1):
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as e:
            raise UserError(
                f"{file}: line {number} is not UTF-8 (byte 0x{raw[e.start]:02x} at column {e.start + 1}). "
                "Convert the file to UTF-8 text."
            ) from None
        if line.strip():
            lines.append(line)
        elif skip_empty:
            skipped.append(number)
        else:
            raise UserError(f"{file}: line {number} is empty, and {why}. Remove it, or pass --skip-empty.")
    if not lines:
        raise UserError(f"{file} has no text. Expected one input a line.")
    if skipped:
        log.warning("%s: %d empty lines were left out", file, len(skipped))
    return lines, skipped
