import base64
import csv
import hmac
import json
import os
import random
from inspect import signature
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from gms_hookd.auth.schemes import Incoming, Scheme
from gms_hookd.forges.base import Event, Forge
from gms_hookd.forges.payloads import is_hex
from gms_hookd.forges.registry import FORGES, default_scheme, scheme_of
from gms_hookd.payload import PayloadError, decode
from gms_hookd.web.matching import places
from tests.support.deliveries import (
    HTTPS,
    MAIN,
    OTHERS,
    PAGE,
    SENT,
    SSH,
    TAG,
    A,
    B,
    changed,
    github_like,
    mutants,
    paths,
    push,
)

PAYLOADS = os.environ.get("GMS_HOOKD_PAYLOADS", "")
NOW = 1_700_000_000.5
SECRET = "sëcret number one"
WHSEC = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
BODY = b'{"ref":"refs/heads/main","note":"\xc3\xa9"}'

PROVIDERS = {
    "github",
    "gitlab",
    "gitea",
    "forgejo",
    "gogs",
    "gitee",
    "bitbucket-cloud",
    "bitbucket-server",
    "coding",
    "dockerhub",
    "msr",
    "azuredevops",
    "codeup",
    "tgit",
    "gitcode",
    "argo-events",
    "standard-webhooks",
    "svix",
    "convoy",
    "hookdeck",
    "generic",
}


def mac(secret, body, algorithm="sha256"):
    key = secret if isinstance(secret, bytes) else secret.encode()
    return hmac.new(key, body, algorithm)


def hexed(secret, body, algorithm="sha256"):
    return mac(secret, body, algorithm).hexdigest()


def b64(digest):
    return base64.b64encode(digest).decode()


def wire(text):
    """A header as HTTP hands it over: its bytes read as latin-1."""
    return text.encode().decode("latin-1")


def standard(family, secret, body, now=NOW):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    stamp = str(int(now))
    signature = b64(mac(key, f"msg_1.{stamp}.".encode() + body).digest())
    values = {"id": "msg_1", "timestamp": stamp, "signature": f"v1,{signature}"}
    return {f"{family}-{name}": value for name, value in values.items()}


def gitee(secret, body, now=NOW):
    stamp = str(int(now * 1000))
    signature = b64(mac(secret, f"{stamp}\n{secret}".encode()).digest())
    return {"x-gitee-timestamp": stamp, "x-gitee-token": signature}


def advanced(secret, body, now=NOW):
    stamp = str(int(now))
    signature = hexed(secret, f"{stamp},".encode() + body)
    return {"x-convoy-signature": f"t={stamp},v1={signature}"}


def basic(pair):
    return {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


HUB = "x-hub-signature-256"


def hub(prefix, header="x-hub-signature", algorithm="sha256"):
    return lambda s, b: {header: prefix + hexed(s, b, algorithm)}


def plain(header):
    return lambda s, b: {header: wire(s)}


# (provider, scheme, secret, how the forge proves a body)
SCHEMES = [
    ("github", None, SECRET, hub("sha256=", "x-hub-signature-256")),
    ("gitlab", None, SECRET, plain("x-gitlab-token")),
    ("gitlab", None, WHSEC, lambda s, b: standard("webhook", s, b)),
    ("gitea", None, SECRET, hub("", "x-gitea-signature")),
    ("gitea", "bearer", SECRET, lambda s, b: {"authorization": wire("Bearer " + s)}),
    ("forgejo", None, SECRET, hub("", "x-forgejo-signature")),
    ("gogs", None, SECRET, hub("", "x-gogs-signature")),
    ("gitee", None, SECRET, gitee),
    ("gitee", "password", SECRET, plain("x-gitee-token")),
    ("bitbucket-cloud", None, SECRET, hub("sha256=")),
    ("bitbucket-server", None, SECRET, hub("sha256=")),
    ("coding", None, SECRET, hub("sha1=", "x-coding-signature", "sha1")),
    ("azuredevops", None, SECRET, lambda s, b: basic("anyone:" + s)),
    ("azuredevops", None, "ann:pw", lambda s, b: basic(s)),
    (
        "azuredevops",
        "bearer",
        SECRET,
        lambda s, b: {"authorization": wire("bearer " + s)},
    ),
    ("codeup", None, SECRET, plain("x-codeup-token")),
    ("tgit", None, SECRET, plain("x-token")),
    ("gitcode", None, SECRET, hub("sha256=", "x-gitcode-signature-256")),
    ("gitcode", "token", SECRET, plain("x-gitcode-token")),
    ("argo-events", None, SECRET, lambda s, b: {"authorization": wire("Bearer " + s)}),
    ("standard-webhooks", None, WHSEC, lambda s, b: standard("webhook", s, b)),
    ("svix", None, WHSEC, lambda s, b: standard("svix", s, b)),
    ("convoy", None, SECRET, advanced),
    ("convoy", "simple", SECRET, hub("", "x-convoy-signature")),
    (
        "hookdeck",
        None,
        SECRET,
        lambda s, b: {"x-hookdeck-signature": b64(mac(s, b).digest())},
    ),
    ("generic", None, SECRET, hub("sha256=", "x-hub-signature-256")),
    ("generic", "bearer", SECRET, lambda s, b: {"authorization": wire("Bearer " + s)}),
    ("generic", "basic", SECRET, lambda s, b: basic(":" + s)),
]
UNCOVERED = {
    "x-gitlab-token",
    "x-gitee-token",
    "x-codeup-token",
    "x-token",
    "x-gitcode-token",
    "authorization",
}


def each(schemes):
    ids = [f"{p}-{name or 'default'}-{i}" for i, (p, name, *_) in enumerate(schemes)]
    return pytest.mark.parametrize(
        ("provider", "name", "secret", "prove"), schemes, ids=ids
    )


each_scheme = each(SCHEMES)
each_signed = each([s for s in SCHEMES if not UNCOVERED & set(s[3](s[2], BODY))])


def verify(
    provider, name, secrets, headers, body=BODY, *, key=None, now=NOW, **options
):
    scheme = scheme_of(provider, name, secrets, options)
    return scheme.verify(Incoming(body, headers, now, key), secrets)


def test_every_provider_of_the_contract_is_there_under_its_own_name():
    assert set(FORGES) == PROVIDERS
    assert all(name == forge.NAME for name, forge in FORGES.items())


@pytest.mark.parametrize("provider", FORGES)
def test_every_provider_has_the_shape_of_a_forge(provider):
    forge = FORGES[provider]
    assert all(isinstance(scheme, Scheme) for scheme in forge.SCHEMES.values())
    assert isinstance(forge.EVENTS, str)
    for name in ("parse", "sample"):
        own, wanted = signature(getattr(forge, name)), signature(getattr(Forge, name))
        assert list(own.parameters.values()) == list(wanted.parameters.values())[1:]
        assert own.return_annotation is wanted.return_annotation


def test_a_provider_that_is_not_there_is_no_module():
    assert "base" not in FORGES
    with pytest.raises(KeyError):
        FORGES["base"]


@each_scheme
def test_what_the_forge_signs_is_verified(provider, name, secret, prove):
    assert verify(provider, name, [secret], prove(secret, BODY))
    other = WHSEC[:-4] + "AAAA" if secret == WHSEC else "another one"
    assert verify(provider, name, [other, secret], prove(secret, BODY))


@each_scheme
def test_what_is_not_proven_is_refused(provider, name, secret, prove):
    headers = prove(secret, BODY)
    assert not verify(provider, name, [WHSEC[:-4] + "AAAA"], headers)
    assert not verify(provider, name, [secret], {})
    for header, value in headers.items():
        others = {k: v for k, v in headers.items() if k != header}
        assert not verify(provider, name, [secret], others)
        again = [] if header == "authorization" else [value + "="]
        again += [] if not again or is_hex(value) else [value.swapcase()]
        for wrong in ("", " ", value[:-2], value + "0", *again):
            changed = {**headers, header: wrong}
            assert wrong == value or not verify(provider, name, [secret], changed)


@each_signed
def test_each_changed_byte_of_a_signed_body_is_refused(provider, name, secret, prove):
    headers = prove(secret, BODY)
    for i in range(len(BODY)):
        body = BODY[:i] + bytes([BODY[i] ^ 1]) + BODY[i + 1 :]
        assert not verify(provider, name, [secret], headers, body)


@each_scheme
def test_what_we_sign_ourselves_is_verified(provider, name, secret, prove):
    scheme = scheme_of(provider, name, [secret], {})
    proof = scheme.sign(BODY, secret, NOW)
    headers = {k: wire(v) for k, v in proof.headers.items()}
    assert set(headers) == set(prove(secret, BODY))
    assert scheme.verify(Incoming(BODY, headers, NOW), [secret])
    assert secret not in repr(proof)


@pytest.mark.parametrize("provider", ["dockerhub", "msr", "coding", "generic"])
def test_a_key_in_the_url_is_the_secret(provider):
    assert verify(provider, "key", [SECRET], {}, key=SECRET.encode())
    for wrong in (None, b"", SECRET.encode() + b"x", SECRET.encode("latin-1")):
        assert not verify(provider, "key", [SECRET], {}, key=wrong)


def test_a_key_in_the_url_opens_no_other_scheme():
    for provider in PROVIDERS - {"dockerhub", "msr"}:
        assert not verify(provider, None, [WHSEC], {}, key=WHSEC.encode())


def test_coding_v1_takes_the_token_in_the_body():
    body = b'{"token":"s\xc3\xabcret number one","zen":"x"}'
    assert verify("coding", "v1", [SECRET], {}, body)
    for wrong in (
        b"{}",
        b"[]",
        b"x",
        b'{"token":""}',
        b'{"token":1}',
        b'{"token":null}',
    ):
        assert not verify("coding", "v1", [SECRET], {}, wrong)
    assert not verify("coding", "v1", [SECRET], {}, body + b" " * (1 << 20))
    proof = scheme_of("coding", "v1", [SECRET], {}).sign(b'{"ref":1}', SECRET, NOW)
    assert verify("coding", "v1", [SECRET], {}, proof.body)


def test_a_hook_never_falls_back_to_another_scheme():
    token, signed = plain("x-gitlab-token"), standard("webhook", WHSEC, BODY)
    assert not verify("gitlab", "signing", [WHSEC], token(WHSEC, BODY))
    assert not verify("gitlab", "token", [WHSEC], signed)
    sha1 = {"x-hub-signature": "sha1=" + hexed(SECRET, BODY, "sha1")}
    assert not verify("github", None, [SECRET], sha1)
    assert not verify("gitee", None, [SECRET], plain("x-gitee-token")(SECRET, BODY))
    assert not verify("gitee", "password", [SECRET], gitee(SECRET, BODY))
    other = {"x-gitea-signature": hexed(SECRET, BODY)}
    assert not verify("gogs", None, [SECRET], other)
    assert not verify(
        "convoy", None, [SECRET], hub("", "x-convoy-signature")(SECRET, BODY)
    )


@pytest.mark.parametrize(
    "given", ["", "sha256=", "sha1=", "v1,", "t=,v1=", "Basic ", "Basic Og=="]
)
def test_an_empty_signature_is_no_signature(given):
    names = (
        "x-hub-signature-256",
        "x-hub-signature",
        "x-gitea-signature",
        "x-gogs-signature",
        "x-forgejo-signature",
        "x-gitlab-token",
        "x-gitee-token",
        "authorization",
        "x-coding-signature",
        "webhook-signature",
        "x-convoy-signature",
    )
    headers = dict.fromkeys(names, given)
    for provider in PROVIDERS:
        for name in FORGES[provider].SCHEMES:
            assert not verify(provider, name, [WHSEC], headers)


@pytest.mark.parametrize(
    ("provider", "prove", "window"),
    [
        ("gitee", gitee, 3600),
        ("convoy", advanced, 300),
        ("svix", lambda s, b, now: standard("svix", s, b, now), 300),
        ("standard-webhooks", lambda s, b, now: standard("webhook", s, b, now), 300),
    ],
)
def test_a_signed_time_outside_the_window_is_refused(provider, prove, window):
    now = 1_700_000_000
    for age in (-window - 1, -window, 0, window, window + 1):
        headers = prove(WHSEC, BODY, now=now - age)
        assert verify(provider, None, [WHSEC], headers, now=now) == (abs(age) <= window)


@pytest.mark.parametrize(
    "stamp", ["", "x", "1_7", " 1", "-1", "1e9", "\uff11", "9" * 20, "nan"]
)
def test_a_time_that_is_no_plain_number_is_refused(stamp):
    key = base64.b64decode(WHSEC[6:])
    signature = b64(mac(key, f"m.{stamp}.".encode() + BODY).digest())
    headers = {
        "svix-id": "m",
        "svix-timestamp": wire(stamp),
        "svix-signature": f"v1,{signature}",
    }
    assert not verify("svix", None, [WHSEC], headers, now=1.7e9)
    signed = b64(mac(SECRET, f"{stamp}\n{SECRET}".encode()).digest())
    headers = {"x-gitee-timestamp": wire(stamp), "x-gitee-token": signed}
    assert not verify("gitee", None, [SECRET], headers, now=1.7e9)


def test_gitee_may_send_its_signature_url_encoded():
    headers = gitee(SECRET, BODY)
    headers["x-gitee-token"] = quote_plus(headers["x-gitee-token"])
    assert verify("gitee", None, [SECRET], headers)


@pytest.mark.parametrize(
    ("provider", "scheme", "signed", "header", "other"),
    [
        ("convoy", None, advanced, "x-convoy-signature", "v1=x,"),
        ("generic", "hmac", hub("sha256=", HUB), HUB, "sha256=x, "),
    ],
)
def test_a_list_of_signatures_has_a_length(provider, scheme, signed, header, other):
    good = signed(SECRET, BODY)[header]
    for count, taken in ((14, True), (16, False), (5000, False)):
        headers = {header: other * count + good}
        assert verify(provider, scheme, [SECRET], headers) is taken
        assert verify(provider, scheme, [SECRET], {header: f"{good}," * 17}) is False


def test_convoy_takes_several_signatures_in_any_order():
    value = advanced(SECRET, BODY)["x-convoy-signature"]
    stamp, good = value.split(",")
    for given in (
        f"{good},{stamp}",
        f"{stamp},v1=old,{good}",
        f"{stamp},v1=x,v2={good[3:]}",
    ):
        assert verify("convoy", None, [SECRET], {"x-convoy-signature": given})
    for given in (good, stamp, f"{stamp},{good[3:]}", f"{stamp};{good}", f"{stamp},v1"):
        assert not verify("convoy", None, [SECRET], {"x-convoy-signature": given})


def test_github_signs_the_form_and_gitea_the_json_inside_it():
    body = b"payload=" + quote_plus(BODY).encode()
    form = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    outer = {**form, "x-hub-signature-256": "sha256=" + hexed(SECRET, body)}
    assert verify("github", None, [SECRET], outer, body)
    for provider in ("gitea", "forgejo", "gogs"):
        header = f"x-{provider}-signature"
        inner = {**form, header: hexed(SECRET, BODY)}
        assert verify(provider, None, [SECRET], inner, body)
        assert not verify(
            provider, None, [SECRET], {**form, header: hexed(SECRET, body)}, body
        )
        assert not verify(provider, None, [SECRET], inner, body + b"&payload=%7B%7D")
    assert decode(form, body) == json.loads(BODY)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x=1",
        b"payload",
        b"payload={}&x=1",
        b"x=1&payload={}",
        b"payload=%ff",
        b'{"message": "&payload=%7B%7D"}',
    ],
)
def test_a_form_of_anything_but_the_one_field_is_refused(body):
    with pytest.raises(PayloadError):
        decode({"content-type": "application/x-www-form-urlencoded"}, body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"NaN",
        b'{"a": Infinity}',
        b"\xff\xfe{}",
        b'"\xff"',
        b"[" * 500_000,
        b"1" * 5000,
        '{"a":1}'.encode("utf-16"),
    ],
)
def test_what_is_no_strict_json_is_refused_in_one_line(body):
    with pytest.raises(PayloadError) as refused:
        decode({}, body)
    assert "\n" not in str(refused.value)


def test_duplicate_keys_are_tolerated_and_the_last_one_wins():
    assert decode({"content-type": "application/json"}, b'{"a":1,"a":2}') == {"a": 2}


@pytest.mark.parametrize(
    ("provider", "name", "secrets", "options", "says"),
    [
        ("github", "token", ["s"], {}, "signature"),
        ("github", None, ["s"], {"header": "x"}, "header"),
        ("github", None, [], {}, "secret"),
        ("github", None, [""], {}, "empty"),
        ("generic", None, ["s"], {"algorithm": "md5"}, "sha256"),
        ("generic", None, ["s"], {"encoding": "hexx"}, "base64"),
        ("svix", None, ["not base64!"], {}, "whsec_"),
        ("svix", None, ["whsec_"], {}, "whsec_"),
        ("gitlab", "signing", ["plain token"], {}, "whsec_"),
        ("gitlab", None, [WHSEC, "old token"], {}, "whsec_"),
    ],
)
def test_what_does_not_fit_the_provider_is_refused_at_start(
    provider, name, secrets, options, says
):
    with pytest.raises(ValueError, match=says):
        scheme_of(provider, name, secrets, options)


def test_the_defaults_are_the_contracts():
    assert default_scheme("gitlab", ["t"]) == "token"
    assert default_scheme("gitlab", ["whsec_x"]) == "signing"
    assert default_scheme("gitee", ["s"]) == "signature"
    assert default_scheme("coding", ["s"]) == "v2"
    assert default_scheme("convoy", ["s"]) == "advanced"
    assert default_scheme("generic", ["s"]) == "hmac"
    assert default_scheme("azuredevops", ["s"]) == "basic"
    assert list(FORGES["dockerhub"].SCHEMES) == list(FORGES["msr"].SCHEMES) == ["key"]


def test_generic_hmac_takes_header_algorithm_prefix_and_encoding():
    options = {
        "header": "X-Sum",
        "algorithm": "sha512",
        "prefix": "",
        "encoding": "base64",
    }
    headers = {"x-sum": b64(mac(SECRET, BODY, "sha512").digest())}
    assert verify("generic", "hmac", [SECRET], headers, **options)
    assert verify(
        "generic", None, [SECRET], {"x-sum": "old, " + headers["x-sum"]}, **options
    )
    assert not verify("generic", None, [SECRET], {"x-sum": "old, older"}, **options)


def test_basic_can_ask_for_the_user_name_too():
    given = basic("ann:" + SECRET)
    assert verify("azuredevops", None, [SECRET], given, username="ann")
    assert not verify("azuredevops", None, [SECRET], given, username="bob")
    assert not verify("azuredevops", None, ["bob:" + SECRET], given)


def understood(event):
    return {change.ref: change.kind.value for change in event.changes}


@pytest.mark.parametrize("sent", SENT, ids=lambda s: f"{s.provider}-{s.name}")
def test_each_delivery_is_understood(sent):
    event = FORGES[sent.provider].parse(sent.headers, sent.payload)
    assert understood(event) == sent.changes
    assert event.everything is sent.everything
    assert (sent.ignored or "None") in str(event.ignored)
    if "ref" in sent.payload and sent.changes:
        assert HTTPS in event.urls


def test_ids_and_force_are_read_where_they_are_told():
    event = FORGES["github"].parse(
        {"x-github-event": "push", "x-github-delivery": "guid"},
        github_like(**push(MAIN, forced=True)),
    )
    (change,) = event.changes
    assert (change.before, change.after, change.forced) == (A, B, True)
    assert event.delivery_key == "guid"
    assert event.urls == (HTTPS, SSH, PAGE)


def test_ids_of_sha256_repositories_are_ids():
    old, new = "a" * 64, "0" * 64
    event = FORGES["gitea"].parse({"x-gitea-event": "push"}, push(MAIN, old, new))
    (change,) = event.changes
    assert (change.kind.value, change.before, change.after) == ("deleted", old, None)


def test_the_website_that_a_github_repository_names_is_not_its_address():
    payload = github_like(**push(MAIN))
    payload["repository"]["homepage"] = "https://github.com/victim/app"
    event = FORGES["github"].parse({"x-github-event": "push"}, payload)
    assert not any("victim" in url for url in event.urls)


def test_bitbucket_server_without_addresses_is_known_by_its_path():
    repository = {"slug": "app", "project": {"key": "TEAM"}}
    old = {"repository": repository, "changes": []}
    headers = {"x-event-key": "repo:refs_changed"}
    event = FORGES["bitbucket-server"].parse(headers, old)
    assert event.urls == ("*:TEAM/app", "*:scm/TEAM/app")
    page = "https://git.example.org/ctx/projects/TEAM/repos/app/browse"
    repository["links"] = {"self": [{"href": page}]}
    event = FORGES["bitbucket-server"].parse(headers, old)
    assert event.urls[0] == "https://git.example.org/ctx/scm/TEAM/app.git"


@pytest.mark.parametrize(
    "url",
    [
        "https://ann@dev.azure.com/org/Proj/_git/app",
        "https://org.visualstudio.com/DefaultCollection/Proj/_git/app",
    ],
)
def test_azure_repositories_are_known_by_all_their_addresses(url):
    resource = {"repository": {"remoteUrl": url}, "refUpdates": []}
    event = FORGES["azuredevops"].parse(
        {}, {"eventType": "git.push", "resource": resource}
    )
    assert places(event.urls) == places(["git@ssh.dev.azure.com:v3/org/Proj/app"])


RENAMES = [
    (
        "github",
        {"x-github-event": "repository"},
        github_like(
            action="renamed", changes={"repository": {"name": {"from": "old"}}}
        ),
        "https://forge.example.org/team/old.git",
    ),
    (
        "github",
        {"x-github-event": "repository"},
        github_like(
            action="transferred",
            changes={"owner": {"from": {"user": {"login": "ann"}}}},
        ),
        "https://forge.example.org/ann/app.git",
    ),
    (
        "github",
        {"x-github-event": "repository"},
        github_like(action="edited", changes={"default_branch": {"from": "master"}}),
        HTTPS,
    ),
    (
        "gitlab",
        {"x-gitlab-event": "System Hook", "x-gitlab-instance": "https://g.example.org"},
        {
            "event_name": "project_rename",
            "path_with_namespace": "team/app",
            "old_path_with_namespace": "team/old",
        },
        "https://g.example.org/team/old",
    ),
    (
        "gitlab",
        {"x-gitlab-event": "System Hook"},
        {
            "event_name": "project_transfer",
            "path_with_namespace": "team/app",
            "old_path_with_namespace": "ann/app",
        },
        "*:ann/app",
    ),
    (
        "bitbucket-cloud",
        {"x-event-key": "repo:updated"},
        {
            "repository": {"full_name": "team/app"},
            "changes": {"full_name": {"old": "team/old", "new": "team/app"}},
        },
        "https://bitbucket.org/team/old",
    ),
    (
        "bitbucket-server",
        {"x-event-key": "repo:modified"},
        {
            "old": {"slug": "old", "project": {"key": "T"}},
            "new": {"slug": "app", "project": {"key": "T"}},
        },
        "*:scm/T/old",
    ),
]


@pytest.mark.parametrize(("provider", "headers", "payload", "former"), RENAMES)
def test_a_repository_that_moves_says_where_it_was(provider, headers, payload, former):
    event = FORGES[provider].parse(headers, payload)
    assert former in event.former
    assert " is now " in event.warning
    assert event.ignored
    assert not event.changes
    assert not event.everything


@pytest.mark.parametrize(
    ("payload", "tasks"),
    [
        ({"task_id": 7}, (7,)),
        ({"task": "app"}, ("app",)),
        ({"task": 7}, (7,)),
        ({"data": {"task_id": 7}}, (7,)),
        ({"task_id": True}, ()),
        ({"task_id": 0}, ()),
        ({"task_id": 1 << 70}, ()),
        ({"task_id": 1.0}, ()),
        ({"task": "\ud800"}, ()),
        ({}, ()),
    ],
)
def test_a_generic_payload_may_name_the_task(payload, tasks):
    event = FORGES["generic"].parse({}, payload)
    assert event.tasks == tasks


def test_docker_hub_names_image_and_callback():
    sent = next(s for s in SENT if s.provider == "dockerhub")
    event = FORGES["dockerhub"].parse({}, sent.payload)
    assert event.name == "push team/app:latest"
    assert event.callback.startswith("https://registry.hub.docker.com/")


def test_an_envelope_may_carry_its_body_as_text():
    inner = json.dumps({"repository": HTTPS, "ref": TAG})
    for body in (inner, base64.b64encode(inner.encode()).decode()):
        event = FORGES["argo-events"].parse(
            {}, {"context": {"id": "1"}, "data": {"body": body}}
        )
        assert understood(event) == {TAG: "updated"}
        assert event.delivery_key == "1"


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_the_sample_of_each_forge_is_understood_as_its_push(provider):
    for ref in (MAIN, TAG):
        sample = FORGES[provider].sample(HTTPS, ref)
        event = FORGES[provider].parse(
            sample.headers, json.loads(json.dumps(sample.payload))
        )
        image = provider in {"dockerhub", "msr"}
        assert event.everything if image else list(understood(event)) == [ref]
        assert image or HTTPS in event.urls


def assert_storable(event):
    assert isinstance(event, Event)
    texts = [
        event.name,
        event.delivery_key,
        event.ignored,
        event.warning,
        event.callback,
    ]
    texts += [*event.urls, *event.former, *(c.ref for c in event.changes)]
    for text in filter(None, [*texts, *(t for t in event.tasks if isinstance(t, str))]):
        assert text.encode().splitlines() == [text.encode()]
        assert len(text) < 5000
    assert len(event.changes) <= 1000
    assert len(event.urls) <= 50


@pytest.mark.parametrize("sent", SENT, ids=lambda s: f"{s.provider}-{s.name}")
def test_no_mutated_payload_raises_or_names_a_ref_that_was_not_there(sent):
    forge = FORGES[sent.provider]
    for payload in mutants(sent.payload):
        event = forge.parse(sent.headers, payload)
        assert_storable(event)
        allowed = {*sent.changes, MAIN, "refs/heads/x", "refs/tags/x"}
        assert set(understood(event)) <= allowed | {"refs/heads/v1.0", "refs/tags/main"}


def test_no_payload_at_all_raises_with_any_headers():
    random.seed(7)
    events = sorted({v for s in SENT for v in s.headers.values()})
    names = sorted({k for s in SENT for k in s.headers})
    values = [*events, "", "x" * 5000, "\x00", "é"]
    for forge in FORGES.values():
        for other in OTHERS:
            headers = {n: random.choice(values) for n in names if random.random() < 0.5}
            assert_storable(forge.parse(headers, other))


def vectors():
    if not PAYLOADS:
        return []
    return json.loads(Path(PAYLOADS, "VECTORS.json").read_text())


def as_configured(vector):
    """The provider, scheme and options that a vector's loose words mean here."""
    provider, words = vector["provider"], vector["scheme"]
    if provider in {"gms", "generic"} or (provider, words[:16]) in {
        ("github", "x-hub-signature"),
        ("github", "x-hub-signature("),
    }:
        header, value = next(
            ((k, v) for k, v in vector["headers"].items() if "Signature" in k),
            ("x", "sha1="),
        )
        algorithm = value.partition("=")[0]
        options = {"header": header, "algorithm": algorithm, "prefix": f"{algorithm}="}
        return "generic", "hmac", options
    if provider == "convoy":
        scheme = "simple" if "simple" in words else "advanced"
        return provider, scheme, {"algorithm": "sha512" if "512" in words else "sha256"}
    names = {"gitee-password": "password", "x-gitlab-token": "token"}
    return provider, names.get(words), {}


@pytest.mark.skipif(not PAYLOADS, reason="GMS_HOOKD_PAYLOADS names no folder")
@pytest.mark.parametrize("vector", vectors(), ids=lambda v: v["provider"])
def test_every_vector_of_the_folder_agrees(vector):
    body = (vector["body"] or "").encode()
    if vector.get("body_file"):
        body = Path(PAYLOADS, vector["body_file"]).read_bytes()
    provider, name, options = as_configured(vector)
    headers = {k.lower(): v for k, v in vector["headers"].items()}
    now = vector.get("now", NOW)
    found = verify(
        provider, name, [vector["secret"]], headers, body, now=now, **options
    )
    assert found is vector["valid"], vector


def recorded():
    if not PAYLOADS:
        return []
    with Path(PAYLOADS, "INDEX.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [row for row in rows if row["provider"] in FORGES]


@pytest.mark.skipif(not PAYLOADS, reason="GMS_HOOKD_PAYLOADS names no folder")
@pytest.mark.parametrize("row", recorded(), ids=lambda r: r["file"])
def test_every_body_of_the_folder_is_understood(row):
    headers = {
        k.lower(): v for k, v in json.loads(row["headers"]).items() if k[0] != "_"
    }
    payload = decode(headers, Path(PAYLOADS, row["file"]).read_bytes())
    event = FORGES[row["provider"]].parse(headers, payload)
    assert_storable(event)
    assert event.ignored or event.everything or event.changes


@pytest.mark.skipif(not PAYLOADS, reason="GMS_HOOKD_PAYLOADS names no folder")
def test_no_mutant_of_a_recorded_body_raises():
    random.seed(3)
    for row in recorded():
        payload = decode({}, Path(PAYLOADS, row["file"]).read_bytes())
        headers = {k.lower(): v for k, v in json.loads(row["headers"]).items()}
        for path in random.sample(
            list(paths(payload)), min(40, len(list(paths(payload))))
        ):
            for other in OTHERS:
                mutant = changed(payload, path, other)
                assert_storable(FORGES[row["provider"]].parse(headers, mutant))


ODD = [
    "功能/登录", "新\u3000功能", "a\u00a0b", "👨\u200d💻", "\U00031350", "\ue5e5",
    "a\u0085b", "a\u2028b", "a\u202eb", "\u00adx",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_a_ref_may_have_any_name_that_git_takes(name):
    ref = f"refs/heads/{name}"
    bitbucket = {"type": "branch", "name": name, "target": {"hash": B}}
    sent = [
        ("github", {"x-github-event": "push"}, push(ref)),
        ("gitea", {"x-gitea-event": "push"}, push(ref)),
        ("gogs", {"x-gogs-event": "delete"}, {"ref": name, "ref_type": "branch"}),
        ("gitlab", {"x-gitlab-event": "Push Hook"}, push(ref)),
        ("generic", {}, {"ref": name}),
        ("coding", {"x-coding-event": "push"}, push(name)),
        ("bitbucket-cloud", {"x-event-key": "repo:push"},
         {"push": {"changes": [{"old": None, "new": bitbucket}]}}),
        ("bitbucket-server", {"x-event-key": "repo:refs_changed"},
         {"changes": [{"refId": ref, "fromHash": A, "toHash": B}]}),
        ("azuredevops", {}, {"eventType": "git.push", "resource": {"repository": {},
         "refUpdates": [{"name": ref, "oldObjectId": A, "newObjectId": B}]}}),
    ]  # fmt: skip
    for provider, headers, payload in sent:
        event = FORGES[provider].parse(headers, json.loads(json.dumps(payload)))
        assert list(understood(event)) == [ref], provider


@pytest.mark.parametrize("told", [
    push("feature/x"), push("heads/x"), push(None), push(7), push([MAIN]), push(""),
    push("\ud83d"), push("x" * 3000), {}, {"before": A, "after": B},
], ids=lambda told: ascii(str(told.get("ref")))[:20])  # fmt: skip
def test_a_push_whose_ref_cannot_be_read_may_have_changed_anything(told):
    for provider, header in (("github", "github"), ("gitea", "gitea")):
        event = FORGES[provider].parse({f"x-{header}-event": "push"}, told)
        assert event.everything
        assert not event.ignored


@pytest.mark.parametrize("ids", [
    (None, None), ("", ""), (1, 2), (A, None), (None, B), ("x", "y"), (A[:7], B[:7]),
    (A.upper(), B.upper()), ("sha1:" + A, B), ([], {}),
], ids=str)  # fmt: skip
def test_a_push_with_odd_ids_is_a_push_of_its_ref(ids):
    event = FORGES["github"].parse({"x-github-event": "push"}, push(MAIN, *ids))
    assert list(understood(event)) == [MAIN]
    assert event.changes[0].after in (None, B.lower())


@pytest.mark.parametrize(
    "listed", [None, {}, "x", [], [None], [{"name": 7}], [{}] * 1001]
)
def test_a_list_of_changes_that_cannot_be_read_may_be_anything(listed):
    cloud = {"x-event-key": "repo:push"}, {"push": {"changes": listed}}
    server = {"x-event-key": "repo:refs_changed"}, {"changes": listed}
    resource = {"repository": {"remoteUrl": HTTPS}, "refUpdates": listed}
    azure = {}, {"eventType": "git.push", "resource": resource}
    several = {
        "bitbucket-cloud": cloud,
        "bitbucket-server": server,
        "azuredevops": azure,
    }
    for provider, sent in several.items():
        assert FORGES[provider].parse(*sent).everything, provider
