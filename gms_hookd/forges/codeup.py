"""Codeup (Aliyun): a token, and GitLab's bodies.

Page: help.aliyun.com/document_detail/153875.html.
"""

from collections.abc import Mapping

from gms_hookd.auth.schemes import Scheme, TokenHeader
from gms_hookd.forges import gitlab_family
from gms_hookd.forges.base import Event
from gms_hookd.forges.payloads import gitlab_like, header, hook_sample, key

NAME = "codeup"
EVENTS = gitlab_family.EVENTS
SCHEMES: Mapping[str, Scheme] = {
    "token": TokenHeader(place="Secret Token", header="x-codeup-token"),
}
sample = hook_sample("x-codeup-event", gitlab_like)


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    name = header(headers, "x-codeup-event", "codeup-event")
    return gitlab_family.read(Event(name, key(headers, "x-codeup-delivery")), payload)
