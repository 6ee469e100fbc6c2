"""Load a configuration from a text."""

import json

import pytest

from gms_hookd.config.load import load_config
from gms_hookd.errors import ConfigError
from tests.support.configured import EVERYTHING, secret_file


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


@pytest.fixture
def everything(conf, tmp_path):
    for name in ("cert.pem", "key.pem", "password"):
        secret_file(tmp_path / name)
    return conf(EVERYTHING)


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
