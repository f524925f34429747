"""Things that take seconds to find out, kept in the user's cache folder under a hash of what made them.

The folder is $SESAME_CACHE, or sesame in $XDG_CACHE_HOME, or ~/.cache/sesame. It may be removed at any time.
"""

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """The user's, for what Sesame can make again."""
    if own := os.environ.get("SESAME_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sesame"


def kept(name: str, made_of: Any, kind: Any, make: Callable[[], Any]) -> Any:
    """make(), or what it gave when it was last called for the same `made_of`, whose `repr` says all it depends on.

    `kind` is its type. A file that is damaged is made anew; where none can be written, nothing is kept.
    """
    digest = hashlib.blake2b(repr(made_of).encode(), digest_size=16).hexdigest()
    try:
        path = cache_folder() / f"{name}-{digest}.msgpack"
    except RuntimeError:  # there is no home
        return make()
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=kind)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as reason:
        log.debug("%s is made: %s", name, reason)
    found = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        unfinished.write_bytes(msgspec.msgpack.encode(found))
        unfinished.replace(path)
    except OSError as reason:
        log.debug("%s is not kept: %s", name, reason)
    return found
