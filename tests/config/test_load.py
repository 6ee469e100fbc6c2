"""What is configured, where it comes from, and what is refused in one line."""

import subprocess
from dataclasses import astuple, fields, is_dataclass
from pathlib import Path

import pytest

from gms_hookd.config.validators import FSCK
from gms_hookd.contract import state_dir
from gms_hookd.errors import ConfigError
from gms_hookd.forges.registry import FORGES
from tests.support.configured import DAY, secret_file


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


# --- the state directory
def test_the_state_directory_is_searched_in_order():
    environ = {"HOME": "/home/me"}
    assert state_dir(environ, None, 0) == "/var/lib/gms-hookd"
    assert state_dir(environ, None, 1000) == "/home/me/.local/state/gms-hookd"
    environ["STATE_DIRECTORY"] = "/var/lib/one:/var/lib/two"
    assert state_dir(environ, None, 0) == "/var/lib/one"
    environ["GMS_HOOKD_STATE"] = "/srv/state"
    assert state_dir(environ, None, 0) == "/srv/state"
    assert state_dir(environ, "here", 0) == str(Path.cwd() / "here")


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


def test_all_that_fsck_may_be_told_to_allow_is_known_to_git(tmp_path):
    subprocess.run(("git", "init", "-q", "--bare", str(tmp_path / "r")), check=True)
    told = [word for kind in FSCK for word in ("-c", f"fsck.{kind}=ignore")]
    argv = ("git", f"--git-dir={tmp_path}/r", *told, "fsck")
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 0


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
