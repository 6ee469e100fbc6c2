"""safetext/: text that is safe to log, to store and to show.

`text`: one line, escaped, cut. `shapes`: what a secret looks like to somebody who does
not know it, `addresses` in a URL. `mask`: the configured secrets, found in any
spelling. What comes from outside is masked whole, and cut after that. `journald` tells
whether the text goes to the journal.
Names: one_line, quoted, safe, without_logins, Mask.

May import: nothing.
"""

from gms_hookd.safetext.shapes import (
    HIDDEN,
    hidden,
    without_fields,
    without_logins,
    without_tokens,
)
from gms_hookd.safetext.text import (
    REASON_LIMIT,
    flattened,
    one_line,
    quoted,
    reason,
    safe,
    safe_lines,
)

__all__ = [
    "HIDDEN", "REASON_LIMIT", "flattened", "hidden", "one_line", "quoted", "reason",
    "safe", "safe_lines", "without_fields", "without_logins", "without_tokens",
]  # fmt: skip
