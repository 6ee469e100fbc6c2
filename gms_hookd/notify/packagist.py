"""Packagist: a package's repository has changed. Page: packagist.org/apidoc.

`url` is empty or another Packagist's; options `username` and `repository`; the secret
is the API token. The content type must be exactly `application/json` there.
"""

from gms_hookd.notify import base
from gms_hookd.payload import load_json_body

NAME = "packagist"
PACE = 6.0
UPDATE = "https://packagist.org/api/update-package"


def render(notice: base.Notice, target: base.Target, now: float) -> base.VendorRequest:
    """Return the update; user and token go into a header, not the URL."""
    user = target.options.get("username", "")
    token = target.secrets[0] if target.secrets else ""
    headers = {**base.JSON, "Authorization": f"Bearer {user}:{token}"}
    body = {"repository": {"url": target.options.get("repository", "")}}
    return base.VendorRequest(target.url or UPDATE, base.json_body(body), headers)


def judge(answer: base.VendorAnswer) -> base.SendResult:
    """Return what the answer means: with any status, an error may be in the body."""
    verdict = base.judged_without_page(answer)
    if verdict.fate is not base.Fate.SENT:
        return verdict
    try:
        content = load_json_body(answer.body)
    except ValueError:
        return verdict
    said = content.get("status") if isinstance(content, dict) else None
    if said not in (None, "success"):
        return base.SendResult(base.Fate.NEVER, f"it says {answer.text}")
    return verdict
