"""A glance at a repository on this machine, which costs no git process."""

from collections.abc import Mapping
from pathlib import Path

FEW = 100  # refs; more are not worth so many files


def differs(path: str, tips: Mapping[str, str]) -> bool:
    """Tell whether refs may be others than these: packed ones and the like may be."""
    return len(tips) <= FEW and any(_loose(path, r) != o for r, o in tips.items())


def _loose(path: str, ref: str) -> str | None:
    for folder in (Path(path, ".git"), Path(path)):
        try:
            return (folder / ref).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
    return None
