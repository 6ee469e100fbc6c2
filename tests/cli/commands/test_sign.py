"""What `sign` prints, and whose secret it signs with."""

import hashlib
import hmac
import os

from gms_hookd.cli import configuration
from tests.support.command_line import SECRET, finished


def test_a_signature_is_what_openssl_makes(ok, tmp_path):
    body = b'{"task_id": 1}\n'
    (tmp_path / "body").write_bytes(body)
    wanted = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert ok("sign", tmp_path / "body") == f"sha256={wanted}\n"
    with (tmp_path / "body").open() as stdin:
        assert finished("sign", stdin=stdin)[:2] == (0, f"sha256={wanted}\n")


def test_signing_without_a_secret_is_status_2(no, environ):
    environ.write_text("")
    status, line = no("sign", os.devnull)
    assert (status, "webhook.secret" in line) == (2, True)


def test_root_signs_with_the_secret_that_the_service_was_handed(tmp_path, monkeypatch):
    folder, state = tmp_path / "credentials", tmp_path / "state"
    folder.mkdir()
    monkeypatch.setattr(configuration, "SERVICE_CREDENTIALS", str(folder))
    assert configuration.with_credentials({}, state) == {}
    monkeypatch.setattr(configuration, "SERVICE_STATE", state)
    handed = {"CREDENTIALS_DIRECTORY": str(folder)}
    assert configuration.with_credentials({}, state) == handed
    own = {"CREDENTIALS_DIRECTORY": "/run/credentials/another.service"}
    assert configuration.with_credentials(own, state) == own
