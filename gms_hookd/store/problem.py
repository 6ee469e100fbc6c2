"""What the store refuses, each kind with the HTTP status that tells it best."""

from gms_hookd.failure import Failure


class StoreError(Failure):
    """A refusal of the store; the text is one line for the user."""

    status = 500


class Invalid(StoreError):
    """What is asked for makes no sense."""

    status = 400


class Missing(StoreError):
    """There is no such task, run or delivery."""

    status = 404


class Clash(StoreError):
    """What is asked for contradicts what is there."""

    status = 409


class Unavailable(StoreError):
    """Nothing can be committed now: disk full, file locked, shutting down."""

    status = 503
