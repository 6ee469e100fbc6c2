"""Packagist: a package's repository has changed. Page: packagist.org/apidoc.

`url` is empty or another Packagist's; options `username` and `repository`; the secret
is the API token. The content type must be exactly `application/json` there.
"""

from gms_hookd.notify.base import (
    JSON,
    Fate,
    Notice,
    SendResult,
    Target,
    VendorAnswer,
    VendorRequest,
    json_body,
    judged_by_status,
)
from gms_hookd.payload import load_json_body

NAME = "packagist"
PACE = 6.0
UPDATE = "https://packagist.org/api/update-package"


def render(notice: Notice, target: Target, now: float) -> VendorRequest:
    """Return the update; user and token go into a header, not the URL."""
    user = target.options.get("username", "")
    token = target.secrets[0] if target.secrets else ""
    headers = {**JSON, "Authorization": f"Bearer {user}:{token}"}
    body = {"repository": {"url": target.options.get("repository", "")}}
    return VendorRequest(target.url or UPDATE, json_body(body), headers)


def judge(answer: VendorAnswer) -> SendResult:
    """Return what the answer means: with any status, an error may be in the body."""
    verdict = judged_by_status(answer)
    if verdict.fate is not Fate.SENT:
        return verdict
    try:
        content = load_json_body(answer.body)
    except ValueError:
        return verdict
    said = content.get("status") if isinstance(content, dict) else None
    refused = said not in (None, "success")
    return SendResult(Fate.NEVER, f"it says {answer.text}") if refused else verdict
