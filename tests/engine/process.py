"""Real `sesame` processes for the tests, forked from a server that has imported everything once."""

import multiprocessing
import os
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["torch", "torch._dynamo", "sesame.cli.main", "sesame.cli.pretrain", "sesame.engine.start"]
)


def sesame(*words: object, log: Path | None = None, env: dict[str, str] | None = None) -> multiprocessing.Process:
    """Start `sesame WORD…`; what it says goes to `log`."""
    process = _context.Process(target=_main, args=([str(word) for word in words], log, env or {}))
    process.start()
    return process


def _main(words: list[str], log: Path | None, env: dict[str, str]) -> None:
    os.environ.update(env)
    from sesame.cli.main import main

    to = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(to, 1)
    os.dup2(to, 2)
    raise SystemExit(main(words))
