"""Whether what is written goes to the journal of systemd (systemd.exec(5))."""

import os
from collections.abc import Mapping
from typing import TextIO


def under_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether `stream` is the connection to the journal that systemd made."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
