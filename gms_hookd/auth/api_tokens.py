"""What a request's `Authorization` opens: every call, those that only look, or none."""

import enum
from dataclasses import dataclass, field

from gms_hookd.auth.signature import after_scheme, basic_credentials, matches


class Rights(enum.IntEnum):
    """What may be done; each may what those before it may."""

    NONE = 0
    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class Tokens:
    """The active tokens, those that write too and those that only read."""

    writing: tuple[str, ...] = field(default=(), repr=False)
    reading: tuple[str, ...] = field(default=(), repr=False)

    @property
    def most(self) -> Rights:
        """Return what the mightiest of the tokens opens; NONE if there is none."""
        if self.writing:
            return Rights.WRITE
        return Rights.READ if self.reading else Rights.NONE

    def rights(self, authorization: str | None) -> Rights:
        """Return what a header's value opens: `Bearer X`, `token X` (Gitea), or Basic.

        A browser sends Basic also with a form of another site: so it never writes. Its
        user may be any (RFC 7617: up to the first colon).
        """
        plain = after_scheme(authorization, "bearer") or after_scheme(
            authorization, "token"
        )
        password = (basic_credentials(authorization) or b"").partition(b":")[2]
        # No comparison is skipped.
        writes = matches(plain, self.writing)
        reads = matches(plain or password, (*self.writing, *self.reading))
        if writes:
            return Rights.WRITE
        return Rights.READ if reads else Rights.NONE
