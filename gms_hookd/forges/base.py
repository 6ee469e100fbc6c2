"""What a delivery says, as values, and the shape that every forge's module has."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gms_hookd.auth.schemes import Scheme

ANY_HOST = "*:"


class EventKind(StrEnum):
    """What became of a ref."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Change:
    """One changed ref by its full name; an id is None where unknown or absent."""

    ref: str
    kind: EventKind
    before: str | None = None
    after: str | None = None
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """What a delivery says.

    `urls` are addresses of the repository, for matching and never for cloning; one that
    starts with `*:` is a path on a host that the sender does not tell. `everything`:
    something changed, unknown what. `tasks` are ids or names in the payload itself.
    `ignored` says why there is nothing to do. `warning` is for the tasks whose source
    is one of the addresses `former`: the repository has left them.
    """

    name: str
    delivery_key: str | None = None
    urls: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    everything: bool = False
    tasks: tuple[int | str, ...] = ()
    ignored: str | None = None
    warning: str | None = None
    former: tuple[str, ...] = ()
    callback: str | None = None


@dataclass(frozen=True, slots=True)
class SampleDelivery:
    """A delivery as the forge would send it, not yet signed."""

    headers: Mapping[str, str]
    payload: Mapping[str, object]


class Forge(Protocol):
    """A module per provider. The first of its schemes is the default.

    `events` says what to tick in the forge's settings.
    """

    NAME: str
    EVENTS: str
    SCHEMES: Mapping[str, Scheme]

    def parse(self, headers: Mapping[str, str], payload: object) -> Event:
        """Return what the delivery says; never raises."""

    def sample(self, url: str, ref: str) -> SampleDelivery:
        """Return a push to `ref` of the repository at `url`."""
