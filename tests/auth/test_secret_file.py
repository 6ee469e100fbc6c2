"""What a secret file may be, as root and as the user of a service see it."""

import os

import pytest

from gms_hookd.auth.secret_file import SecretFileError, read_secret
from gms_hookd.files import SERVICE

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def secret(folder, mode, uid=0, gid=0):
    path = folder / "secret"
    path.write_text("a-secret-of-the-test\n")
    os.chown(path, uid, gid)
    path.chmod(mode)
    return path


def read_as(user, path):
    """Read in a process of a user; returns what is said."""
    out, into = os.pipe()
    if not (child := os.fork()):
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        try:
            said = read_secret(path)
        except SecretFileError as error:
            said = str(error)
        os.write(into, said.encode())
        os._exit(0)
    os.close(into)
    os.waitpid(child, 0)
    with open(out) as pipe:
        return pipe.read()


@needs_root
def test_root_and_the_service_take_a_file_that_root_shares_by_a_group(open_place):
    path = secret(open_place, 0o640, gid=NOBODY)
    assert read_secret(path) == read_as(NOBODY, path) == "a-secret-of-the-test"


@needs_root
def test_root_and_the_service_take_the_service_s_own_file(open_place):
    path = secret(open_place, 0o600, NOBODY, NOBODY)
    assert read_secret(path) == read_as(NOBODY, path) == "a-secret-of-the-test"


@needs_root
@pytest.mark.parametrize(
    ("mode", "uid", "remedy"),
    [(0o644, 0, "chmod 600 "), (0o640, NOBODY, "chmod 600 "), (0o602, 0, "chmod 600")],
)
def test_a_file_that_is_open_is_refused_with_a_remedy(open_place, mode, uid, remedy):
    path = secret(open_place, mode, uid)
    with pytest.raises(SecretFileError, match=f"is open to others: {remedy}"):
        read_secret(path)


@needs_root
def test_a_file_that_root_keeps_to_itself_is_told_apart(open_place):
    path = secret(open_place, 0o600)
    assert "may not read it: run this as root" in read_as(NOBODY, path)


@needs_root
def test_the_service_is_told_how_root_shares_a_file_with_it(open_place, monkeypatch):
    monkeypatch.setattr("gms_hookd.files.user_name", lambda: SERVICE)
    path = secret(open_place, 0o600)
    shared = f"chgrp gms-hookd {path} && chmod 640 {path}"
    assert read_as(NOBODY, path).endswith(f"may not read it: {shared}")
    path.chmod(0o644)
    assert read_as(NOBODY, path).endswith(f"is open to others: {shared}")
    open_place.chmod(0o700)
    assert f"may not enter {open_place}: move it" in read_as(NOBODY, path)
