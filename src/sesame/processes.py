"""Other Python processes that compute, without the traps of the standard library's pools.

They do not import the program that started them, which therefore needs no guard; they end when it ends, however that
happens; and one that is ended from outside is an error and no endless wait.
"""

import os
import pickle
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import chain, islice
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from sesame.errors import UserError

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool(Generic[Argument, Result]):
    """`count` processes, started at the first use of `map`. Leave the pool, or an exception does, and they end.

    `make()` is called once in each and gives the function that is mapped; it, arguments and results must pickle.
    `doing` and `hint` are for the error message about a process that is ended from outside: what it was doing, and how
    to avoid it.
    """

    def __init__(self, count: int, make: Callable[[], Callable[[Argument], Result]], doing: str, hint: str):
        self.count, self.make, self.doing, self.hint = count, make, doing, hint
        self.stack = ExitStack()
        self.free: SimpleQueue[_Worker] = SimpleQueue()
        self.threads: ThreadPoolExecutor | None = None

    def map(self, arguments: Iterable[Argument]) -> Generator[Result]:
        """The function of each, in order. Raises what a worker raises.

        Work on the first begins at once; on others a few ahead of what has been taken.
        """
        if self.threads is None:
            self.threads = self.stack.enter_context(ThreadPoolExecutor(self.count))  # they only wait for their workers
            for _ in range(self.count):
                self.free.put(self.stack.enter_context(_Worker(self.make, self.doing, self.hint)))
        begun = (self.threads.submit(self._ask, argument) for argument in arguments)
        return _in_order(deque(islice(begun, 2 * self.count)), begun)

    def _ask(self, argument: Argument) -> Result:
        worker = self.free.get()
        try:
            result: Result = worker(argument)
            return result
        finally:
            self.free.put(worker)

    def __enter__(self) -> "Pool[Argument, Result]":
        return self

    def __exit__(self, *error: Any) -> None:
        if self.threads is not None:
            self.threads.shutdown(wait=False, cancel_futures=True)
        self.stack.close()


def here_or_on_all_cores(
    arguments: Iterator[Argument],
    here: Callable[[], Callable[[Argument], Result]],
    make: Callable[[], Callable[[Argument], Result]],
    alone: int,
    doing: str,
    hint: str,
) -> Generator[Result]:
    """The function of each argument, in order: in this process, made by `here`, where there are at most `alone`; where
    there are more, in a `Pool` of all cores. Close the generator when it is left early: that ends its workers.
    """
    first = list(islice(arguments, alone + 1))
    much, arguments = len(first) > alone, chain(first, arguments)
    del first
    if much and (count := cores()) > 1:
        with Pool(count, make, doing, hint) as pool:
            yield from pool.map(arguments)
    else:
        yield from map(here(), arguments)


def _in_order(begun: deque[Future[Result]], others: Iterator[Future[Result]]) -> Generator[Result]:
    """What came of those that are begun, and of the others, of which one is begun for each that is taken."""
    while begun:
        begun.extend(islice(others, 1))
        yield begun.popleft().result()


class _Worker:
    def __init__(self, make: Callable[[], Callable[[Any], Any]], doing: str, hint: str):
        told = {"TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | told,
            start_new_session=True,  # Ctrl-C is for the process that started it
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.to, self.answers = self.process.stdin, self.process.stdout
        self.first: Callable[[], Callable[[Any], Any]] | None = make
        self.doing, self.hint = doing, hint

    def __enter__(self) -> "_Worker":
        return self

    def __call__(self, argument: Any) -> Any:
        try:
            for told in (self.first, argument):
                if told is not None:
                    pickle.dump(told, self.to, pickle.HIGHEST_PROTOCOL)
            self.first = None
            self.to.flush()
            answer = pickle.load(self.answers)
        except (BrokenPipeError, EOFError, pickle.UnpicklingError) as error:
            raise UserError(
                f"A process that was {self.doing} ended early (status {self.process.wait()}), probably because memory "
                f"ran out. {self.hint}"
            ) from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        with suppress(BrokenPipeError):  # what it had not read yet
            self.to.close()
        self.answers.close()
        self.process.wait()


def serve() -> None:
    """A worker: reads what makes the function and then its arguments from stdin, writes a result for each to stdout."""
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may write among the answers
    try:
        function = pickle.load(asked)()
        while True:
            argument = pickle.load(asked)
            try:
                answer = function(argument)
            except Exception as error:
                error.add_note(traceback.format_exc())
                answer = error
            pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
    except (EOFError, pickle.UnpicklingError, BrokenPipeError):
        os._exit(0)  # whoever asked is gone, and with it whoever would read what is left to write
