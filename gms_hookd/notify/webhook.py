"""Standard Webhooks 1.0: signed JSON for whoever verifies by that specification.

Page: standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

import hashlib
import hmac

from gms_hookd.auth.signature import base64_text, standard_webhooks_key
from gms_hookd.notify import base

NAME = "webhook"
PACE = 0.2
GONE = 410


def render(notice: base.Notice, target: base.Target, now: float) -> base.VendorRequest:
    """Return the signed request: the same id at each attempt, a new time."""
    body = base.json_body(
        {
            "type": f"sync.{notice.event}",
            "timestamp": notice.timestamp,
            "data": notice.data,
        }
    )
    seconds = str(int(now))
    headers = {**base.JSON, "webhook-id": notice.key, "webhook-timestamp": seconds}
    signed = f"{notice.key}.{seconds}.".encode() + body
    signatures = [f"v1,{signature(secret, signed)}" for secret in target.secrets]
    if signatures:
        headers["webhook-signature"] = " ".join(signatures)
    return base.VendorRequest(target.url, body, headers)


def signature(secret: str, content: bytes) -> str:
    """Return base64 of the HMAC-SHA256 under a `whsec_` secret, or any other."""
    try:
        key = standard_webhooks_key(secret)
    except ValueError:
        key = secret.encode()
    return base64_text(hmac.new(key, content, hashlib.sha256).digest())


def judge(answer: base.VendorAnswer) -> base.SendResult:
    """Return what the answer means: a receiver that is being deployed may say 404."""
    verdict = base.judged_by_status(answer)
    if verdict.fate is base.Fate.NEVER and answer.status != GONE:
        return base.SendResult(base.Fate.AGAIN, verdict.reason)
    return verdict
