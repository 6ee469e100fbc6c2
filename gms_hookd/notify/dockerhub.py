"""Docker Hub's callback: how the runs of a delivery ended.

Page: docs.docker.com/docker-hub/repos/manage/webhooks, Validate a webhook callback.
"""

from gms_hookd.notify import base

NAME = "dockerhub"
PACE = 0.2
LONGEST = 255  # characters of a description
judge = base.judged_by_status


def target_name(hook: str) -> str:
    """Return what the target is called that hears how the runs of a hook ended."""
    return f"{NAME}:{hook}"


def render(notice: base.Notice, target: base.Target, now: float) -> base.VendorRequest:
    """Return the state that the chain of webhooks waits for."""
    good = notice.level in (base.Level.GOOD, base.Level.CHANGED)
    body = {
        "state": "success" if good else "failure",
        "description": base.cut(notice.reason or notice.title, LONGEST),
        "context": "gms-hookd",
    }
    return base.VendorRequest(target.url, base.json_body(body))
