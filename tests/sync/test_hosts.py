"""Hosts reached by HTTP: logins, redirects, certificates; and what of it is seen."""

import base64
import os
import subprocess
from urllib.parse import unquote

import pytest

from gms_hookd.git.access import Need
from gms_hookd.model import RunStatus
from tests.support import seen
from tests.support.hosts import (
    Credential,
    HttpHost,
    certificate,
    free_port,
    outdated,
)
from tests.support.processes import command_lines
from tests.support.repositories import Repo, task

CANARY = f"s3cr3t-%{seen.CANARY}"


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.touch(0o600)
    path.write_text(CANARY + "\n")
    return path


def test_http_needs_permission(http_host, source, target, bench):
    outcome = bench.sync(task(http_host.url(source), target))
    assert outcome.status is RunStatus.FAILED
    assert "http is not in sync.allow_protocols" in outcome.error_message
    assert http_host.requests == []


def test_sync_over_http_with_a_password(http_host, source, target, opened, secret):
    http_host.let_in("bot", CANARY)
    bench = opened(credentials=[Credential(http_host.base + "/", "bot", secret)])
    it = task(http_host.url(source), http_host.url(target))
    assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    source.commit()
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()
    assert all("Authorization" in headers for _, _, headers in http_host.requests)


@pytest.mark.parametrize(("prefix", "name"), [
    ("My%20Group", "My Group/é"), ("My Group", "%4dy%20Group/%C3%A9"),
    ("my.group", "my.group/a=b"), ("%67", "g/a%27b"),
])  # fmt: skip
def test_a_secret_goes_to_its_prefix_however_that_is_encoded(
    http_host, tmp_path, target, opened, secret, prefix, name
):
    source = Repo(tmp_path / unquote(name))
    source.commit(files={"file": "text"})
    http_host.let_in("bot", CANARY)
    bench = opened(
        credentials=[Credential(f"{http_host.base}/{prefix}", "bot", secret)]
    )
    it = task(f"{http_host.base.replace('http', 'HTTP')}/{name}", target)
    assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    assert target.refs() == source.refs()


@pytest.mark.parametrize("bearer", [True, False])
def test_a_token_without_a_user_goes_as_bearer_or_as_password(
    http_host, source, target, opened, secret, bearer
):
    if bearer:
        http_host.accounts.add(f"Bearer {CANARY}")
    else:
        http_host.let_in("x-access-token", CANARY)
    credential = Credential(http_host.base, token_file=secret)
    bench = opened(credentials=[credential])
    it = task(http_host.url(source), target)
    assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    seen = len(http_host.requests)
    assert bench.sync(it).status is RunStatus.SUCCESS
    given = [h["Authorization"] for _, _, h in http_host.requests[seen:]]
    assert all(g in http_host.accounts for g in given), "what worked is remembered"


def test_a_secret_goes_to_its_own_prefix_only(
    http_host, source, target, opened, secret
):
    credentials = [
        Credential(http_host.base + "/sour", "bot", secret),
        Credential(http_host.base + "/source.git", "nearest", secret),
        Credential("https://127.0.0.1/", "other", secret),
    ]
    bench = opened(credentials=credentials)
    bench.sync(task(http_host.url(source), http_host.url(target)))
    sent = {p.split("/")[1]: h.get("Authorization") for _, p, h in http_host.requests}
    nearest = base64.b64encode(f"nearest:{CANARY}".encode()).decode()
    assert sent == {"source.git": f"Basic {nearest}", "target.git": None}


def test_a_secret_that_was_changed_is_used_in_the_next_run(
    http_host, source, target, opened, secret
):
    http_host.let_in("bot", "another")
    bench = opened(credentials=[Credential(http_host.base, "bot", secret)])
    it = task(http_host.url(source), target)
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.FAILED
    assert not outcome.transient
    assert "uthentication" in outcome.error_message
    secret.write_text("another\n")
    assert bench.sync(it).status is RunStatus.SUCCESS


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        ("two\nlines", "holds a control line break"),
        ("nul\0", "holds a control character (U+0000)"),
        ("cr\r\nx", "holds a control carriage return"),
    ],
)
def test_a_secret_that_is_not_one_line_is_refused(
    http_host, source, target, opened, secret, text, what
):
    secret.write_text(text)
    bench = opened(credentials=[Credential(http_host.base, "bot", secret)])
    outcome = bench.sync(task(http_host.url(source), target))
    assert f"{secret}: {what}" in outcome.error_message
    assert http_host.requests == []


def test_a_redirect_to_another_host_is_not_followed(
    http_host, source, target, opened, secret
):
    port = http_host.server_port
    away = f"http://localhost:{port}"

    def fault(request):
        if request.headers["Host"].startswith("localhost"):
            return False
        request.answer(301, {"Location": away + request.path})
        return True

    http_host.faults.append(fault)
    bench = opened(credentials=[Credential(http_host.base, "bot", secret)])
    outcome = bench.sync(task(http_host.url(source), target))
    assert outcome.status is RunStatus.FAILED
    assert not outcome.transient
    assert all(h["Host"] == f"127.0.0.1:{port}" for _, _, h in http_host.requests)


def test_no_secret_is_anywhere_to_be_seen(
    http_host, source, target, opened, secret, tmp_path
):
    http_host.let_in("bot", CANARY)
    seen = []
    http_host.faults.append(lambda _: seen.extend(command_lines()))
    bench = opened(credentials=[Credential(http_host.base, "bot", secret)])
    it = task(http_host.url(source), http_host.url(target))
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.SUCCESS
    secret.write_text(CANARY + "-wrong")
    wrong = bench.sync(it)
    header = base64.b64encode(f"bot:{CANARY}".encode())[:-6]
    found = [repr(outcome), repr(wrong), bench.log.text(), *seen]
    assert seen
    for text in (CANARY, header.decode()):
        assert not any(text in one for one in found)
        assert not holders(tmp_path / "caches", text)
        assert not holders(tmp_path / "home", text)


def holders(folder, text):
    files = (p for p in folder.rglob("*") if p.is_file())
    return [p for p in files if text.encode() in p.read_bytes()]


def test_other_children_do_not_get_the_secret(
    http_host, source, target, tmp_path, opened, secret
):
    spy = tmp_path / "spy"
    spy.write_text(
        f'#!/bin/sh\ncase "$2" in fetch|push|ls-remote) ;;'
        f' *) env >> {tmp_path}/env;; esac\nexec git "$@"\n'
    )
    spy.chmod(0o755)
    http_host.let_in("bot", CANARY)
    credential = Credential(http_host.base, "bot", secret)
    bench = opened(credentials=[credential], binary=str(spy))
    it = task(http_host.url(source), target, force=True)
    bench.sync(it)
    source.commit()
    target.commit()
    bench.sync(it)
    text = (tmp_path / "env").read_text()
    assert "GIT_CONFIG_COUNT" in text
    assert "Authorization" not in text


def test_a_busy_host_says_when_to_come_back(http_host, source, target, opened):
    http_host.faults.append(lambda r: r.answer(429, {"Retry-After": "77"}) or True)
    outcome = opened().sync(task(http_host.url(source), target))
    assert outcome.transient
    assert outcome.retry_after == 77.0


def test_a_proxy_that_is_down_is_transient(source, target, opened):
    proxy = {"http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    outcome = opened(proxy).sync(task("http://example.invalid/x.git", target))
    assert outcome.status is RunStatus.FAILED
    assert outcome.transient


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_a_local_repository_of_a_trusted_user_is_used(source, target, opened):
    for repo in (source, target):
        for path in (repo.path, *repo.path.rglob("*")):
            os.chown(path, 65534, 65534)
    bench = opened(trust_owners=(65534,))
    outcome = bench.sync(task(source, target))
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(
    source, target, opened, tmp_path
):
    cert, key = certificate(tmp_path)
    host = HttpHost(tmp_path, tls=(cert, key))
    try:
        it = task(host.url(source), target)
        outcome = opened().sync(it)
        assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
        assert "certificate" in outcome.error_message
        remedy = f'set ca_file in [credentials."{host.base}"]'
        assert remedy in outcome.error_message
        (tmp_path / "other").mkdir()
        other = certificate(tmp_path / "other")[0]
        named = opened(credentials=[Credential(host.base, ca_file=other)]).sync(it)
        assert f"ca_file was {other}" in named.error_message
        right = opened(credentials=[Credential(host.base, ca_file=cert)])
        assert right.sync(it).status is RunStatus.SUCCESS, right.log.text()
        assert opened({"SSL_CERT_FILE": str(cert)}).sync(it).status is RunStatus.SUCCESS
    finally:
        host.stop()


def test_the_folder_of_authorities_is_read_where_their_file_is_not_enough(
    source, target, opened, tmp_path
):
    cert, key = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    other = certificate(tmp_path / "other")[0]
    folder = tmp_path / "folder"
    folder.mkdir()
    hashed = ("openssl", "x509", "-noout", "-hash", "-in", str(cert))
    name = subprocess.check_output(hashed, text=True).strip()
    (folder / f"{name}.0").write_bytes(cert.read_bytes())
    host = HttpHost(tmp_path, tls=(cert, key))
    try:
        it = task(host.url(source), target)
        file = {"SSL_CERT_FILE": str(other)}
        for more, ended in (
            ({"SSL_CERT_DIR": str(folder)}, RunStatus.SUCCESS),
            ({}, RunStatus.FAILED),
        ):
            bench, told = opened({**file, **more}), []
            for _ in range(2):
                source.commit()
                assert bench.sync(it).status is ended, bench.log.text()
                told.append(bench.log.text().count(Need.FOLDER.value))
            assert told == [1, 0]
    finally:
        host.stop()


def test_a_certificate_that_has_expired_is_not_tried_again(
    source, target, opened, tmp_path
):
    cert, key = certificate(tmp_path)
    outdated(cert, key)
    host = HttpHost(tmp_path, tls=(cert, key))
    try:
        bench = opened({"SSL_CERT_FILE": str(cert)})
        outcome = bench.sync(task(host.url(source), target))
    finally:
        host.stop()
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "certificate" in outcome.error_message
    dates = f"openssl s_client -connect 127.0.0.1:{host.server_port} </dev/null"
    renew = "the host has to renew it"  # GnuTLS does not tell what is wrong with it
    assert dates in outcome.error_message or renew in outcome.error_message


@pytest.fixture
def strict_host(tmp_path):
    """Give a host that wants one certificate of clients, and the files for it."""
    (tmp_path / "mine").mkdir()
    mine, own = certificate(tmp_path / "mine"), certificate(tmp_path)
    host = HttpHost(tmp_path, own, clients=mine[0])
    yield host, own[0], mine
    host.stop()


def test_a_host_may_have_an_authority_and_want_a_certificate_of_its_own(
    strict_host, source, target, opened
):
    host, ca, (cert, key) = strict_host
    mine = Credential(host.base, ca_file=ca, tls_cert_file=cert, tls_key_file=key)
    bench = opened({"SSL_CERT_FILE": "/dev/null"}, credentials=[mine])
    it = task(host.url(source), host.url(target))
    assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    assert target.refs() == source.refs()


def test_an_error_names_the_certificate_that_is_wanted_or_was_used(
    strict_host, source, target, opened, tmp_path
):
    host, ca, (cert, _) = strict_host
    it = task(host.url(source), target)
    table = f'[credentials."{host.base}"]'
    (tmp_path / "other").mkdir()
    outsider = certificate(tmp_path / "other")
    gone = tmp_path / "gone.pem"
    asked = f"set tls_cert_file and tls_key_file in {table}"
    for files, told in (
        ({"ca_file": ca}, asked),
        ({"ca_file": gone}, f"ca_file: {gone} does not exist"),
        ({"ca_file": ca, "tls_cert_file": cert, "tls_key_file": outsider[1]},
         f"tls_key_file was {outsider[1]}"),
    ):  # fmt: skip
        bench = opened(credentials=[Credential(host.base, **files)])
        # The host hangs up behind its alert, and may do so before that is read.
        tries = (bench.sync(it) for _ in range(20))
        outcome = next(
            each for each in tries if "Broken pipe" not in each.error_message
        )
        assert told in outcome.error_message
        assert not outcome.transient, outcome.error_message


@pytest.mark.parametrize("scheme", ["Digest", "Negotiate", "NTLM"])
def test_an_authentication_that_is_not_spoken_is_named(
    http_host, source, target, opened, secret, scheme
):
    def challenge(handler):
        handler.answer(401, {"WWW-Authenticate": f'{scheme} realm="r"'})
        return True

    http_host.faults.append(challenge)
    bench = opened(credentials=[Credential(http_host.base, "bot", secret)])
    outcome = bench.sync(task(http_host.url(source), target))
    assert f"asks for {scheme.capitalize()} authentication" in outcome.error_message
    assert http_host.base in outcome.error_message


def test_where_a_password_is_wrong_no_other_authentication_is_named(
    http_host, source, target, opened, secret
):
    http_host.let_in("other", "password")
    bench = opened(credentials=[Credential(http_host.base, "bot", secret)])
    outcome = bench.sync(task(http_host.url(source), target))
    assert "asks for" not in outcome.error_message


@pytest.mark.parametrize("commits", [0, 1])
@pytest.mark.parametrize(("ours", "theirs"), [("sha1", "sha256"), ("sha256", "sha1")])
def test_different_hashes_of_source_and_target_are_named(
    http_host, tmp_path, opened, ours, theirs, commits
):
    source = Repo(tmp_path / "ours.git", f"--object-format={ours}")
    target = Repo(tmp_path / "theirs.git", f"--object-format={theirs}")
    source.commit()
    for _ in range(commits):
        target.commit()
    before = target.refs()
    for url in (str(target), http_host.url(target)):
        outcome = opened().sync(task(source, url))
        assert outcome.status is RunStatus.FAILED
        assert "different hash algorithms, sha1 and sha256" in outcome.error_message
    assert target.refs() == before


def broken(repo):
    """Add a commit whose author has no e-mail address."""
    tree = repo.git("mktree", stdin=b"").strip()
    text = f"tree {tree}\nauthor t 1 +0000\ncommitter t <t> 1 +0000\n\nbroken\n"
    oid = repo.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin",
                   stdin=text.encode()).strip()  # fmt: skip
    repo.set(main=oid)


@pytest.mark.parametrize("by", ["path", "http"])
def test_what_fsck_finds_is_named_and_may_be_allowed(
    http_host, source, target, opened, by
):
    broken(source)
    url = str(source) if by == "path" else http_host.url(source)
    outcome = opened().sync(task(url, target))
    told = f'[credentials."{url}"] allow_fsck = ["missingEmail"]'
    assert told in outcome.error_message
    assert not outcome.transient
    assert target.refs() == {}
    allowed = Credential(url, allow_fsck=("missingEmail",))
    bench = opened(credentials=[allowed])
    assert bench.sync(task(url, target)).status is RunStatus.SUCCESS, bench.log.text()
    other = Credential(url, allow_fsck=("badDate",))
    assert opened(credentials=[other]).sync(task(url, target)).status is (
        RunStatus.SUCCESS
    )


def test_a_repository_afar_is_asked_without_a_cache(http_host, sshd, source, opened):
    keys = {"ssh_key_file": sshd.key, "ssh_known_hosts": sshd.known_hosts}
    bench = opened(allow_protocols=("http", "ssh", "file"), **keys)
    engine = bench.engine
    assert engine.reach(http_host.url(source), 30) is None
    assert engine.reach(sshd.url(source), 30) is None
    assert "not found" in engine.reach(f"{http_host.base}/none.git", 30).error
    gone = engine.reach(f"http://127.0.0.1:{free_port()}/x.git", 30)
    assert "\n" not in gone.error
    assert (gone.remedy, gone.answered) == ("", False)
    http_host.accounts.add("Basic nobody")
    refused = engine.reach(http_host.url(source), 30)
    assert "authentication failed" in refused.error
    assert refused.answered
    assert refused.remedy.startswith("no login is set for it: see [credentials.")
    sshd.known_hosts.write_text("")
    unknown = opened(**keys).engine.reach(sshd.url(source), 30)
    assert unknown.remedy.startswith(
        "if that key is the right one, pin it: ssh-keyscan"
    )
    assert "ssh-keyscan" not in unknown.error
    sshd.pin()
    assert not list((bench.engine._caches).glob("*"))
