"""What git prints for programs, read as bytes: refs and the results of a push."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pushed:
    """One line of `push --porcelain`: flag ' +-*=!', the target's ref, the words."""

    flag: str
    ref: str
    summary: str

    @property
    def reason(self) -> str:
        """What stands in brackets after the summary, "" where nothing does."""
        _, _, tail = self.summary.partition(" (")
        return tail.removesuffix(")")


def text(name: bytes) -> str:
    """Decode a ref name so that its very bytes can be given back to git."""
    return name.decode("utf-8", "surrogateescape")


def pushed(out: bytes) -> Iterator[Pushed]:
    """Read `push --porcelain`; other lines are passed over."""
    for line in out.split(b"\n"):
        fields = line.split(b"\t")
        if len(fields) == 3 and len(fields[0]) == 1:
            _, _, ref = fields[1].rpartition(b":")
            yield Pushed(text(fields[0]), text(ref), text(fields[2]))


def refs(out: bytes) -> Iterator[tuple[str, str]]:
    """Read lines of `<oid><space or tab><ref>` as (ref, oid), but no peeled tags."""
    for line in out.split(b"\n"):
        oid, _, name = line.replace(b"\t", b" ", 1).partition(b" ")
        if name and len(oid) in (40, 64) and not name.endswith(b"^{}"):
            yield text(name), oid.decode("ascii", "replace")


def symrefs(out: bytes) -> dict[str, str]:
    """Return where symbolic refs point, HEAD included, from `ls-remote --symref`."""
    lines = (line.partition(b"\t") for line in out.split(b"\n"))
    return {
        text(ref): text(name.removeprefix(b"ref: "))
        for name, _, ref in lines
        if ref and name.startswith(b"ref: ")
    }
