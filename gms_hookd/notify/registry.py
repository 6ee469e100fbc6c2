"""The kinds of targets that are reached over HTTP, each one's module by its name."""

from collections.abc import Mapping

from gms_hookd.notify import (
    dingtalk,
    discord,
    dockerhub,
    feishu,
    gotify,
    ntfy,
    packagist,
    ping,
    slack,
    teams,
    telegram,
    webhook,
    wecom,
)
from gms_hookd.notify.base import TargetKind

# A literal table, so that the type checker holds each module against TargetKind.
KINDS: Mapping[str, TargetKind] = {
    "slack": slack,
    "discord": discord,
    "dingtalk": dingtalk,
    "feishu": feishu,
    "wecom": wecom,
    "telegram": telegram,
    "teams": teams,
    "webhook": webhook,
    "ntfy": ntfy,
    "gotify": gotify,
    "ping": ping,
    "packagist": packagist,
    "dockerhub": dockerhub,
}
EMAIL = "email"  # by SMTP, see mail.py
NAMES = (*KINDS, EMAIL)
