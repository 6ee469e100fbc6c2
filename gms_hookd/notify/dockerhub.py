"""Docker Hub's callback: how the runs of a delivery ended.

Page: docs.docker.com/docker-hub/repos/manage/webhooks, Validate a webhook callback.
"""

from gms_hookd.notify.base import (
    Level,
    Notice,
    Target,
    VendorRequest,
    cut,
    json_body,
    judged_by_status,
)

NAME = "dockerhub"
PACE = 0.2
LONGEST = 255  # characters of a description
judge = judged_by_status


def target_name(hook: str) -> str:
    """Return what the target is called that hears how the runs of a hook ended."""
    return f"{NAME}:{hook}"


def render(notice: Notice, target: Target, now: float) -> VendorRequest:
    """Return the state that the chain of webhooks waits for."""
    good = notice.level in (Level.GOOD, Level.CHANGED)
    body = {
        "state": "success" if good else "failure",
        "description": cut(notice.reason or notice.title, LONGEST),
        "context": "gms-hookd",
    }
    return VendorRequest(target.url, json_body(body))
