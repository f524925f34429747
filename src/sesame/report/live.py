"""The page on this machine's own address while a run trains: it is made anew when the run has something new."""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sesame.engine import checkpoint
from sesame.engine.run import CONFIG, METRICS, STATE, Run, is_run
from sesame.errors import UserError
from sesame.probes.table import ITEMS, VALUES
from sesame.report import page
from sesame.report.fills import Filled, fills
from sesame.report.folders import open_folders
from sesame.report.probe_figures import Part, parts
from sesame.report.probe_reading import Cohort
from sesame.report.reading import Pretraining
from sesame.report.report import compose

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
"""The address that only this machine reaches."""
_READ = (CONFIG, METRICS, STATE, "result.json", VALUES, ITEMS)
_LEAST_PAUSE, _SHARE = 5.0, 0.1
"""Seconds between two pages, and the share of one core's time that making them anew may take beside training."""


Clock = Callable[[], float]


class Live:
    """The newest page on `paths`, made when somebody asks for it and something has changed."""

    def __init__(
        self,
        paths: Sequence[Path],
        texts: Sequence[str] = (),
        clock: Clock = time.monotonic,
        work: Clock = time.process_time,
    ):
        self.paths, self.texts, self.clock, self.work = list(paths), list(texts), clock, work
        self._learned: tuple[str, list[Part]] = "", []
        self._filled: dict[tuple[Path, tuple[str, ...]], tuple[list[Filled], list[str]]] = {}
        self._one_at_a_time = threading.Lock()
        self._stamp, self._page, self._next = "", b"", 0.0

    def page(self) -> bytes:
        """The page, with its stamp in it."""
        self.stamp()
        return self._page

    def stamp(self) -> str:
        """Which page is the newest. Making one is put off while the last is younger than its cost allows."""
        with self._one_at_a_time:
            if self.clock() >= self._next and stamp_of(self.paths) != self._stamp:
                try:
                    self.make()
                except (UserError, OSError) as error:  # a folder that is being moved or mended: the last page stays
                    log.warning("%s The page stays as it was.", error)
                    self._next = self.clock() + _LEAST_PAUSE
            return self._stamp

    def state(self) -> str:
        """Whether there is more to come, for the page's own line."""
        states = [_training(path) for path in self.paths]
        if True in states:
            return f"Live, as of {time.strftime('%H:%M:%S')}."
        if None in states:
            return "A run cannot be read just now; these are the last numbers."
        return "Nothing is training any more; these are the last numbers."

    def make(self) -> None:
        """Make the page now. Raises UserError where a folder cannot be read."""
        began, stamp, first = self.work(), stamp_of(self.paths), not self._stamp
        report = compose(*open_folders(self.paths), self.texts, self._fill, self._learn)
        content = page.render(report, stamp).encode()
        cost = 0.0 if first else self.work() - began  # the first page pays for libraries and figures that are kept
        self._stamp, self._page = stamp, content
        self._next = self.clock() + max(_LEAST_PAUSE, cost / _SHARE)

    def _learn(self, found: Sequence[Cohort]) -> list[Part]:
        """The figures of measurements, which take longest: made again only where something was measured."""
        stamp = stamp_of(self.paths, (VALUES, ITEMS))
        if stamp != self._learned[0]:
            self._learned = stamp, parts(found)
        return self._learned[1]

    def _fill(self, run: Pretraining, texts: Sequence[str]) -> tuple[list[Filled], list[str]]:
        """Fill examples, which cost a forward pass of every checkpoint: made again only for new ones."""
        key = run.run.path, tuple(folder.name for folder in checkpoint.listed(run.run.checkpoints))
        if key not in self._filled:
            self._filled[key] = fills(run, texts)
        return self._filled[key]


def stamp_of(paths: Sequence[Path], names: Sequence[str] = _READ) -> str:
    """Changes when one of these files of a folder does, when it gets a checkpoint, or when its run ends."""
    digest = hashlib.blake2b(digest_size=8)
    for path in paths:
        for file in (*(path / name for name in names), *checkpoint.listed(path / "checkpoints")):
            try:
                found = file.stat()
            except OSError:
                continue
            digest.update(f"{file} {found.st_mtime_ns} {found.st_size}\n".encode())
        digest.update(f"{_training(path)}\n".encode())
    return digest.hexdigest()


def _training(path: Path) -> bool | None:
    """Whether a run in this folder is training; None where it cannot be read, as one that is moved or mended."""
    try:
        return is_run(path) and Run.open(path).is_live()
    except (UserError, OSError):
        return None


def server(live: Live, port: int) -> ThreadingHTTPServer:
    """A server of `live` at a port of this machine, 0 for any free one. Raises UserError where the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # Another site's page may have a name of its own lead here: this one is served by its own names alone.
            host = self.headers.get("Host", "").rsplit(":", 1)[0]
            if host not in (LOOPBACK, "localhost"):
                self.send_error(403, "Open this page by its own address.")
            elif self.path == "/":
                self.answer("text/html; charset=utf-8", live.page())
            elif self.path == "/stamp":
                said = {"stamp": live.stamp(), "state": live.state()}
                self.answer("application/json", json.dumps(said).encode())
            else:
                self.send_error(404)

        def answer(self, kind: str, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            log.debug(format, *args)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            log.debug("a request broke off", exc_info=True)  # a browser that was closed

    try:
        return Server((LOOPBACK, port), Handler)
    except (OSError, OverflowError) as error:
        raise UserError(f"--port {port} cannot be served ({error}). Choose another, or 0 for any free one.") from None
