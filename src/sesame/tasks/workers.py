"""Trainings side by side, each in a process of its own with its share of the threads.

The matrix products of a small network are too short for several threads to share: two trainings on a thread each get
done sooner than one after the other on two threads.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

import torch

from sesame.engine import machine, products
from sesame.processes import Pool, cores

Job = TypeVar("Job")
Result = TypeVar("Result")


class Workers:
    """`count` processes, started when they are first needed; a single one is the process that asks.

    `doing` is for the error message about one that is ended from outside.
    """

    def __init__(self, count: int = 1, threads: int = 0, doing: str = "fine-tuning"):
        self.count, self.doing = count, doing
        self.threads = max(1, (threads or cores()) // count)
        self.products = products.fastest(self.threads)
        self.pool: Pool[Any, Any] | None = None

    def map(self, function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """function(job) for each, in order. Several workers begin at once; what they are told and say must pickle."""
        if self.count == 1:
            return map(partial(self._here, function), jobs)
        if self.pool is None:
            make = partial(_begin, self.threads, self.products, logging.getLogger("sesame").getEffectiveLevel())
            self.pool = Pool(self.count, make, self.doing, f"Give fewer than {self.count} --workers.")
        return self.pool.map((function, job) for job in jobs)

    def _here(self, function: Callable[[Job], Result], job: Job) -> Result:
        with products.using(self.products):
            return function(job)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: Any) -> None:
        if self.pool is not None:
            self.pool.__exit__(*error)


def _begin(threads: int, kind: products.Products, level: int) -> Callable[[tuple[Callable[[Any], Any], Any]], Any]:
    logging.basicConfig(level=level, format="%(message)s")
    torch.set_num_threads(threads)
    products.use(kind)
    machine.keep_freed_memory()
    return _call


def _call(told: tuple[Callable[[Any], Any], Any]) -> Any:
    function, job = told
    return function(job)
