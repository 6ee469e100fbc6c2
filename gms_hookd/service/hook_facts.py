"""What people are to know of the configured hooks: what to enter at the forge."""

from collections.abc import Iterator

from gms_hookd.config.records import Config, HookConfig
from gms_hookd.forges.registry import FORGES, scheme_of
from gms_hookd.pages.hook import HookFacts

GMS_PLACE = "signs the body: X-Hub-Signature-256"
GMS_EVENTS = 'POST {"task_id": N}'


def described(config: Config) -> Iterator[HookFacts]:
    """Return what a page says of each hook."""
    own = config.webhook
    url = config.server.hook_url(own.name)
    yield HookFacts(own.name, own.provider, url, GMS_PLACE, GMS_EVENTS)
    for hook in config.hooks:
        yield _described(config, hook)


def _described(config: Config, hook: HookConfig) -> HookFacts:
    place = ""
    if hook.secrets:
        scheme = scheme_of(hook.provider, hook.scheme, hook.secrets, hook.options)
        place = scheme.place
    tasks = None if hook.tasks is None else tuple(map(str, hook.tasks))
    url = config.server.hook_url(hook.name)
    events = FORGES[hook.provider].EVENTS
    return HookFacts(hook.name, hook.provider, url, place, events, tasks)
