"""The commands about hooks: what to enter at the forge, a secret, a test delivery."""

import base64
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from gms_hookd.auth import signature
from gms_hookd.auth.schemes import Scheme
from gms_hookd.cli import configuration, render
from gms_hookd.cli.api_client import Api, get
from gms_hookd.cli.session import Args, Session, api_of, task_id, which
from gms_hookd.cli.terminal import Style
from gms_hookd.cli.trigger import content_of, destination, reached, refusal
from gms_hookd.config.load import faults
from gms_hookd.config.records import GMS_HOOK, Config, HookConfig
from gms_hookd.contract import HOOKS
from gms_hookd.errors import Failure
from gms_hookd.forges.base import Forge
from gms_hookd.forges.registry import FORGES, default_scheme, scheme_of
from gms_hookd.http import client as http_client
from gms_hookd.http.control import JSON_HEADERS, PATIENCE
from gms_hookd.model import LARGEST_ID
from gms_hookd.safetext import safe
from gms_hookd.safetext.mask import Mask

NOWHERE = "https://example.invalid/gms-hookd/test.git"
ANY_SECRET = ("0" * 64,)
GMS_EVENTS = '(a POST of `{"task_id": N}`)'
NO_URL = 'set server.public_url = "https://HOST", which forges can call'
UNKNOWN_TASK = LARGEST_ID
GMS_PLACE = "signs the body: X-Hub-Signature-256"


@dataclass(frozen=True, slots=True)
class HookEntry:
    """One configured hook of a forge, with its one scheme."""

    settings: HookConfig
    forge: Forge
    scheme_name: str
    scheme: Scheme


def hook_of(settings: HookConfig) -> HookEntry:
    """Find forge and scheme of a hook's settings, which were checked when read."""
    known = settings.secrets or ANY_SECRET
    provider = settings.provider
    scheme = scheme_of(provider, settings.scheme, known, settings.options)
    name = settings.scheme or default_scheme(provider, known)
    return HookEntry(settings, FORGES[provider], name, scheme)


def hook_list(session: Session, args: Args) -> int:
    """List the hooks with what to enter at the forge, and their last delivery."""
    settings = configuration.read(session)
    with api_of(session) as api:
        found = [
            {**hook, "last_delivery": _last(api, hook["name"])}
            for hook in _hooks(settings)
        ]
    return session.show(args, found, hooks)


def _hooks(settings: Config) -> list[dict[str, Any]]:
    own = {
        "name": settings.webhook.name,
        "provider": settings.webhook.provider,
        "scheme": "signature",
        "url": settings.server.hook_url(settings.webhook.name),
        "secret_place": GMS_PLACE,
        "events": GMS_EVENTS,
        "tasks": None,
    }
    return [own, *(_entry(settings, hook_of(hook)) for hook in settings.hooks)]


def _entry(settings: Config, hook: HookEntry) -> dict[str, Any]:
    named = hook.settings.tasks
    return {
        "name": hook.settings.name,
        "provider": hook.settings.provider,
        "scheme": hook.scheme_name,
        "url": settings.server.hook_url(hook.settings.name),
        "secret_place": hook.scheme.place,
        "events": hook.forge.EVENTS,
        "tasks": None if named is None else list(named),
    }


def _last(api: Api, name: str) -> Any:
    return next(iter(get(api, "deliveries", hook=name, limit=1)), None)


def hooks(found: list[dict[str, Any]], style: Style) -> str:
    """Write the list for people: one block for each hook."""
    return "\n\n".join(_block(hook, style) for hook in found)


def _block(hook: Mapping[str, Any], style: Style) -> str:
    return render.record(
        [
            ("hook", f"{hook['name']} ({hook['provider']}, {hook['scheme']})"),
            ("url", hook["url"] or f"?{HOOKS}{hook['name']} ({NO_URL})"),
            ("secret", hook["secret_place"]),
            ("events", hook["events"]),
            ("tasks", hook["tasks"] and ", ".join(map(str, hook["tasks"]))),
            ("last", _came(hook["last_delivery"])),
        ]
    )


def _came(last: Mapping[str, Any] | None) -> str:
    if last is None:
        return "no delivery yet"
    return f"{render.when(last['received_at'])} {last['status']} {last['reason']}"


def hook_secret(session: Session, args: Args) -> int:
    """Print a new random secret, of the form that the hook's scheme needs."""
    # Its file may be one that is still to be filled.
    settings, _ = faults(partial(configuration.read, session))
    found = [hook for hook in settings.hooks if hook.name == args.name]
    session.say(new_secret(_wants_key(found[0] if found else None, args.name)))
    if session.out.isatty():
        session.say(f"\nEnter it at the sender, and put it under [hooks.{args.name}]")
        session.say("in a file that only the service can read: secret_file = ...")
    return 0


def _wants_key(hook: HookConfig | None, name: str) -> bool:
    """Tell whether the scheme takes base64 behind `whsec_`."""
    if hook is None:
        return name in {"standard-webhooks", "svix"}
    return hook.provider in {"standard-webhooks", "svix"} or hook.scheme == "signing"


def new_secret(key: bool) -> str:
    """Make a secret of 32 random bytes, fit for a URL; or a Standard Webhooks key."""
    if key:
        return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    made = secrets.token_urlsafe(32)
    while made.startswith("-"):  # as an argument it would be taken for an option
        made = secrets.token_urlsafe(32)
    return made


def hook_test(session: Session, args: Args) -> int:
    """Send a correctly signed push to a hook; print what it was answered with."""
    settings = configuration.read(session)
    if args.name == GMS_HOOK:
        return _test_own(session, args, settings)
    hook = _named(settings, args.name)
    source, ref = _about(session, args.task)
    sample = hook.forge.sample(source, ref)
    body = json.dumps(sample.payload).encode()
    proof = hook.scheme.sign(body, hook.settings.secrets[0], time.time())
    url, certificate = destination(args.url, lambda: settings, args.name)
    if proof.key:
        url += f"{'&' if '?' in url else '?'}key={proof.key}"
    headers = {**JSON_HEADERS, **sample.headers, **proof.headers}
    sent = proof.body or body
    with reached(session, args):
        posted = http_client.send(url, sent, _wire(headers), PATIENCE, certificate)
    mask = Mask(hook.settings.secrets)  # who answers 404 may repeat the address
    return _answered(session, args, posted, mask)


def _test_own(session: Session, args: Args, settings: Config) -> int:
    """Send a signed trigger; without a task one that starts none."""
    if not settings.webhook.secrets:
        raise Failure("webhook.secret: none is configured: gms-hookd serve makes one")
    secret = settings.webhook.secrets[0]
    number = UNKNOWN_TASK
    if args.task is not None:
        with api_of(session) as api:
            number = task_id(api, args.task)
    body = b'{"task_id": %d}' % number
    url, certificate = destination(args.url, lambda: settings, GMS_HOOK)
    signed = signature.sign(secret, body)
    with reached(session, args):
        posted = http_client.post_signed(url, body, signed, PATIENCE, certificate)
    answer = content_of(posted)
    if posted.status == 404 and answer.get("error") == f"no task {number}":
        answer = {"message": "the signature is accepted; --task TASK starts a run"}
    elif posted.status != 200:
        raise refusal(posted, Mask((secret,)))
    return session.show(args, answer, lambda said, _: safe(said["message"]))


def _named(settings: Config, name: str) -> HookEntry:
    found = [hook for hook in settings.hooks if hook.name == name]
    if not found:
        known = ", ".join(hook.name for hook in settings.hooks) or "none is configured"
        raise Failure(f"no hook {name!r} in the configuration: {known}")
    if not found[0].secrets:
        raise Failure(f"hooks.{name}.secret: none is configured")
    return hook_of(found[0])


def _about(session: Session, task: str | None) -> tuple[str, str]:
    """Return the repository and the ref that the test push is about."""
    if task is None:
        return NOWHERE, "refs/heads/main"
    with api_of(session) as api:
        found = get(api, "task", **which(task))
    branch = found["source_branch"] or "main"
    return found["source"], f"refs/heads/{branch}"


def _wire(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers whose UTF-8 bytes HTTP sends as they are."""
    return {name: text.encode().decode("latin-1") for name, text in headers.items()}


def _answered(
    session: Session, args: Args, posted: http_client.Posted, mask: Mask
) -> int:
    answer = content_of(posted)
    if posted.status != 200 or "delivery_id" not in answer:
        raise refusal(posted, mask)
    return session.show(args, answer, _accepted)


def _accepted(answer: Mapping[str, Any], style: Style) -> str:
    runs = ", ".join(f"run {number}" for number in answer["run_ids"])
    taken = f"delivery {answer['delivery_id']}: {answer['message']}"
    return safe(f"{taken}: {runs}" if runs else taken)
