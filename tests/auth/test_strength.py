"""A secret that can be guessed is told from one that cannot."""

import random

import pytest

from gms_hookd.auth.strength import weakness

TRIED_FIRST = (
    "It's a Secret to Everybody", "its-a-secret-to-everybody",
    "a", "1234", "password", "changeme", "secret", "token", "admin", "my-secret-key",
    "hunter2", "12345678901", "password1234", "Password-2024!", "changeme-please",
    "change-me-please", "your-webhook-secret", "<your-secret-here>",
    "replace-with-your-own-token", "this_is_my_secret", "123456789012345678",
    "0123456789abcdef", "abcdefghijklmnop", "zyxwvutsrqponm", "qwertyuiop1234567890",
    "asdfghjkl;12345", "webhook-secret-2024", "GitLab_Webhook_Token_1",
    "aaaaaaaaaaaaaaaaaaaa", "abababababababab", "deadbeefdeadbeef", "hunter2hunter2",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "gms-hookd-secret-key", "admin:password123",
)  # fmt: skip


@pytest.mark.parametrize("secret", TRIED_FIRST)
def test_what_is_tried_first_is_weak(secret):
    assert weakness(secret)
    assert weakness(secret.upper())


@pytest.mark.parametrize(
    "secret",
    [
        "9f2c61d0b7a84e35",
        "correct horse battery staple",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "Tr0ub4dor&3xyz",
        "\u4e00\u4e8c\u4e09\u56db\u91d1\u6728\u6c34\u706b\u571f\u65e5\u6708\u661f",
        "webhook-secret-8Hq2vXzL",
    ],
)
def test_what_nobody_tries_is_not(secret):
    assert weakness(secret) == ""


def test_random_secrets_are_not():
    chance = random.Random(7)
    made = [chance.randbytes(size).hex() for size in (8, 16, 32) for _ in range(2000)]
    assert not [secret for secret in made if weakness(secret)]


def test_why_it_is_weak_does_not_show_it():
    shown = [s for s in TRIED_FIRST if len(s) > 4 and s in weakness(s)]
    assert shown == ["my-secret-key"]
