"""Hosts reached by ssh: keys, host keys, and connections that many runs share."""

import os
import re
import shutil
import subprocess
import threading
import time

import pytest

from gms_hookd.git import access
from gms_hookd.git import url as giturl
from gms_hookd.git.process import Limits
from gms_hookd.model import RunStatus
from tests.support import seen
from tests.support.hosts import (
    Credential,
    Relay,
    keygen,
    user_name,
)
from tests.support.processes import command_lines
from tests.support.repositories import Bench, Repo, task

CANARY = f"s3cr3t-%{seen.CANARY}"


@pytest.fixture
def by_ssh(opened, sshd):
    return lambda **more: opened(
        **{"ssh_key_file": sshd.key, "ssh_known_hosts": sshd.known_hosts} | more
    )


def test_sync_over_ssh_logs_in_once(sshd, source, target, by_ssh):
    bench = by_ssh()
    before = sshd.logins()
    it = task(sshd.url(source), sshd.url(target))
    assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    source.commit()
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()
    assert sshd.logins() == before + 1


def test_ssh_connections_end_with_the_engine(sshd, source, target, by_ssh):
    bench = by_ssh()
    bench.sync(task(sshd.url(source), target))
    folder = bench.engine._access_factory.masters._folder.real
    assert [p.is_socket() for p in folder.iterdir() if "lo" not in p.name] == [True]
    bench.engine.close()
    assert not folder.exists()
    assert not any(str(folder) in line for line in command_lines())


@pytest.fixture
def relay(sshd, tmp_path):
    """Give a way to sshd that forgets, and the pins for it."""
    made = Relay(sshd.port)
    pins = sshd.known_hosts.read_text().replace(str(sshd.port), str(made.port))
    (tmp_path / "pins").write_text(pins)
    yield made
    made.stop()


def through(relay, repo):
    return f"ssh://{user_name()}@127.0.0.1:{relay.port}{repo}"


def test_a_kept_connection_that_is_dead_without_a_word_is_opened_again(
    relay, source, target, by_ssh, tmp_path, monkeypatch
):
    monkeypatch.setattr(access, "FRESH", -1.0)
    bench = by_ssh(ssh_known_hosts=tmp_path / "pins")
    it = task(through(relay, source), target)
    for _ in range(2):
        source.commit()
        assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    assert relay.connections == 1
    assert "dead" not in bench.log.text()
    relay.forget()
    source.commit()
    monkeypatch.setattr(access, "PROBED", 0.5)
    assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    assert "the kept ssh connection is dead: opening another" in bench.log.text()
    assert target.refs() == source.refs()
    assert relay.connections == 2


def test_a_dead_connection_that_others_still_use_is_put_aside_only(
    relay, source, target, by_ssh, tmp_path, monkeypatch
):
    monkeypatch.setattr(access, "FRESH", -1.0)
    monkeypatch.setattr(access, "PROBED", 0.5)
    bench = by_ssh(ssh_known_hosts=tmp_path / "pins")
    url, access_factory = (
        giturl.parse(through(relay, source), ("ssh",)),
        bench.engine._access_factory,
    )
    limits = Limits(time.monotonic() + 60, bench.stop, bench.log)
    with access_factory.masters.session(url, access_factory.keys, limits) as first:
        relay.forget()
        with access_factory.masters.session(url, access_factory.keys, limits) as second:
            assert second == first
            sockets = [p for p in first.parent.iterdir() if p.is_socket()]
            assert len(sockets) == 2
    bench.engine.close()
    assert not first.parent.exists()


@pytest.mark.parametrize("how", ["reset", "closed"])
@pytest.mark.parametrize(("place", "sent"), [
    ("banner", 20), ("key exchange", 300), ("login", 2000), ("session", 100_000),
])  # fmt: skip
def test_a_connection_that_is_cut_is_tried_again_and_ssh_says_why(
    relay, source, target, by_ssh, tmp_path, place, sent, how
):
    source.commit(files={"big": os.urandom(150_000).hex()})
    relay.cut_after(sent, reset=how == "reset")
    bench = by_ssh(ssh_known_hosts=tmp_path / "pins")
    outcome = bench.sync(task(through(relay, source), target))
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert re.search(r"(Connection|client_loop|kex_ex).* ", outcome.error_message)
    assert target.refs() == {}


@pytest.mark.parametrize("how", ["reset", "closed"])
def test_a_kept_connection_that_is_cut_says_why(
    relay, source, target, by_ssh, tmp_path, how
):
    bench = by_ssh(ssh_known_hosts=tmp_path / "pins")
    it = task(through(relay, source), target)
    assert bench.sync(it).status is RunStatus.SUCCESS
    source.commit(files={"big": os.urandom(150_000).hex()})
    relay.cut_after(100_000, reset=how == "reset")
    outcome = bench.sync(it)
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert re.search(r"(Connection|client_loop).* ", outcome.error_message)
    assert relay.connections == 1
    relay.cut_after(None)
    assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()


def test_what_a_killed_daemon_left_is_removed(sshd, source, target, by_ssh, tmp_path):
    left = tmp_path / "home" / "ssh-killed"
    (left / "in").mkdir(parents=True)
    bench = by_ssh()
    bench.sync(task(sshd.url(source), target))
    assert not left.exists()
    assert len(list((tmp_path / "home").glob("ssh-*"))) == 1
    other = Bench(tmp_path, ssh_key_file=sshd.key, ssh_known_hosts=sshd.known_hosts)
    other.sync(task(sshd.url(source), target))
    assert len(list((tmp_path / "home").glob("ssh-*"))) == 2
    other.engine.close()


def test_a_home_whose_path_is_long_holds_connections_too(
    sshd, source, target, tmp_path
):
    deep = tmp_path / ("deep" * 20)
    deep.mkdir()
    pins = {"ssh_key_file": sshd.key, "ssh_known_hosts": sshd.known_hosts}
    bench = Bench(deep, allow_protocols=("ssh", "file"), **pins)
    before = sshd.logins()
    it = task(sshd.url(source), sshd.url(target))
    assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    assert sshd.logins() == before + 1
    bench.engine.close()
    assert list((deep / "home").glob("ssh-*")) == []


def test_concurrent_runs_share_connections(sshd, source, tmp_path, by_ssh):
    bench = by_ssh()
    targets = [Repo(tmp_path / f"t{n}.git") for n in range(10)]
    sources = [Repo(tmp_path / f"s{n}.git") for n in range(10)]
    results = []

    def run(source, target):
        source.commit()
        one = Bench(tmp_path, engine=bench.engine)
        results.append(one.sync(task(sshd.url(source), sshd.url(target))).status)

    threads = [
        threading.Thread(target=run, args=pair)
        for pair in zip(sources, targets, strict=True)
    ]
    before = sshd.logins()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [RunStatus.SUCCESS] * 10
    assert sshd.logins() - before <= 4


def test_an_unknown_host_key_fails_with_the_command_that_pins_it(
    sshd, source, target, by_ssh, tmp_path
):
    known = tmp_path / "known hosts"
    outcome = by_ssh(ssh_known_hosts=known).sync(task(sshd.url(source), target))
    assert outcome.status is RunStatus.FAILED
    assert not outcome.transient
    command = f"ssh-keyscan -p {sshd.port} 127.0.0.1 >> '{known}'"
    assert command in outcome.error_message
    os.system(command + " 2>/dev/null")
    bench = by_ssh(ssh_known_hosts=known)
    assert bench.sync(task(sshd.url(source), target)).status is RunStatus.SUCCESS


def test_a_changed_host_key_fails_with_the_command_that_replaces_it(
    sshd, source, target, by_ssh, tmp_path
):
    known = tmp_path / "known"
    other = tmp_path / "other"
    keygen(other)
    words = other.with_suffix(".pub").read_text().split()
    known.write_text(f"[127.0.0.1]:{sshd.port} {words[0]} {words[1]}\n")
    outcome = by_ssh(ssh_known_hosts=known).sync(task(sshd.url(source), target))
    assert outcome.status is RunStatus.FAILED
    assert not outcome.transient
    command = outcome.error_message.partition("pin it: ")[2]
    assert command.startswith(f"ssh-keygen -R '[127.0.0.1]:{sshd.port}' -f {known};")
    os.system(f"({command}) >/dev/null 2>&1")
    bench = by_ssh(ssh_known_hosts=known)
    assert bench.sync(task(sshd.url(source), target)).status is RunStatus.SUCCESS


def test_a_wrong_ssh_key_is_an_authentication_failure(
    sshd, source, target, by_ssh, tmp_path
):
    keygen(tmp_path / "stranger")
    bench = by_ssh(ssh_key_file=tmp_path / "stranger")
    outcome = bench.sync(task(sshd.url(source), target))
    assert outcome.status is RunStatus.FAILED
    assert not outcome.transient
    assert "Permission denied" in outcome.error_message
    said, _, remedy = outcome.error_message.partition(": ssh-keygen ")
    assert said.endswith(f"the key was {tmp_path / 'stranger'}")
    shown = subprocess.check_output(["sh", "-c", f"ssh-keygen {remedy}"], text=True)
    public = (tmp_path / "stranger.pub").read_text()
    assert shown.split()[:2] == public.split()[:2]


# What a host does with a deploy key: it opens one repository.
ONE_REPOSITORY = (
    'restrict,command="case $SSH_ORIGINAL_COMMAND in *{repo}*)'
    ' exec sh -c \\"$SSH_ORIGINAL_COMMAND\\";;'
    ' *) echo ERROR: this key is not for that >&2; exit 1;; esac" {public}'
)


@pytest.fixture
def deploy_key(sshd, tmp_path):
    """Make a key that the host lets in to one repository only."""
    authorized = sshd.root / "authorized"
    before = authorized.read_text()

    def make(repo):
        key = tmp_path / f"key-of-{repo.path.stem}"
        keygen(key)
        public = key.with_suffix(".pub").read_text()
        with authorized.open("a") as file:
            file.write(ONE_REPOSITORY.format(repo=repo.path, public=public))
        return key

    yield make
    authorized.write_text(before)


def test_each_repository_of_a_host_has_the_key_of_its_prefix(
    sshd, source, target, by_ssh, deploy_key
):
    ours, theirs = (
        Credential(sshd.url(repo), ssh_key_file=deploy_key(repo))
        for repo in (source, target)
    )
    it = task(sshd.url(source), sshd.url(target))
    bench = by_ssh(credentials=[ours, theirs], ssh_key_file=None)
    assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    source.commit()
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()
    ours.ssh_key_file, theirs.ssh_key_file = theirs.ssh_key_file, ours.ssh_key_file
    outcome = by_ssh(credentials=[ours, theirs], ssh_key_file=None).sync(it)
    assert outcome.status is RunStatus.FAILED
    assert "this key is not for that" in outcome.error_message


def test_an_exchanged_ssh_key_is_used_from_the_next_run_on(
    sshd, source, target, by_ssh, tmp_path
):
    key = tmp_path / "key"
    shutil.copy(sshd.key, key)
    bench = by_ssh(credentials=[Credential(sshd.url("/"), ssh_key_file=key)])
    it = task(sshd.url(source), target)
    assert bench.sync(it).status is RunStatus.SUCCESS
    keygen(tmp_path / "stranger")
    (tmp_path / "stranger").replace(key)
    outcome = bench.sync(it, verify=True)
    assert f"the key was {key}: " in outcome.error_message
    shutil.copy(sshd.key, key)
    assert bench.sync(it, verify=True).status is RunStatus.SUCCESS


def test_a_host_that_is_pinned_for_a_prefix_is_trusted_there_only(
    sshd, source, target, by_ssh, tmp_path
):
    pinned = Credential(sshd.url(source), ssh_known_hosts=sshd.known_hosts)
    nobody = tmp_path / "nobody"
    bench = by_ssh(credentials=[pinned], ssh_known_hosts=nobody)
    outcome = bench.sync(task(sshd.url(source), target))
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    outcome = bench.sync(task(sshd.url(target), source))
    assert outcome.status is RunStatus.FAILED
    assert f"127.0.0.1 >> {nobody} && " in outcome.error_message


def test_a_passphrase_is_not_asked_for(sshd, source, target, by_ssh, tmp_path):
    keygen(tmp_path / "locked", passphrase="canary")
    outcome = by_ssh(ssh_key_file=tmp_path / "locked").sync(
        task(sshd.url(source), target)
    )
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, False)
    assert "Permission denied" in outcome.error_message
