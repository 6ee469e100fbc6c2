"""Secrets of the configuration: where they are kept, and which are too weak."""

import os
import re
import stat

import pytest

from gms_hookd.config.load import load_config, made_secret, refuse_weak, webhook_secrets
from gms_hookd.config.secrets import secrets_of
from gms_hookd.errors import ConfigError
from gms_hookd.safetext.mask import Mask
from tests.support.configured import STRONG, secret_file


def test_secrets_are_not_in_the_representation(everything):
    text = repr(everything)
    assert not re.search(r"'new'|'old'|of gitlab|t0ken", text)


# --- secrets in files
@pytest.mark.parametrize(
    ("written", "meant"),
    [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), (" a \n", " a "), ("é", "é")],
)  # fmt: skip
def test_one_newline_is_stripped_from_a_secret_file(conf, tmp_path, written, meant):
    (tmp_path / "s").write_bytes(written.encode())
    (tmp_path / "s").chmod(0o600)
    assert conf("[webhook]\nsecret_file = 's'").webhook.secrets == (meant,)


@pytest.mark.parametrize(
    ("written", "mode", "line"),
    [
        (b"", 0o600, "is empty"), (b"\n", 0o600, "is empty"),
        (b" \n\n", 0o600, "is empty"),
        (b"x", 0o644, "is open to others: chmod 600"),
        (b"x", 0o604, "is open to others"),
        (b"x", 0o602, "is open to others"), (b"\xff", 0o600, "not UTF-8"),
        (b"x" * 65537, 0o600, "is larger than"),
        (b"a\n\n", 0o600, "holds a control line break (U+000A)"),
        (b"a\nb\n", 0o600, "holds a control line break (U+000A)"),
        (b"a\r\r\n", 0o600, "holds a control carriage return (U+000D)"),
        (b"a\tb", 0o600, "holds a control character (U+0009)"),
        (b"a\0b", 0o600, "holds a control character (U+0000)"),
        (b"\xef\xbb\xbfabc\r\n", 0o600, "holds a byte order mark (U+FEFF)"),
        ("abc".encode("utf-16"), 0o600, "not UTF-8"),
    ],
)  # fmt: skip
def test_a_secret_file_that_is_no_good_is_refused(
    refused, tmp_path, written, mode, line
):
    path = tmp_path / "s"
    path.write_bytes(written)
    path.chmod(mode)
    found = refused("[webhook]\nsecret_file = 's'")
    assert found.startswith(f"webhook.secret_file: {path}: ")
    assert line in found
    assert refused(environ={"GMS_HOOKD_API_TOKEN_FILE": str(path)}).startswith(
        f"GMS_HOOKD_API_TOKEN_FILE: {path}: "
    )


def test_a_pipe_in_the_place_of_a_secret_does_not_hold_up_the_start(refused, tmp_path):
    os.mkfifo(tmp_path / "s", 0o600)
    assert "is not a regular file" in refused("[webhook]\nsecret_file = 's'")


SECRETS = {
    "WEBHOOK_SECRET": "WEBHOOK_SECRET",
    "GMS_HOOKD_WEBHOOK_SECRET": "GMS_HOOKD_WEBHOOK_SECRET",
    "GMS_HOOKD_WEBHOOK_SECRETS": "GMS_HOOKD_WEBHOOK_SECRETS",
    "GMS_HOOKD_API_TOKEN": "GMS_HOOKD_API_TOKEN",
    "inline": "webhook.secret",
    "of a hook": "hooks.gitea.secrets",
    "file": "webhook.secret_file",
    "systemd": "webhook.secret_file",
    "password": 'credentials."https://h".password_file',
    "token": 'credentials."https://h".token_file',
}


@pytest.mark.parametrize("way", SECRETS)
@pytest.mark.parametrize(
    "junk", ["\ufeffs3cret", "s3c\tret", "s3cret\r\r", "\x7fx\x85"]
)
def test_a_secret_with_what_no_sender_has_is_refused_by_its_name(
    given, refused, way, junk
):
    text, environ = given(way, junk)
    line = refused(text, environ=environ)
    assert line.startswith(f"{SECRETS[way]}: ")
    mark = "a byte order mark" if "\ufeff" in junk else "a control c"
    assert f"holds {mark}" in line
    assert "s3c" not in line


@pytest.mark.parametrize("way", SECRETS)
@pytest.mark.parametrize(
    ("secret", "what"),
    [
        ('"s3cret"', "is in quotes"), ("'s3cret'", "is in quotes"),
        ("\u201cs3cret\u201d", "is in quotes"), ("\u300cs3cret\u300d", "is in quotes"),
        ("s3\u200bcret", "holds an invisible character (U+200B)"),
        ("\u3000s3cret", "begins or ends with a space"),
    ],
)  # fmt: skip
def test_a_secret_with_what_is_hardly_meant_is_a_warning(
    given, conf, way, secret, what
):
    if way == "GMS_HOOKD_API_TOKEN" and not secret.isascii():
        pytest.skip("a token is visible ASCII, and refused otherwise")
    text, environ = given(way, secret)
    [warning] = [w for w in conf(text, environ=environ).warnings if "the secret" in w]
    name = SECRETS[way].replace(".password_file", "").replace(".token_file", "")
    assert warning.startswith(name)
    assert f"the secret {what}" in warning
    assert "s3" not in warning.partition("webhook-secret")[2]


def test_a_secret_of_another_user_is_refused(refused, tmp_path, monkeypatch):
    owner = secret_file(tmp_path / "s").stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 4242)
    if owner == 0:  # root may share a file, but no other user may
        os.chown(tmp_path / "s", 4243, -1)
        owner = 4243
    line = refused("[webhook]\nsecret_file = 's'")
    assert f"s: belongs to user {owner}, who could change it: chown" in line


def test_files_of_credentials_and_tls_may_not_be_open(refused, conf, tmp_path):
    secret_file(tmp_path / "s", mode=0o644)
    text = "[credentials.'https://h']\ntoken_file = 's'"
    assert "s: is open to others" in refused(text)
    tls = "[server]\ntls_cert = 's'\ntls_key = 's'"
    assert "server.tls_key: " in refused(tls)
    (tmp_path / "s").unlink()
    assert conf(text).warnings == (
        f'credentials."https://h": {tmp_path}/s does not exist yet',
    )


def test_a_readable_file_with_a_secret_is_a_warning(conf, tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(f"[webhook]\nsecret = '{STRONG}'")
    path.chmod(0o644)
    [warning] = load_config({}, file=str(path), state=tmp_path).warnings
    assert warning.startswith(f"{path}: holds a secret and is open to others: ")


def test_the_made_secret_is_made_once_and_closed(tmp_path, conf):
    assert conf().webhook.secrets == ()
    path = made_secret(tmp_path)
    first = path.read_text()
    assert re.fullmatch("[0-9a-f]{64}\n", first)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made_secret(tmp_path).read_text() == first
    assert [p.name for p in tmp_path.iterdir()] == ["webhook-secret"]
    assert conf().webhook.secrets == (first.strip(),)


# --- secrets that can be guessed
LOCAL = ("127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1",
         "unix:/x")  # fmt: skip


PUBLIC = (":1", "*:1", "0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1",
          "127.0.0.1.x:1")  # fmt: skip


WEAK = {"my-secret-key": "is published with GMS", "a": "is shorter than 12 characters",
        "password": "is shorter", "changeme": "is shorter", "\u6d4b" * 6: "is shorter",
        "your-webhook-secret": "is made of words and numbers",
        "0" * 64: "repeats a few"}  # fmt: skip


@pytest.mark.parametrize("secret", WEAK)
def test_a_secret_that_can_be_guessed_is_a_warning_on_loopback(conf, secret):
    config = conf(environ={"WEBHOOK_SECRET": secret})
    refuse_weak(config, LOCAL)
    [warning] = config.warnings
    assert warning.startswith("webhook.secret: ")
    assert WEAK[secret] in warning
    assert "openssl rand -hex 32" in warning


@pytest.mark.parametrize("listen", PUBLIC)
@pytest.mark.parametrize("secret", WEAK)
def test_a_secret_that_can_be_guessed_is_refused_where_others_ask(conf, secret, listen):
    config = conf(environ={"WEBHOOK_SECRET": secret})
    with pytest.raises(
        ConfigError, match=rf"^webhook\.secret: .*{WEAK[secret]}.* open"
    ):
        refuse_weak(config, ["127.0.0.1:1", listen])


def test_a_random_secret_is_no_warning_and_never_refused(conf, tmp_path):
    made_secret(tmp_path)
    for environ in ({}, {"WEBHOOK_SECRET": STRONG}):
        config = conf(environ=environ)
        refuse_weak(config, PUBLIC)
        assert config.warnings == ()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[hooks.gitea]\nsecrets = ['%s', 'my-secret-key']", r"hooks\.gitea\.secret"),
        ("[hooks.gitlab]\nsecret = 'changeme'", r"hooks\.gitlab\.secret"),
        (
            "[hooks.azuredevops]\nsecret = 'builder-7x:changeme'",
            r"hooks\.azuredevops.*",
        ),
        (
            "[hooks.generic]\nscheme = 'basic'\nsecret = 'Zk3-9.qW:a'",
            r"hooks\.generic.*",
        ),
        ("[hooks.svix]\nsecret = 'whsec_Y2hhbmdlbWUtcGxlYXNl'", r"hooks\.svix.*"),
        (
            "[hooks.standard-webhooks]\nsecret = 'whsec_AAAAAAAAAAAAAAAAAAAAAAAA'",
            r"hooks\.standard-webhooks.*",
        ),
        ("[hooks.gitlab]\nsecret = 'whsec_c2VjcmV0'", r"hooks\.gitlab.*"),
        ("[api]\ntoken = 'changeme-please'", r"api\.token"),
        ("[api]\ntoken = 'abcdefghijkl'", r"api\.token"),
        ("[api]\ntokens = ['%s', 'changeme-please']", r"api\.token"),
        ("[api]\nread_token = 'read-token'", r"api\.read_token"),
        ("[api]\ntoken = '%s'\nread_token = 'changeme1234'", r"api\.read_token"),
    ],
)
def test_each_secret_that_can_be_guessed_is_named(conf, text, name):
    config = conf(f"[webhook]\nsecret = '{STRONG}'\n" + text.replace("%s", STRONG))
    assert re.match(f"{name}: ", config.warnings[-1])
    assert "changeme" not in str(config.warnings)
    with pytest.raises(ConfigError, match=f"^{name}: "):
        refuse_weak(config, [":1"])


@pytest.mark.parametrize(
    "text",
    [
        "[hooks.azuredevops]\nsecret = 'user:%s'",
        "[hooks.generic]\nscheme = 'basic'\nusername = 'a'\nsecret = '%s'",
        "[hooks.generic]\nsecret = '%s:a'",
        "[hooks.svix]\nsecret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'",
        "[hooks.gitlab]\nsecret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'",
    ],
)
def test_a_secret_of_which_enough_is_random_is_no_warning(conf, text):
    config = conf(f"[webhook]\nsecret = '{STRONG}'\n" + text.replace("%s", STRONG))
    assert config.warnings == ()
    refuse_weak(config, [":1"])


def test_an_inherited_secret_is_named_once(conf):
    text = "[webhook]\nsecret = 'x'\n[hooks.gitea]\n[hooks.github]"
    assert [w.split(":")[0] for w in conf(text).warnings] == ["webhook.secret"]


def test_a_password_of_a_proxy_makes_the_file_a_secret(tmp_path):
    path = tmp_path / "c.toml"
    path.touch(0o644)
    for login, told in (("", False), ("user@", False), ("user:pass@", True)):
        text = f"[credentials.'ssh://h']\nssh_proxy = 'socks5://{login}p:1'"
        path.write_text(text)
        warnings = load_config({}, file=str(path), state=tmp_path).warnings
        assert told is any("holds a secret" in line for line in warnings)


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_a_password_of_a_proxy_for_ssh_is_masked_as_written_and_as_meant(conf, scheme):
    text = f"ssh_proxy = '{scheme}://bob:pr0xy%2Fp4ssw%40rd-of-it@127.0.0.1:1080'"
    mask = Mask(secrets_of(conf(f"[credentials.'ssh://h']\n{text}"), {}))
    for spelling in ("pr0xy%2Fp4ssw%40rd-of-it", "pr0xy/p4ssw@rd-of-it"):
        said = mask(f"denied {spelling} for bob")
        assert re.fullmatch(r"denied [*]+ for bob", said)


def test_the_key_of_a_certificate_may_not_be_open(refused, tmp_path):
    (tmp_path / "both.pem").touch(0o644)
    text = "[credentials.'https://h']\ntls_cert_file = 'both.pem'"
    assert "both.pem" in refused(text)


def test_a_client_signs_with_its_own_secret_and_opens_no_file(tmp_path):
    broken = tmp_path / "config.toml"
    broken.write_text("no toml")
    environ = {"WEBHOOK_SECRET": "a-secret-of-the-test"}
    assert webhook_secrets(environ, file=str(broken), state=tmp_path) == (
        "a-secret-of-the-test",
    )


@pytest.mark.parametrize(
    "other",
    ["[api]\ntoken_file = 'none'", "[hooks.github]\nsecret_file = 'none'", "[hooks.x]"],
)
def test_the_secret_of_one_hook_is_read_without_the_others(tmp_path, other):
    file = tmp_path / "config.toml"
    file.write_text(f"[webhook]\nsecret = 'a-secret-of-the-test'\n{other}\n")
    file.chmod(0o600)
    found = webhook_secrets({}, file=str(file), state=tmp_path)
    assert found == ("a-secret-of-the-test",)
