"""Errors by boundary: those that end a command, of the store, of asking somebody.

What the store refuses, each kind with the HTTP status that tells it best.
"""

from gms_hookd.safetext import hidden, one_line


class Failure(Exception):
    """It did not work; the text is one line for the operator."""

    exit_status = 1


class StoreError(Failure):
    """A refusal of the store; the text is one line for the user."""

    status = 500


class Invalid(StoreError):
    """What is asked for makes no sense."""

    status = 400


class NotFound(StoreError):
    """There is no such task, run or delivery."""

    status = 404


class Conflict(StoreError):
    """What is asked for contradicts what is there."""

    status = 409


class Unavailable(StoreError):
    """Nothing can be committed now: disk full, file locked, shutting down."""

    status = 503


class ClientError(Failure):
    """Nobody answered as was expected; the text is one line for the operator."""


class UnreachableError(ClientError):
    """Nobody listens there: nothing was sent."""


class SilentError(ClientError):
    """Somebody listens there and does not answer in time."""


class ConfigError(Failure):
    """A configuration that is refused; the text is one line: name, problem, remedy."""

    exit_status = 2

    def __init__(self, message: str, setting: tuple[str, ...] = ()) -> None:
        super().__init__(one_line(hidden(message)))
        self.setting = setting  # its name, where it is about one
