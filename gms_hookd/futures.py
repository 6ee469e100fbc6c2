"""What is done now or later, chained: the standard Future with a `then`."""

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def done(value: A) -> Future[A]:
    """Give a future that holds `value` already."""
    future: Future[A] = Future()
    future.set_result(value)
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


def _step(
    step: Callable[[A], Future[B]], future: Future[B], finished: Future[A]
) -> None:
    try:
        following = step(finished.result())
    except BaseException as error:  # noqa: BLE001 - the future carries it on
        future.set_exception(error)
        return
    if following.done():
        _copy(future, following)
    else:
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
