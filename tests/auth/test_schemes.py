"""What each forge signs is verified, and nothing else is."""

import base64
import json
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from gms_hookd.auth.schemes import Incoming
from gms_hookd.forges.payloads import is_hex
from gms_hookd.forges.registry import FORGES, default_scheme, scheme_of
from tests.support.proofs import (
    BODY,
    NOW,
    PAYLOADS,
    PROVIDERS,
    SECRET,
    hexed,
    mac,
    verify,
)

WHSEC = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()


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
