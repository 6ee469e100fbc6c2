"""The one style sheet, and the policy that a page is sent with.

Colours have a contrast of at least 4.5 to 1 on their grounds (WCAG 2.2, 1.4.3), light
and dark. On a narrow screen a table becomes a list of cards.
"""

import pkgutil
from base64 import b64encode
from hashlib import sha256

STYLE = "\n" + (pkgutil.get_data("gms_hookd.pages", "style.css") or b"").decode()
_DIGEST = b64encode(sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
