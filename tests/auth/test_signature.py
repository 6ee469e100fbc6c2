import base64
import hashlib
import hmac

import pytest

from gms_hookd.auth.signature import (
    Keys,
    base64_text,
    basic_credentials,
    bearer_token,
    hub_keys,
    matches,
    sign,
    standard_webhooks,
    standard_webhooks_key,
)

SECRET, BODY = "It's a Secret to Everybody", b"Hello, World!"
GOOD = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def verify_sha256(header, body, secrets):
    return hub_keys(secrets).verify(header, body)


def test_the_vector_that_github_publishes():
    assert sign(SECRET, BODY) == GOOD
    assert verify_sha256(GOOD, BODY, [SECRET])


def test_the_vector_that_atlassian_publishes():
    good = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
    assert verify_sha256(good, b"Hello World!", [SECRET])


@pytest.mark.parametrize(
    "header",
    [
        None, "", " ", "sha256=", GOOD.upper(), "SHA256=" + GOOD[7:],
        GOOD[7:], GOOD[:-1], GOOD + "0", GOOD + " ",
        " " + GOOD, f"{GOOD}, {GOOD}", "sha1=" + GOOD[7:], "sha256=" + "0" * 64,
        "é" * 71, "sha256=" + "٣" * 64, "\ud800" * 71, "a" * 10_000,
    ],
)  # fmt: skip
def test_anything_but_the_exact_signature_is_refused(header):
    assert not verify_sha256(header, BODY, [SECRET])


def test_every_single_changed_byte_is_refused():
    for i in range(len(BODY)):
        changed = BODY[:i] + bytes([BODY[i] ^ 1]) + BODY[i + 1 :]
        assert not verify_sha256(GOOD, changed, [SECRET])
    for i in range(len(GOOD)):
        changed_header = GOOD[:i] + chr(ord(GOOD[i]) ^ 1) + GOOD[i + 1 :]
        assert not verify_sha256(changed_header, BODY, [SECRET])


def test_any_of_several_secrets_will_do_and_the_rest_will_not():
    assert verify_sha256(GOOD, BODY, ["new", SECRET])
    assert verify_sha256(GOOD, BODY, [SECRET, "old"])
    assert not verify_sha256(GOOD, BODY, ["new", "old"])
    assert not verify_sha256(GOOD, BODY, [SECRET + "\n"])


def test_no_secret_and_an_empty_secret_admit_nobody():
    unkeyed = "sha256=" + hmac.new(b"", BODY, "sha256").hexdigest()
    assert not verify_sha256(unkeyed, BODY, [])
    assert not verify_sha256(unkeyed, BODY, [""])
    assert not verify_sha256("", BODY, [""])
    assert not matches("", [""])


def test_every_secret_is_tried_even_without_a_signature(monkeypatch):
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(
        hmac, "compare_digest", lambda a, b: compared.append(b) or real(a, b)
    )
    for header in (None, GOOD, "x"):
        compared.clear()
        verify_sha256(header, BODY, [SECRET, "other", "third"])
        assert len(compared) == 3


def test_keys_are_reusable_and_take_other_algorithms_and_encodings():
    keys = Keys(["k"], "sha512", prefix="v=", encode=base64_text)
    wanted = "v=" + base64.b64encode(hmac.digest(b"k", BODY, "sha512")).decode()
    assert keys.verify(wanted, BODY)
    assert keys.verify(wanted, BODY)
    assert not keys.verify(wanted, BODY + b"!")
    assert wanted not in repr(keys)


def test_tokens_outside_ascii_are_compared_as_their_utf8_bytes():
    token = "pässwörd"
    as_read_from_http = token.encode().decode("latin-1")
    assert matches(as_read_from_http, [token])
    assert matches(token.encode(), [token])
    assert not matches(token, [token])


def test_authorization_is_parsed_strictly():
    encoded = base64.b64encode(b"us:er:pw").decode()
    assert basic_credentials(f"Basic {encoded}") == b"us:er:pw"
    assert basic_credentials(f"bAsIc  {encoded}") == b"us:er:pw"
    assert bearer_token("Bearer abc") == "abc"
    for bad in (None, "", "Basic", "Basic %%%", "Bearer abc", "Basic a", "Basic é"):
        assert not basic_credentials(bad)
    for bad in (None, "", "abc", "Basic abc", "Bearer"):
        assert not bearer_token(bad)


MESSAGE = "msg_p5jXN8AQM9LWM0D4loKWxJek"
STAMP = "1614265330"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WEBHOOK_BODY = b'{"test": 2432232314}'
WEBHOOK_GOOD = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("given", "valid"),
    [
        (WEBHOOK_GOOD, True),
        (f"v1a,AAAA {WEBHOOK_GOOD}", True),
        (f"junk v1 , v1,wrong {WEBHOOK_GOOD}", True),
        ("v1,x " * 15 + WEBHOOK_GOOD, True),
        ("v1,x " * 16 + WEBHOOK_GOOD, False),
        (f"{WEBHOOK_GOOD} " * 17, False),
        (WEBHOOK_GOOD.replace("v1", "v2"), False),
        (WEBHOOK_GOOD[3:], False),
        (WEBHOOK_GOOD.rstrip("="), False),
        (WEBHOOK_GOOD.replace("+", " "), False),
        ("", False),
        ("v1,", False),
    ],
)
def test_the_vector_of_standard_webhooks(given, valid):
    for secret in (WEBHOOK_SECRET, WEBHOOK_SECRET.removeprefix("whsec_")):
        keys = Keys([standard_webhooks_key(secret)], encode=base64_text)
        assert standard_webhooks(keys, MESSAGE, STAMP, given, WEBHOOK_BODY) is valid


def test_a_standard_webhooks_secret_may_lack_its_padding_but_not_be_junk():
    key = hashlib.sha256(b"key").digest()
    text = base64.b64encode(key).decode()
    assert standard_webhooks_key("whsec_" + text) == key
    assert standard_webhooks_key(text.rstrip("=")) == key
    with pytest.raises(ValueError, match="base64"):
        standard_webhooks_key("whsec_not base64!")


def test_hex_digits_may_be_upper_case_and_their_prefix_may_not():
    assert verify_sha256("sha256=" + GOOD[7:].upper(), BODY, [SECRET])
    assert verify_sha256("sha256=" + GOOD[7:].title(), BODY, [SECRET])
    assert not verify_sha256("SHA256=" + GOOD[7:], BODY, [SECRET])
