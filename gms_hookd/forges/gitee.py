"""Gitee: a signature over time and secret, or a password; the body is not covered.

Page: gitee.com/help/articles/4186 and 4290 (the signature).
"""

from collections.abc import Mapping
from dataclasses import replace

from gms_hookd.auth.schemes import GiteeSignature, Scheme, TokenHeader
from gms_hookd.forges import payloads as read
from gms_hookd.forges.base import Event

NAME = "gitee"
EVENTS = "Push and Tag Push"
SCHEMES: Mapping[str, Scheme] = {
    "signature": GiteeSignature(place="WebHook password/signature: signature"),
    "password": TokenHeader(
        place="WebHook password/signature: password", header="x-gitee-token"
    ),
}
URLS = (*read.GITHUB_URLS, "git_http_url", "git_ssh_url", "homepage", "url")
sample = read.hook_sample("x-gitee-event", read.github_like)


def parse(headers: Mapping[str, str], payload: object) -> Event:
    """Return what the delivery says."""
    given = read.header(headers, "x-gitee-event", "x-git-oschina-event")
    name = given or read.text(payload, "hook_name") or ""
    urls = [
        u
        for b in ("repository", "project")
        for u in read.texts(read.at(payload, b), *URLS)
    ]
    # The time is the one signed thing that differs between two deliveries.
    delivery = read.key(headers, "x-gitee-timestamp", "x-request-id")
    event = Event(name, delivery, tuple(dict.fromkeys(urls)))
    if headers.get("x-gitee-ping", "").lower() == "true":
        return replace(event, ignored="a test delivery")
    return READERS.get(read.words(name), read.ignored(read.NO_CHANGE))(event, payload)


READERS: Mapping[str, read.Reader] = {
    "push": read.push,
    "tag push": read.push,
    "merge request": read.ignored(read.MERGE),
}
