"""What is done now or later: the standard Future's face, and ways to chain.

A `concurrent.futures.Future` brings a condition variable, which costs more than most
of what is done with it here. This one has no lock, and makes what blocks only for who
blocks.
"""

import logging
from collections.abc import Callable
from functools import partial
from threading import Event
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")
log = logging.getLogger(__name__)


class Future(Generic[T]):
    """A value, or the exception that came instead; set once, from any thread."""

    __slots__ = ("_error", "_set", "_steps", "_value")

    def __init__(self) -> None:
        self._set = False
        self._steps: list[Callable[[Future[T]], object]] = []
        self._value: T | None = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        """Tell whether it is set."""
        return self._set

    def set_result(self, value: T) -> None:
        """Give the value, and do what waits for it, in this thread."""
        self._value = value
        self._set = True
        if self._steps:
            self._take_steps()

    def set_exception(self, error: BaseException) -> None:
        """Give what is raised instead of a value."""
        self._error = error
        self._set = True
        self._take_steps()

    def add_done_callback(self, step: "Callable[[Future[T]], object]") -> None:
        """Call `step` when it is set: now, or in the thread that sets it."""
        # First there, then looked: the thread that sets it looks in the other order.
        self._steps.append(step)
        if self._set:
            self._take_steps()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait, and give the exception if there is one; TimeoutError after seconds."""
        if not self._set:
            self._wait(timeout)
        return self._error

    def result(self, timeout: float | None = None) -> T:
        """Wait, and give the value or raise; TimeoutError after so many seconds."""
        if not self._set:
            self._wait(timeout)
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # it is set

    def _take_steps(self) -> None:
        while self._steps:
            try:
                # Of two threads that are here one gets it: a pop is atomic.
                step = self._steps.pop(0)
            except IndexError:
                return
            try:
                step(self)
            except Exception:
                # Not the fault of who set the value, the store's thread perhaps.
                log.exception("step failed")

    def _wait(self, timeout: float | None) -> None:
        event = Event()
        self.add_done_callback(lambda _: event.set())
        if not event.wait(timeout):
            raise TimeoutError


def done(value: A) -> Future[A]:
    """Give a future that holds `value` already."""
    future: Future[A] = Future()
    future.set_result(value)
    return future


def failed(error: BaseException) -> Future[A]:
    """Give a future that holds an exception already."""
    future: Future[A] = Future()
    future.set_exception(error)
    return future


def then(first: Future[A], step: Callable[[A], Future[B]]) -> Future[B]:
    """Do `step` with the result of `first`, in the thread that completes it."""
    future: Future[B] = Future()
    first.add_done_callback(partial(_step, step, future))
    return future


def apply(first: Future[A], function: Callable[[A], B]) -> Future[B]:
    """Give the result of `function` on the result of `first`."""
    future: Future[B] = Future()
    first.add_done_callback(partial(_apply, function, future))
    return future


def recover(first: Future[A], function: Callable[[BaseException], B]) -> Future[A | B]:
    """Give the result of `first`, or that of `function` on what it raised."""
    future: Future[A | B] = Future()

    def look(finished: Future[A]) -> None:
        error = finished.exception()
        if error is None:
            future.set_result(finished.result())
        else:
            _apply(function, future, done(error))

    first.add_done_callback(look)
    return future


def _step(
    step: Callable[[A], Future[B]], future: Future[B], finished: Future[A]
) -> None:
    try:
        following = step(finished.result())
    except BaseException as error:  # noqa: BLE001 - the future carries it on
        future.set_exception(error)
        return
    following.add_done_callback(partial(_copy, future))


def _apply(function: Callable[[A], B], future: Future[B], finished: Future[A]) -> None:
    try:
        value = function(finished.result())
    except BaseException as error:  # noqa: BLE001 - the future carries it on
        future.set_exception(error)
    else:
        future.set_result(value)


def _copy(future: Future[A], finished: Future[A]) -> None:
    error = finished.exception()
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(finished.result())
