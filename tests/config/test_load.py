"""What is configured, where it comes from, and what is refused in one line."""

import json
import os
import random
import re
import stat
import subprocess
from dataclasses import astuple, fields, is_dataclass
from pathlib import Path

import pytest

from gms_hookd.config.load import load_config, made_secret, refuse_weak, webhook_secrets
from gms_hookd.config.records import Config
from gms_hookd.config.secrets import secrets_of
from gms_hookd.config.sources import KEYS
from gms_hookd.config.validators import FSCK
from gms_hookd.errors import ConfigError
from gms_hookd.forges.registry import FORGES
from gms_hookd.git.credentials import Credential
from gms_hookd.service.state_dir import state_dir

DAY = 86400
STRONG = "9f2c61d0b7a84e35"


@pytest.fixture
def conf(tmp_path):
    """Load a configuration from a text, or from none."""

    def loaded(text=None, name="config.toml", environ=None, **overrides):
        if text is not None:
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o600)
        named = str(tmp_path / name) if text is not None else None
        return load_config(
            environ or {},
            file=named,
            state=tmp_path,
            overrides=overrides.get("overrides", {}),
            folder=tmp_path / "etc",
        )

    return loaded


@pytest.fixture
def refused(conf):
    """Return the one line with which a configuration is refused."""

    def line(*args, **more):
        with pytest.raises(ConfigError) as refusal:
            conf(*args, **more)
        assert len(str(refusal.value).splitlines()) == 1
        return str(refusal.value)

    return line


def secret_file(path, text="from a file\n", mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


# --- without a file


def test_defaults_are_those_of_the_contract(conf):
    config = conf()
    assert config.file is None
    assert config.server.listen == ("127.0.0.1:38080",)
    assert config.server.max_body == 25 * 2**20
    assert (config.webhook.name, config.webhook.provider) == ("task-sync", "gms")
    assert config.webhook.secrets == ()
    assert config.webhook.rate_limit == 100
    assert (config.api.tokens, config.api.read_token) == ((), None)
    assert (config.sync.workers, config.sync.timeout, config.sync.attempts) == (
        8,
        600,
        5,
    )
    assert config.sync.allow_protocols == ("https", "ssh", "file")
    kept = config.retention
    assert (kept.runs, kept.deliveries, kept.backups) == (90 * DAY, 30 * DAY, 30 * DAY)
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("said", "shard"),
    [("1/3", (1, 3)), ("3/3", (0, 3)), ("0/3", (0, 3)), ("1/1", (0, 1))],
)
def test_a_node_is_one_of_several(conf, said, shard):
    config = conf(f'[server]\nshard = "{said}"\n')
    assert astuple(config.server.shard) == shard
    assert conf(environ={"GMS_HOOKD_SERVER_SHARD": said}).server.shard.count == shard[1]


@pytest.mark.parametrize("said", ['"4/3"', '"1"', '"-1/3"', '"1/0"', '"0/0"', "3"])
def test_a_node_that_cannot_be_is_refused(conf, said):
    with pytest.raises(ConfigError, match=r"server\.shard: must be"):
        conf(f"[server]\nshard = {said}\n")


# --- the file

EVERYTHING = """
[server]
listen = ["127.0.0.1:38080", "[::1]:0", ":8080", "*:81", "unix:/run/x/y.sock"]
tls_cert = "cert.pem"
tls_key = "key.pem"
trusted_proxies = ["10.0.0.0/8", "::1"]
max_body = "1MiB"
[webhook]
secrets = ["new", "old"]
rate_limit = 0
ip_whitelist = ["192.168.1.0/24", "::ffff:10.0.0.1"]
[hooks.github]
[hooks."my.gitlab"]
provider = "gitlab"
scheme = "token"
secret = "of gitlab"
rate_limit = 60
ip_whitelist = []
[hooks.ci]
provider = "generic"
header = "X-Signature"
algorithm = "sha512"
prefix = ""
encoding = "base64"
[api]
token = "t0ken"
[sync]
workers = 2
timeout = "1h30m"
attempts = 1
allow_protocols = ["https", "http"]
ssh_key_file = "/keys/id"
ssh_known_hosts = "known_hosts"
[credentials."https://example.org/team"]
username = "me"
password_file = "password"
[credentials."http://[::1]:8080"]
token_file = "/x/token"
[retention]
runs = "1d"
deliveries = "2w"
backups = "12h"
"""


@pytest.fixture
def everything(conf, tmp_path):
    for name in ("cert.pem", "key.pem", "password"):
        secret_file(tmp_path / name)
    return conf(EVERYTHING)


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


SSH = """[sync]
ssh_key_file = "id"
[credentials."ssh://git@h.example:2222/team/"]
ssh_key_file = "team"
ssh_known_hosts = "/pins"
"""


def test_an_ssh_prefix_has_a_key_and_pinned_hosts(conf, tmp_path):
    secret_file(tmp_path / "team")
    config = conf(SSH)
    (credential,) = config.credentials
    assert credential.ssh_key_file == tmp_path / "team"
    assert credential.ssh_known_hosts == Path("/pins")
    assert [w for w in config.warnings if "/pins does not exist yet" in w]


@pytest.mark.parametrize("name", ["id", "team"])
def test_an_ssh_key_that_others_can_read_is_refused(conf, tmp_path, name):
    secret_file(tmp_path / name).chmod(0o644)
    with pytest.raises(ConfigError, match=f"ssh_key_file: .*chmod 600 .*{name}"):
        conf(SSH)


def test_hooks_inherit_secrets_and_whitelist_but_no_rate_limit(everything):
    github, gitlab, generic = everything.hooks
    assert (github.name, github.provider) == ("github", "github")
    assert github.secrets == ("new", "old")
    assert github.rate_limit is None
    assert github.ip_whitelist == everything.webhook.ip_whitelist
    assert (gitlab.name, gitlab.scheme) == ("my.gitlab", "token")
    assert (gitlab.secrets, gitlab.rate_limit) == (("of gitlab",), 60)
    assert gitlab.ip_whitelist == ()
    assert dict(generic.options) == {
        "header": "X-Signature", "algorithm": "sha512", "prefix": "",
        "encoding": "base64",
    }  # fmt: skip


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


def frozen(value):
    if is_dataclass(value):
        assert value.__dataclass_params__.frozen
        [frozen(getattr(value, f.name)) for f in fields(value)]
    elif isinstance(value, tuple):
        [frozen(item) for item in value]
    else:
        assert not isinstance(value, list | dict | set)


@pytest.mark.parametrize(
    ("more", "shared"),
    [
        ("", True),
        ("trusted_proxies = ['10.0.0.1']", True),
        ("trusted_proxies = ['unix:/run/g']", True),
        ("trusted_proxies = ['unix']", False),
        ("trusted_proxies = ['unix:/run/f']", False),
        ("[webhook]\nrate_limit = 0", False),
        ("[webhook]\nrate_limit = 0\nip_whitelist = ['::1']", True),
    ],
)
def test_what_the_clients_of_a_unix_socket_share_is_a_warning(conf, more, shared):
    text = f"[server]\nlisten = ['unix:/run/f']\n{more}"
    named = [w for w in conf(text).warnings if "all clients of unix:/run/f" in w]
    assert len(named) == shared
    assert all('add "unix" to server.trusted_proxies' in warning for warning in named)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", ()),
        ("trust_owners = []", ()),
        ("trust_owners = ['root', 'daemon', 1001, '1002', 1001]", (0, 1, 1001, 1002)),
    ],
)
def test_owners_are_users_by_name_or_number(conf, text, ids):
    assert conf(f"[sync]\n{text}").sync.trust_owners == ids


def test_owners_of_the_environment_are_a_list(conf):
    environ = {"GMS_HOOKD_SYNC_TRUST_OWNERS": "daemon, 1001"}
    assert conf(environ=environ).sync.trust_owners == (1, 1001)


def test_everything_is_frozen(everything):
    frozen(everything)


def test_secrets_are_not_in_the_representation(everything):
    text = repr(everything)
    assert not re.search(r"'new'|'old'|of gitlab|t0ken", text)


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


# --- which file


def test_the_file_is_searched_in_order(tmp_path):
    etc = tmp_path / "etc"
    etc.mkdir()
    named = {"GMS_HOOKD_CONFIG": str(tmp_path / "b.toml")}

    def found(environ, file=None):
        return load_config(environ, file=file, state=tmp_path, folder=etc).file

    assert found({}) is None
    assert found({"GMS_HOOKD_CONFIG": ""}) is None
    for path in (etc / "config.yaml", etc / "config.toml", tmp_path / "b.toml"):
        path.touch()
        assert found({} if path.parent == etc else named) == path
    (tmp_path / "a.toml").touch()
    assert found(named, str(tmp_path / "a.toml")) == tmp_path / "a.toml"


def test_a_file_that_is_named_must_exist(tmp_path):
    for environ, file in (({}, "/no.toml"), ({"GMS_HOOKD_CONFIG": "/no.toml"}, None)):
        with pytest.raises(ConfigError, match=r"^/no\.toml: No such file"):
            load_config(environ, file=file, state=tmp_path)
    with pytest.raises(ConfigError, match="--config: is empty"):
        load_config({}, file="", state=tmp_path)


# --- precedence


def test_each_source_of_the_secret_overrules_the_next(conf, tmp_path):
    made_secret(tmp_path)
    made = (tmp_path / "webhook-secret").read_text().strip()
    assert conf().webhook.secrets == (made,)
    text = "[webhook]\nsecret = 'in the file'"
    assert conf(text).webhook.secrets == ("in the file",)
    (tmp_path / "cred").mkdir()
    secret_file(tmp_path / "cred/webhook-secret", "credential\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "cred")}
    assert conf(text, environ=environ).webhook.secrets == ("credential",)
    environ["GMS_HOOKD_WEBHOOK_SECRETS"] = "one, two"
    assert conf(text, environ=environ).webhook.secrets == ("one", "two")
    environ["WEBHOOK_SECRET"] = "as in GMS"
    config = conf(text, environ=environ)
    assert config.webhook.secrets == ("as in GMS",)


def test_a_hook_can_be_limited_to_tasks_and_docker_hub_called_back(conf):
    text = "[hooks.dockerhub]\nsecret = 'x'\ntasks = ['app', 2, '3']\ncallback = true"
    (hook,) = conf(text).hooks
    assert (hook.tasks, hook.callback) == (("app", 2, 3), True)
    (hook,) = conf("[hooks.github]\nsecret = 'x'").hooks
    assert (hook.tasks, hook.callback) == (None, False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[hooks.github]\ntasks = []", "hooks.github.tasks: must be a list of names"),
        ("[hooks.github]\ntasks = 'app'", "hooks.github.tasks: must be a list"),
        ("[hooks.github]\ntasks = [true]", "hooks.github.tasks: must be a whole"),
        ("[hooks.github]\ntasks = [0]", "hooks.github.tasks: must be from 1"),
        ("[hooks.github]\ncallback = true", "hooks.github.callback: is for Docker"),
        ("[hooks.dockerhub]\ncallback = 1", "hooks.dockerhub.callback: must be true"),
        ("[sync]\nreconcile = '10s'", 'sync.reconcile: must be "1m" or more'),
        ("[sync]\nreconcile = true", "sync.reconcile: must be a text"),
        ("[retention]\nbodies = 7", "retention.bodies: must be a text"),
    ],
)
def test_the_settings_of_deliveries_are_read_strictly(refused, text, says):
    assert says in refused(text)


def test_reconcile_can_be_off_and_bodies_be_kept(conf):
    assert conf("").sync.reconcile == 900.0
    assert conf("[sync]\nreconcile = 'off'").sync.reconcile == 0.0
    assert conf("sync:\n  reconcile: off", "c.yaml").sync.reconcile == 0.0
    assert conf("[sync]\nreconcile = '1h'").sync.reconcile == 3600.0


def test_how_long_a_host_may_be_silent_can_be_set(conf):
    assert conf("").sync.stall == 60.0
    assert conf("[sync]\nstall = '5m'").sync.stall == 300.0
    assert conf("").retention.bodies is None
    assert conf("[retention]\nbodies = '7d'").retention.bodies == 7 * DAY


def test_hooks_inherit_the_secret_that_won(conf):
    text = "[webhook]\nsecret = 'x'\n[hooks.github]\n[hooks.gitea]\nsecret = 'own'"
    config = conf(text, environ={"WEBHOOK_SECRET": "y"})
    assert [hook.secrets for hook in config.hooks] == [("y",), ("own",)]


def test_the_token_comes_from_the_same_sources(conf, tmp_path):
    secret_file(tmp_path / "api-token", "credential")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert conf("[api]\ntoken = 'file'").api.tokens == ("file",)
    assert conf("[api]\ntoken = 'file'", environ=environ).api.tokens == ("credential",)
    environ["GMS_HOOKD_API_TOKEN"] = "environment"
    assert conf("[api]\ntoken = 'file'", environ=environ).api.tokens == ("environment",)


def test_tokens_are_several_and_the_read_token_is_its_own_setting(conf, tmp_path):
    path = secret_file(tmp_path / "read", "r" * 40 + "\n")
    api = conf(f"[api]\ntokens = ['new', 'old']\nread_token_file = '{path}'").api
    assert (api.tokens, api.read_token) == (("new", "old"), "r" * 40)
    assert "new" not in repr(api)
    assert "rrr" not in repr(api)
    environ = {"GMS_HOOKD_API_TOKENS": "x1, x2", "GMS_HOOKD_API_READ_TOKEN": "x3"}
    config = conf("[api]\ntoken = 't1'\nread_token = 't2'", environ=environ)
    assert (config.api.tokens, config.api.read_token) == (("x1", "x2"), "x3")
    assert sum("has no effect" in warning for warning in config.warnings) == 2
    assert {"x1", "x2", "x3"} <= secrets_of(config, {})


def test_the_environment_overrules_every_plain_setting(conf, tmp_path):
    secret_file(tmp_path / "s")
    config = conf(
        "[server]\nport = 1\n[sync]\nworkers = 1\n[webhook]\nsecrets = ['x']",
        environ={
            "GMS_HOOKD_SERVER_LISTEN": "127.0.0.1:1, unix:/x",
            "GMS_HOOKD_SERVER_MAX_BODY": "1KiB",
            "GMS_HOOKD_WEBHOOK_SECRET_FILE": str(tmp_path / "s"),
            "GMS_HOOKD_WEBHOOK_IP_WHITELIST": "",
            "GMS_HOOKD_WEBHOOK_RATE_LIMIT": "7",
            "GMS_HOOKD_SYNC_WORKERS": "3",
            "GMS_HOOKD_SYNC_TIMEOUT": "1m",
            "GMS_HOOKD_RETENTION_RUNS": "1h",
            "GMS_HOOKD_CONFIG": "", "GMS_HOOKD_STATE": "", "GMS_HOOKD_DEBUG": "1",
        },
    )  # fmt: skip
    assert config.server.listen == ("127.0.0.1:1", "unix:/x")
    assert config.server.max_body == 1024
    assert config.webhook.secrets == ("from a file",)
    assert config.webhook.rate_limit == 7
    assert (config.sync.workers, config.sync.timeout) == (3, 60)
    assert config.retention.runs == 3600


def test_the_command_line_overrules_the_environment(conf):
    environ = {"GMS_HOOKD_SERVER_PORT": "1"}
    assert conf(environ=environ).server.listen == (":1",)
    overrides = {"server.listen": ("unix:/x",)}
    config = conf(environ=environ, overrides=overrides)
    assert config.server.listen == ("unix:/x",)


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"GMS_HOOKD_WEBHOOK_SERCET": "x"},
         "GMS_HOOKD_WEBHOOK_SERCET: unknown variable (did you mean GMS_HOOKD_WEBHOOK"),
        ({"GMS_HOOKD_X": "1"}, "GMS_HOOKD_X: unknown variable"),
        ({"GMS_HOOKD_SYNC_WORKERS": "many"}, "GMS_HOOKD_SYNC_WORKERS: must be a whole"),
        ({"GMS_HOOKD_SYNC_WORKERS": ""}, "GMS_HOOKD_SYNC_WORKERS: must be a whole"),
        ({"WEBHOOK_SECRET": ""}, "WEBHOOK_SECRET: is empty"),
        ({"WEBHOOK_SECRET": "caf\udce9"}, "WEBHOOK_SECRET: is not UTF-8 text"),
        ({"GMS_HOOKD_WEBHOOK_SECRET": " "}, "GMS_HOOKD_WEBHOOK_SECRET: is empty"),
        ({"GMS_HOOKD_WEBHOOK_SECRETS": ","}, "GMS_HOOKD_WEBHOOK_SECRETS: is empty"),
        ({"GMS_HOOKD_WEBHOOK_SECRET": "x", "GMS_HOOKD_WEBHOOK_SECRETS": "x"},
         "is set as well as GMS_HOOKD_WEBHOOK_SECRET: keep one"),
    ],
)  # fmt: skip
def test_a_wrong_variable_is_refused_by_its_name(refused, environ, line):
    assert line in refused(environ=environ)


def test_what_is_overruled_is_still_checked(refused):
    environ = {"GMS_HOOKD_SYNC_WORKERS": "3", "WEBHOOK_SECRET": "x"}
    assert "sync.workers" in refused("[sync]\nworkers = 0", environ=environ)
    assert "webhook.secret" in refused("[webhook]\nsecret = 1", environ=environ)


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


@pytest.fixture
def given(tmp_path):
    """Give a secret by one of the ways; returns the text and the environment."""

    def give(way, secret):
        quoted = json.dumps(secret)
        (tmp_path / "given").mkdir()
        file = secret_file(tmp_path / "given" / "webhook-secret", secret)
        credential = f"[credentials.'https://h']\nusername = 'x'\n{way}_file = '{file}'"
        texts = {
            "inline": f"[webhook]\nsecret = {quoted}",
            "of a hook": f"[hooks.gitea]\nsecrets = ['x', {quoted}]",
            "file": f"[webhook]\nsecret_file = '{file}'",
            "password": credential,
            "token": credential,
        }
        if way in texts:
            return texts[way], {}
        if way == "systemd":
            return "", {"CREDENTIALS_DIRECTORY": str(tmp_path / "given")}
        return "", {way: secret}

    return give


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


def test_an_inherited_secret_is_named_once(conf):
    text = "[webhook]\nsecret = 'x'\n[hooks.gitea]\n[hooks.github]"
    assert [w.split(":")[0] for w in conf(text).warnings] == ["webhook.secret"]


# --- the state directory


def test_the_state_directory_is_searched_in_order():
    environ = {"HOME": "/home/me"}
    assert state_dir(environ, None, 0) == Path("/var/lib/gms-hookd")
    assert state_dir(environ, None, 1000) == Path("/home/me/.local/state/gms-hookd")
    environ["STATE_DIRECTORY"] = "/var/lib/one:/var/lib/two"
    assert state_dir(environ, None, 0) == Path("/var/lib/one")
    environ["GMS_HOOKD_STATE"] = "/srv/state"
    assert state_dir(environ, None, 0) == Path("/srv/state")
    assert state_dir(environ, "here", 0) == Path.cwd() / "here"


def test_a_state_directory_without_a_name_is_refused():
    with pytest.raises(ConfigError, match="--state"):
        state_dir({}, "", 0)
    with pytest.raises(ConfigError, match="name --state DIR"):
        state_dir({}, None, 4_000_000)


def test_every_forge_can_be_a_hook_by_its_name_alone(conf):
    text = "[webhook]\nsecret = 'c2VjcmV0'\n" + "".join(
        f"[hooks.{provider}]\n" for provider in FORGES
    )
    assert [hook.provider for hook in conf(text).hooks] == list(FORGES)


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


def test_aliases_are_pairs_of_addresses(conf, refused):
    given = conf('[aliases]\n"git.corp:3000" = "git.example.org"\n"10.0.0.5/x" = "h"\n')
    assert given.aliases.pairs == (
        (("git.corp", 3000, ""), ("git.example.org", None, "")),
        (("10.0.0.5", None, "x"), ("h", None, "")),
    )
    yaml = "aliases:\n  git.corp: git.example.org\n"
    assert len(conf(yaml, "config.yaml").aliases.pairs) == 1
    for wrong in ('"a b" = "h"', '"h" = "user@h"', '"h" = 1', '"h" = ""'):
        assert refused(f"[aliases]\n{wrong}\n").startswith("aliases."), wrong


def test_a_credentials_scheme_may_be_in_capitals_and_its_path_may_have_spaces(conf):
    given = conf('[credentials."HTTPS://h/My Group"]\ntoken_file = "/none"\n')
    assert given.credentials[0].url == "https://h/My Group"


def test_certificates_and_what_fsck_may_find_are_set_for_each_host(conf, tmp_path):
    (tmp_path / "key").touch(0o600)
    given = conf(
        '[credentials."https://h"]\ntls_cert_file = "cert"\ntls_key_file = "key"\n'
        'ca_file = "/etc/ca.pem"\nallow_fsck = ["missingemail", "badDate"]\n'
        '[credentials."/srv/old"]\nallow_fsck = ["zeroPaddedFilemode"]\n'
        '[credentials."ssh://h"]\nallow_fsck = ["badTimezone"]\n'
    ).credentials
    assert (given[0].tls_cert_file, given[0].ca_file) == (
        tmp_path / "cert", Path("/etc/ca.pem"),
    )  # fmt: skip
    assert [each.allow_fsck for each in given] == [
        ("missingEmail", "badDate"), ("zeroPaddedFilemode",), ("badTimezone",),
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), [
    ("tls_key_file = '/k'", "tls_cert_file: is missing: a key needs its certificate"),
    ("allow_fsck = ['nonsense']", "allow_fsck: 'nonsense' is no kind of fault"),
    ("allow_fsck = 'badDate'", "allow_fsck: must be a list"),
    ("ca_file = '/c'\nssh_key_file = '/k'", "ssh_key_file: is for ssh:// only"),
])  # fmt: skip
def test_certificates_that_make_no_sense_are_refused(refused, text, line):
    assert line in refused(f"[credentials.'https://h']\n{text}")


def test_what_ssh_needs_to_reach_a_host_is_set_for_each_host(conf):
    given = conf(
        '[credentials."ssh://git@old.example"]\n'
        'ssh_options = ["hostkeyalgorithms = +ssh-rsa", "Ciphers=+aes128-cbc,x@y"]\n'
        'ssh_proxy = "socks5://user:p%40ss@proxy.example:1080"\n'
        '[credentials."ssh://h"]\nssh_proxy = "http://[::1]:3128/"\n'
    ).credentials
    assert given[0].ssh_options == (
        "HostKeyAlgorithms=+ssh-rsa", "Ciphers=+aes128-cbc,x@y",
    )  # fmt: skip
    assert (given[0].ssh_proxy.user, given[0].ssh_proxy.password) == ("user", "p@ss")
    assert given[0].ssh_proxy.place == "socks5://proxy.example:1080"
    assert given[1].ssh_proxy.place == "http://[::1]:3128"
    assert "p%40ss" not in repr(given)


@pytest.mark.parametrize(("text", "line"), [
    ('ssh_options = ["ProxyCommand=x"]', "'ProxyCommand=x' sets none of HostKeyAlgor"),
    ('ssh_options = ["StrictHostKeyChecking=no"]', "sets none of"),
    ('ssh_options = ["Ciphers"]', "'Ciphers' must look like \"Ciphers=+ssh-rsa\""),
    ('ssh_options = ["Ciphers=a b"]', "must look like"),
    ('ssh_options = ["Ciphers=%h"]', "must look like"),
    ('ssh_options = ["MACs=a", "macs=b"]', "MACs is there twice"),
    ('ssh_options = "MACs=a"', "ssh_options: must be a list"),
    ('ssh_proxy = "proxy.example:1080"', "ssh_proxy: must be a URL with host and port"),
    ('ssh_proxy = "socks5://proxy.example"', "ssh_proxy: must be a URL with host and"),
    ('ssh_proxy = "ftp://proxy.example:1"', "ssh_proxy: must be a URL"),
    ('ssh_proxy = "http://proxy.example:99999"', "ssh_proxy: is no URL of a proxy"),
    ('ssh_proxy = "http://proxy.example:1/x"', "ssh_proxy: must end after the port"),
])  # fmt: skip
def test_what_could_do_more_than_reach_a_host_is_refused(refused, text, line):
    assert line in refused(f"[credentials.'ssh://h']\n{text}")


def test_what_is_for_ssh_is_not_for_https(refused):
    text = "[credentials.'https://h']\nssh_proxy = 'socks5://p:1'"
    assert "ssh_proxy: is for ssh:// only" in refused(text)


def test_a_password_of_a_proxy_makes_the_file_a_secret(tmp_path):
    path = tmp_path / "c.toml"
    path.touch(0o644)
    for login, told in (("", False), ("user@", False), ("user:pass@", True)):
        text = f"[credentials.'ssh://h']\nssh_proxy = 'socks5://{login}p:1'"
        path.write_text(text)
        warnings = load_config({}, file=str(path), state=tmp_path).warnings
        assert told is any("holds a secret" in line for line in warnings)


def test_the_key_of_a_certificate_may_not_be_open(refused, tmp_path):
    (tmp_path / "both.pem").touch(0o644)
    text = "[credentials.'https://h']\ntls_cert_file = 'both.pem'"
    assert "both.pem" in refused(text)


def test_all_that_fsck_may_be_told_to_allow_is_known_to_git(tmp_path):
    subprocess.run(("git", "init", "-q", "--bare", str(tmp_path / "r")), check=True)
    told = [word for kind in FSCK for word in ("-c", f"fsck.{kind}=ignore")]
    argv = ("git", f"--git-dir={tmp_path}/r", *told, "fsck")
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 0


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


def test_what_a_payload_must_have_is_read_by_path(conf):
    text = """
    [hooks.generic]
    secret = "x"
    [hooks.generic.when]
    status = ["success", 7]
    "build.branch" = "main"
    build.final = true
    """
    (hook,) = conf(text).hooks
    assert [(each.path, each.wanted) for each in hook.when] == [
        ("status", ("success", 7)),
        ("build.branch", ("main",)),
        ("build.final", (True,)),
    ]


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ("when = 'x'", "hooks.generic.when: must be a section"),
        ("when = {}", "hooks.generic.when: must be a section"),
        ("when = {a = []}", "hooks.generic.when: a: must be a text, a number"),
        ("when = {a = {b = [[1]]}}", "hooks.generic.when: a.b: must be a text"),
        ("when = {a = 2026-01-01}", "hooks.generic.when: a: must be a text"),
    ],
)
def test_what_a_payload_cannot_have_is_refused(refused, when, says):
    assert says in refused(f"[hooks.generic]\nsecret = 'x'\n{when}")
