"""Command line, environment and files: which of them wins."""

import pytest

from gms_hookd.config.load import load_config, made_secret
from gms_hookd.config.secrets import secrets_of
from gms_hookd.errors import ConfigError
from tests.support.configured import secret_file


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
