"""Files of TOML and YAML: what is read, and what is refused in one line."""

import json
import os
import random
import re
from dataclasses import fields
from pathlib import Path

import pytest

from gms_hookd.config.load import load_config
from gms_hookd.config.records import Config
from gms_hookd.config.sources import KEYS
from gms_hookd.errors import ConfigError
from gms_hookd.git.credentials import Credential
from tests.support.configured import DAY, STRONG


def test_every_key_of_toml_is_read(everything, tmp_path):
    assert everything.file == tmp_path / "config.toml"
    assert everything.server.listen[1:] == (
        "[::1]:0", ":8080", "*:81", "unix:/run/x/y.sock",
    )  # fmt: skip
    assert everything.server.tls_cert == tmp_path / "cert.pem"
    assert everything.server.trusted_proxies == ("10.0.0.0/8", "::1")
    assert everything.server.max_body == 2**20
    assert everything.webhook.secrets == ("new", "old")
    assert everything.webhook.rate_limit == 0
    assert everything.api.tokens == ("t0ken",)
    assert everything.sync.timeout == 5400
    assert everything.sync.ssh_known_hosts == tmp_path / "known_hosts"
    assert everything.retention.deliveries == 14 * DAY
    assert everything.credentials == (
        Credential("https://example.org/team", "me", tmp_path / "password", None),
        Credential("http://[::1]:8080", None, None, Path("/x/token")),
    )


EVERYTHING_IN_YAML = """\
server:
  listen: [127.0.0.1:38080, "[::1]:0", ":8080", "*:81", unix:/run/x/y.sock]
  tls_cert: cert.pem
  tls_key: key.pem
  trusted_proxies:
  - 10.0.0.0/8
  - ::1
  max_body: 1MiB
webhook:
  secrets: [new, old]   # newest first
  rate_limit: 0
  ip_whitelist: [192.168.1.0/24, "::ffff:10.0.0.1"]
hooks:
  github:
  my.gitlab: {provider: gitlab, scheme: token, secret: of gitlab, rate_limit: 60,
              ip_whitelist: []}
  ci:
    provider: generic
    header: X-Signature
    algorithm: sha512
    prefix: ''
    encoding: base64
api: {token: t0ken}
sync:
  workers: 2
  timeout: 1h30m
  attempts: 1
  allow_protocols: [https, http]
  ssh_key_file: /keys/id
  ssh_known_hosts: known_hosts
credentials:
  https://example.org/team:
    username: me
    password_file: password
  "http://[::1]:8080":
    token_file: /x/token
retention:
  runs: 1d
  deliveries: 2w
  backups: 12h
"""


def test_yaml_gives_what_toml_gives(conf, everything):
    config = conf(EVERYTHING_IN_YAML, "config.yml")
    for name in (f.name for f in fields(Config) if f.name not in ("file", "warnings")):
        assert getattr(config, name) == getattr(everything, name), name


GMS = """\
# Git Manage Service Configuration
server:
  # Service listening port
  port: 12345
database:
  type: sqlite
  path: data/git_sync.db
webhook:
  # SECURITY WARNING: Change this in production!
  secret: "%s"

  # Rate limit (requests per minute)
  rate_limit: 100
  ip_whitelist:%s
debug: false
rpc:
  port: 8888
"""


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (" []\n  # - 127.0.0.1", ()),
        ("", ()),
        (' ["10.0.0.1", # one\n 10.1.0.0/16]', ("10.0.0.1", "10.1.0.0/16")),
        ("\n    - 10.0.0.1\n    - '::1'   # two", ("10.0.0.1", "::1")),
        ("\n  - 10.0.0.1", ("10.0.0.1",)),
    ],
)
def test_the_file_of_gms_works_unchanged(conf, tmp_path, written, meant):
    config = conf(GMS % (STRONG, written), "config.yaml")
    assert config.server.listen == (":12345",)
    assert config.webhook.secrets == (STRONG,)
    assert config.webhook.rate_limit == 100
    assert config.webhook.ip_whitelist == meant
    [warning] = config.warnings
    assert warning.startswith("not used by gms-hookd: database, debug, rpc")


def test_foreign_sections_of_yaml_are_named_in_one_warning(conf):
    text = "redis: {x: 1}\nserver:\n  external_url: http://x\nlock:\n"
    [warning] = conf(text, "c.yaml").warnings
    assert warning.startswith(
        "not used by gms-hookd: redis, server.external_url, lock in "
    )


@pytest.mark.parametrize("gap", ["", "\u00a0\u00a0", "\u3000", "\u2003", "\u202f "])
@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ('ip_whitelist: ["10.9.8.0/24"]', "webhook.ip_whitelist"),
        ("rate_limit: 5", "webhook.rate_limit"),
        ("secret_file: /x", "webhook.secret_file"),
        ('trusted_proxies: ["10.0.0.1"]', "server.trusted_proxies"),
        ("token: x", "api.token"),
        ("workers: 3", "sync.workers"),
    ],
)
def test_a_key_outside_its_section_is_unknown(refused, key, meant, gap):
    line = refused(f'webhook:\n  secret: "x"\n{gap}{key}\n', "c.yaml")
    assert f"unknown key (did you mean {meant}?)" in line
    assert ("is no space: indent with spaces" in line) == bool(gap)


@pytest.mark.parametrize("section", ["ai:\n  x: 1", "ntp: 1", "server2:\n  port: 1"])
def test_a_section_that_gms_has_not_is_unknown(refused, section):
    line = refused(f"{section}\nwebhook:\n  secret: x\n", "c.yaml")
    assert "unknown " in line


@pytest.mark.parametrize("key", ["ip_whitelist", "\u3000ip_whitelist", "rate_limit"])
def test_a_key_of_ours_in_a_section_of_gms_is_unknown(refused, key):
    line = refused(f"webhook:\n  secret: x\nrpc:\n  port: 1\n  {key}: []\n", "c.yaml")
    assert line.startswith("rpc.")
    assert f"unknown key (did you mean webhook.{key.strip()}?)" in line


def test_a_section_without_indented_keys_does_not_swallow_them(refused):
    line = refused('webhook:\nsecret: "x"\nrate_limit: 5\n', "c.yaml")
    assert line.startswith("secret: unknown key (did you mean webhook.secret?)")


def test_blanks_that_only_look_like_one_are_named_inside_a_section_too(refused):
    line = refused("webhook:\n  \u00a0rate_limit: 5\n", "c.yaml")
    assert "(did you mean webhook.rate_limit?): U+00A0 is no space" in line


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "webhook:\nserver:\n"])
def test_an_empty_file_is_fine(conf, text):
    assert conf(text, "c.yaml").webhook.rate_limit == 100


# --- what is refused
WRONG = [
    # names
    ("[webhook]\nsercet = 'x'",
     "webhook.sercet: unknown key (did you mean webhook.secret?)"),
    ("[hooks.github]\nsecert = 'x'",
     "hooks.github.secert: unknown key (did you mean hooks.github.secret?)"),
    ("[server]\nworkers = 1",
     "server.workers: unknown key (did you mean sync.workers?)"),
    ("[webhok]", "webhok: unknown section (did you mean webhook?)"),
    ("port = 1", "port: unknown key (did you mean server.port?)"),
    ("[nonsense]", "nonsense: unknown section (known are server, webhook, hooks,"),
    ("[sync]\n\"a\\nb\" = 1", 'sync."a\\nb": unknown key (known are workers,'),
    # types
    ("webhook = 1", "webhook: must be a section"),
    ("[hooks]\ngithub = 'x'", "hooks.github: must be a section"),
    ("[webhook]\nsecret = 1", "webhook.secret: must be a text, not a number: put"),
    ("[webhook]\nsecret = true", "webhook.secret: must be a text, not true or false"),
    ("[webhook]\nsecret = 2001-01-01", "webhook.secret: must be a text, not a date"),
    ("[webhook]\nsecret = ['x']", "webhook.secret: must be a text, not a list in"),
    ("[webhook]\nsecrets = 'x'", 'webhook.secrets: must be a list, as in ["..."]'),
    ("[webhook]\nsecrets = ['x', 1]", "webhook.secrets: must be a text, not a number"),
    ("[webhook]\nrate_limit = true", "webhook.rate_limit: must be a whole number"),
    ("[webhook]\nrate_limit = 1.0", "webhook.rate_limit: must be a whole number"),
    ("[webhook]\nrate_limit = '1'", "webhook.rate_limit: must be a whole number"),
    ("[webhook]\nrate_limit = -1", "webhook.rate_limit: must be from 0 to"),
    ("[webhook]\nip_whitelist = '::1'", "webhook.ip_whitelist: must be a list"),
    ("[server]\nport = 0", "server.port: must be from 1 to 65535"),
    ("[server]\nport = 65536", "server.port: must be from 1 to 65535"),
    ("[sync]\nworkers = 0", "sync.workers: must be from 1 to"),
    ("[sync]\nattempts = 0", "sync.attempts: must be from 1 to"),
    ("[sync]\ntimeout = 30", "sync.timeout: must be a text, not a number"),
    ("[sync]\nssh_key_file = ''", "sync.ssh_key_file: must be one line"),
    # values
    ("[webhook]\nip_whitelist = ['10.0.0.0/33']", "webhook.ip_whitelist: '10.0"),
    ("[server]\ntrusted_proxies = ['proxy']", "server.trusted_proxies: 'proxy' is no"),
    ("[server]\ntrusted_proxies = ['unix:a']", "server.trusted_proxies: 'unix:a' is"),
    ("[sync]\ntrust_owners = 'git'", "sync.trust_owners: must be a list, as in"),
    ("[sync]\ntrust_owners = ['no-such-user']", "sync.trust_owners: 'no-such-user' is"),
    ("[sync]\ntrust_owners = [-1]", "sync.trust_owners: must be from 0 to"),
    ("[sync]\ntrust_owners = [true]", "sync.trust_owners: must be a whole number"),
    ("[webhook]\nip_whitelist = ['unixes']", "webhook.ip_whitelist: 'unixes' is no"),
    ("[server]\nlisten = []", "server.listen: must be a list, nothing twice"),
    ("[server]\nlisten = [':1', ':1']", "server.listen: must be a list, nothing twice"),
    ("[server]\nlisten = ['::1:80']", "server.listen: '::1:80' is none of HOST:PORT"),
    ("[server]\nlisten = ['[::g]:80']", "server.listen: '[::g]:80' is none of"),
    ("[server]\nlisten = ['x:65536']", "server.listen: 'x:65536' is none of HOST:PORT"),
    ("[server]\nlisten = ['unix:']", "server.listen: 'unix:' is none of HOST:PORT"),
    (f"[server]\nlisten = ['unix:{'x' * 108}']", "server.listen: the path is longer"),
    ("[server]\nport = 1\nlisten = [':1']",
     "server.port: is set as well as server.listen: keep one"),
    ("[server]\ntls_cert = '/x'", "server.tls_cert: /x: No such file"),
    ("[server]\ntls_cert = '/etc/passwd'", "server.tls_key: is missing"),
    ("[server]\ntls_key = '/etc/passwd'", "server.tls_cert: is missing"),
    ("[server]\nmax_body = '1M'", "server.max_body: not a size"),
    ("[server]\nmax_body = 0", "server.max_body: must be from 1 byte"),
    ("[server]\nmax_body = '2GiB'", "server.max_body: must be from 1 byte"),
    ("[sync]\ntimeout = '30'", "sync.timeout: needs a unit"),
    ("[sync]\ntimeout = '10 minutes'", "sync.timeout: not a duration"),
    ("[retention]\nruns = '0d'", "retention.runs: must be more than nothing"),
    ("[sync]\nallow_protocols = ['ftp']", "sync.allow_protocols: 'ftp' is none of"),
    ("[sync]\nallow_protocols = []", "sync.allow_protocols: '' is none of"),
    # secrets
    ("[webhook]\nsecret = ''", "webhook.secret: is empty"),
    ("[webhook]\nsecret = ' '", "webhook.secret: is empty"),
    ("[webhook]\nsecrets = []", "webhook.secrets: is empty"),
    ("[webhook]\nsecrets = ['x', '']", "webhook.secrets: is empty"),
    ("[hooks.github]\nsecret = ''", "hooks.github.secret: is empty"),
    ("[api]\ntoken = ''", "api.token: is empty"),
    ("[api]\ntoken = 'a b'", "api.token: must be visible ASCII"),
    ("[webhook]\nsecret = 'x'\nsecret_file = '/x'",
     "webhook.secret_file: is set as well as webhook.secret: keep one"),
    ("[webhook]\nsecrets = ['x']\nsecret = 'x'",
     "webhook.secrets: is set as well as webhook.secret: keep one"),
    ("[api]\ntoken = 'x'\ntoken_file = '/x'", "api.token_file: is set as well as"),
    ("[api]\ntokens = []", "api.tokens: is empty"),
    ("[api]\ntokens = ['x', 'a b']", "api.tokens: must be visible ASCII"),
    ("[api]\ntokens = ['x']\ntoken = 'x'", "api.tokens: is set as well as api.token"),
    ("[api]\nread_token = ''", "api.read_token: is empty"),
    ("[api]\nread_token = 'caf\u00e9'", "api.read_token: must be visible ASCII"),
    ("[api]\nread_token = 'x'\nread_token_file = '/x'",
     "api.read_token_file: is set as well as"),
    ("[api]\nread_token_file = '/nowhere'", "api.read_token_file: /nowhere: No such"),
    ("[api]\ntokens = ['y', 'x']\nread_token = 'x'",
     "api.read_token: is api.token too"),
    ("[webhook]\nsecret_file = '/nowhere'", "webhook.secret_file: /nowhere: No such"),
    ("[webhook]\nsecret_file = '/'", "webhook.secret_file: /: is not a regular file"),
    # hooks
    ("[hooks.task-sync]", "hooks.task-sync: is GMS's own hook: set it up in [webhook]"),
    ("[hooks.runs]\nprovider = 'github'", "hooks.runs: is taken by the API"),
    ("[hooks.'a b']\nprovider = 'github'", 'hooks."a b": must be 1 to 64 letters'),
    ("[hooks.'..']\nprovider = 'github'", 'hooks."..": must be 1 to 64 letters'),
    ("[hooks.'é']\nprovider = 'github'", "must be 1 to 64 letters"),
    (f"[hooks.{'x' * 65}]\nprovider = 'github'", "must be 1 to 64 letters"),
    ("[hooks.mine]", "hooks.mine.provider: is missing: name one of github, gitlab,"),
    ("[hooks.mine]\nprovider = 'gms'", "hooks.mine.provider: 'gms' is none of github,"),
    ("[hooks.gitlab]\nscheme = 'hmac'", "hooks.gitlab.scheme: gitlab has"),
    ("[hooks.github]\nheader = 'X-A'", "hooks.github.header: not an option"),
    ("[hooks.generic]\nheader = 'a b'", "hooks.generic.header: must be the name of"),
    ("[hooks.generic]\nalgorithm = 'md5'", "hooks.generic.algorithm: must be one of"),
    ("[hooks.generic]\nencoding = 'b64'", "hooks.generic.encoding: must be one of"),
    ("[hooks.svix]\nsecret = '!'", "hooks.svix.secret: the secret is not"),
    # credentials
    ("[credentials.'ssh://x']\ntoken_file = '/x'",
     'credentials."ssh://x".token_file: is for https:// only: set ssh_key_file or'),
    ("[credentials.'ssh://x']\nusername = 'x'\nssh_key_file = '/x'",
     'credentials."ssh://x".username: is for https:// only'),
    ("[credentials.'https://x']\ntoken_file = '/x'\nssh_known_hosts = '/x'",
     'credentials."https://x".ssh_known_hosts: is for ssh:// only: set username or'),
    ("[credentials.'ssh://x']", 'credentials."ssh://x": says nothing: set ssh_key_'),
    ("[credentials.'ssh://a:b@x']\nssh_key_file = '/x'", "must begin like"),
    ("[credentials.'git@x:y']\nssh_key_file = '/x'", "must begin like"),
    ("[credentials.'ssh://x']\nssh_key_file = '/'", "is not a regular file"),
    ("[sync]\nssh_key_file = '/'", "sync.ssh_key_file: /: is not a regular file"),
    ("sync.allow_protocols = ['https']\n[credentials.'ssh://x']\nssh_key_file = '/x'",
     'credentials."ssh://x": ssh is not in sync.allow_protocols'),
    ("[credentials.'https://']\ntoken_file = '/x'", 'credentials."https://": must'),
    ("[credentials.'https://h/?a']\ntoken_file = '/x'", "must begin like"),
    ("[credentials.'http://h']\ntoken_file = '/x'",
     'credentials."http://h": http is not in sync.allow_protocols'),
    ("[credentials.'https://h']", 'credentials."https://h": names no secret'),
    ("[credentials.'https://h']\ntoken_file = '/x'\npassword_file = '/x'",
     'credentials."https://h".token_file: is set as well as'),
    ("[credentials.'https://h']\npassword_file = '/x'",
     'credentials."https://h".username: is missing'),
    # form
    ("[webhook", "Expected ']'"), ("a = 1\na = 2", "Cannot overwrite"),
    ("a = " + "[" * 20000, "is nested too deeply"), ("a = " + "9" * 5000, "4300 dig"),
    ("\ufeff[webhook]", "begins with a byte order mark"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), WRONG, ids=[w[0][:40] for w in WRONG])
def test_what_is_wrong_is_refused_in_one_line(refused, text, line):
    assert line in refused(text)


WRONG_YAML = [
    ("webhook:\n\tsecret: x", "c.yaml: line 2, column 1: tabs are refused"),
    ("webhook: {secret: a}\nwebhook: {}", "line 2, column 1: duplicate key"),
    ("- a", "the file: must be a section with keys"),
    ("webhook:\n  secret:", "webhook.secret: has no value"),
    ("webhook:\n  secret: 12345678", "webhook.secret: must be a text, not a number"),
    ("webhook:\n  secret: yes", "webhook.secret: must be a text, not true or false"),
    ("webhook:\n  secret: 2001-01-01", "webhook.secret: must be a text, not a date"),
    (
        "webhook:\n  ip_whitelist:\n  -",
        "webhook.ip_whitelist: must be a text, not nothin",
    ),
    ("webhook:\n  ip_whitelist: 10.0.0.1", "webhook.ip_whitelist: must be a list"),
    ("webhook:\n  on: 1", "webhook: the key True must be a text"),
    ("Webhook:\n  secret: x", "Webhook: unknown section (did you mean webhook?)"),
    ("webhooks:\n  secret: x", "webhooks: unknown section (did you mean webhook?)"),
    ("webhook:\n  rate-limit: 1", "(did you mean webhook.rate_limit?)"),
]


@pytest.mark.parametrize(("text", "line"), WRONG_YAML, ids=[w[0] for w in WRONG_YAML])
def test_what_is_wrong_in_yaml_is_refused_in_one_line(refused, text, line):
    assert line in refused(text, "c.yaml")


def test_a_refusal_shows_no_secret(refused):
    url = "https://me:pa55word@example.org"
    line = refused(f"[credentials.'{url}']\ntoken_file = '/x'")
    assert "must begin like" in line
    assert "pa55word" not in line
    assert "pa55word" not in refused("[api]\ntoken = 'pa55 word'")
    assert "pa55word" not in refused("[hooks.svix]\nsecret = 'pa55word!'")


def test_a_broken_file_is_refused_by_its_name(tmp_path, refused):
    def of(path):
        with pytest.raises(ConfigError) as refusal:
            load_config({}, file=str(path), state=tmp_path)
        return str(refusal.value)

    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "large.toml").write_text("#" * (1 << 20) + "#")
    (tmp_path / "c.conf").touch()
    assert "not UTF-8 at byte 6" in of(tmp_path / "latin.toml")
    assert "is not a regular file" in of(tmp_path / "folder.toml")
    assert "is not a regular file" in of(tmp_path / "pipe.toml")
    assert "is larger than 1 MiB" in of(tmp_path / "large.toml")
    assert "must end in .toml, .yaml or .yml" in of(tmp_path / "c.conf")
    assert (
        of(tmp_path / "none.toml") == f"{tmp_path}/none.toml: No such file or directory"
    )


# --- any file
VALUES = [
    "", " ", "x", "10m", "1MiB", "::1", ":80", "unix:/x", "https", "https://h",
    "github", "/etc/passwd", "my-secret-key", "\0", "a\nb", 0, 1, -1, 2**62, 1.5, True,
    None, [],
    ["x"], ["x", "x"], [":80"], ["::1"], [1], [None], {}, {"a": 1}, {"secret": "x"},
]  # fmt: skip


def content(rng):
    """Make a file of sections and keys that are ours or nearly so, with any values."""
    found = {}
    for section, keys in rng.sample(sorted(KEYS.items()), rng.randint(0, 4)):
        names = rng.sample(
            [*keys, f"{section[:-1]}.corp", "keys", "x"], rng.randint(0, 3)
        )
        table = {name: rng.choice(VALUES) for name in names}
        named = {rng.choice(["github", "generic", "https://h", "a b"]): table}
        found[section] = named if section in ("hooks", "credentials") else table
    if rng.random() < 0.2:
        found[rng.choice(["rpc", "webhok", "x", *KEYS])] = rng.choice(VALUES)
    return found


def test_any_file_is_a_configuration_or_one_line(conf):
    rng = random.Random(3)
    refusals = []
    for _ in range(600):
        try:
            conf(json.dumps(content(rng)), "c.yaml")
        except ConfigError as error:
            refusals.append(str(error))
    assert 40 < len(refusals) < 560
    assert all(re.fullmatch(r"[^\n]*: [^\n]+", line) for line in refusals)
