"""The findings of `check`: each level for its reason, each with its remedy."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gms_hookd import contract
from gms_hookd.cli import check, main
from gms_hookd.cli.terminal import Style
from gms_hookd.config.load import load_config
from gms_hookd.config.records import NotifyConfig
from gms_hookd.git.credentials import Credential
from gms_hookd.model import Shard
from gms_hookd.service import inspect_tasks, inspection
from gms_hookd.service.findings import (
    ERROR,
    OK,
    WARNING,
    Environment,
    Finding,
    finding_of,
)
from gms_hookd.service.inspection import findings, git_finding
from gms_hookd.store.notices import Tally
from gms_hookd.sync.job import Unreadable
from tests.support.repositories import Repo

ROOT = Path(__file__).parents[2]

TASK = {"id": 1, "name": "t", "source": "/", "target": "ssh://git@h.example/x.git"}


@pytest.fixture
def place(tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    config = load_config({}, state=state, folder=tmp_path)
    listen = replace(config.server, listen=("127.0.0.1:0",))
    settings = replace(config, server=listen)
    return Environment(
        {"PATH": os.environ["PATH"]}, state, daemon=False, config=settings
    )


def about(place, subject):
    return [each for each in findings(place) if each.subject.startswith(subject)]


def levels(place, subject):
    return [each.level for each in about(place, subject)]


def configured(place, **changes):
    return replace(place, config=replace(place.config, **changes))


def test_a_sound_place_has_no_error_and_looks_at_everything(place):
    found = findings(place)
    assert [each for each in found if each.level == ERROR] == []
    subjects = {each.subject for each in found}
    assert subjects >= {"python", "git", "git-lfs", "sqlite", "clock", "state", "disk",
                        "daemon", "listen", "configuration"}  # fmt: skip


@pytest.mark.parametrize(
    ("number", "level"), [(None, None), (64, WARNING), (1023, WARNING), (1024, OK)]
)
def test_few_descriptors_are_named_with_the_remedy(place, number, level):
    found = about(replace(place, descriptors=number), "descriptors")
    assert [each.level for each in found] == ([level] if level else [])
    for each in found:
        assert str(number) in each.finding
        assert (each.remedy is None) == (level == OK)
        assert level == OK or "LimitNOFILE=" in each.remedy


@pytest.mark.parametrize(
    ("version", "alone", "replicated"),
    [
        ((3, 23, 1), ERROR, ERROR),
        ((3, 40, 1), OK, WARNING),
        ((3, 44, 5), OK, WARNING),
        ((3, 44, 6), OK, OK),
        ((3, 46, 1), OK, WARNING),
        ((3, 50, 7), OK, OK),
        ((3, 51, 2), OK, WARNING),
        ((3, 51, 3), OK, OK),
        ((3, 53, 0), OK, OK),
    ],
)
def test_sqlite_is_judged_by_who_checkpoints(version, alone, replicated):
    for beside, level in ((False, alone), (True, replicated)):
        found = inspection.sqlite_finding(version, replicated=beside)
        assert (found.level, found.remedy is None) == (level, level == OK)


def test_a_litestream_is_known_by_its_folder(place, monkeypatch):
    monkeypatch.setattr(inspection, "SQLITE_VERSION", (3, 46, 1))
    assert levels(place, "sqlite") == [OK]
    (place.state / inspection.REPLICATOR).mkdir()
    assert levels(place, "sqlite") == [WARNING]


def test_tasks_whose_ids_are_another_nodes_are_named(place):
    listed = [{**TASK, "id": number} for number in range(1, 20)]
    assert about(replace(place, tasks=listed), "shard") == []
    server = replace(place.config.server, shard=Shard(2, 3))
    of_three = replace(configured(place, server=server), tasks=listed)
    (found,) = about(of_three, "shard")
    assert found.level == WARNING
    assert "tasks 1, 3, 4, 6, 7 and 8 more are not 2 modulo 3" in found.finding
    assert about(replace(of_three, tasks=listed[1::3]), "shard") == []


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ("git version 2.31.8", ERROR),
        ("git version 2.32.0", WARNING),
        ("git version 2.39.3", WARNING),
        ("git version 2.39.4", OK),
        ("git version 2.39.5 (Apple Git-154)", OK),
        ("git version 2.43.6", WARNING),
        ("git version 2.43.7", OK),
        ("git version 2.50.0", WARNING),
        ("git version 2.50.1.windows.1", OK),
        ("git version 2.51.0.rc1", OK),
        ("git version 3.0", OK),
        ("something else", ERROR),
    ],
)
def test_a_git_is_judged_by_what_its_release_notes_say(said, level):
    finding = git_finding(said)
    assert finding.level == level
    assert (finding.remedy is None) == (level == OK)


def test_a_machine_without_git_is_an_error(place, tmp_path):
    bare = replace(place, environ={"PATH": str(tmp_path)})
    assert levels(bare, "git") == [ERROR, OK]


def test_a_state_directory_that_others_can_read_is_an_error(place):
    place.state.chmod(0o755)
    (finding,) = about(place, "state")
    assert (finding.level, finding.remedy) == (ERROR, f"chmod 700 {place.state}")
    assert stat.S_IMODE(place.state.stat().st_mode) == 0o755


def test_a_state_directory_is_not_made_by_looking(place, tmp_path):
    missing = replace(place, state=tmp_path / "a" / "b")
    assert levels(missing, "state") == [OK]
    assert levels(missing, "disk") == [OK]
    assert not missing.state.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for chown")
def test_a_repository_of_another_user_is_an_error(place, tmp_path):
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 54321, 54321)
    local = {**TASK, "target": str(tmp_path / "theirs")}
    (finding,) = about(replace(place, tasks=[local]), "task 1 target")
    assert finding.level == ERROR
    assert "sync.trust_owners = [54321]" in finding.remedy


def test_what_keeps_a_running_daemon_from_its_work_is_an_error(place):
    broken = replace(place, daemon=True, unready=["store: was removed", "disk: full"])
    assert levels(broken, "daemon") == [ERROR, ERROR, OK]
    assert about(broken, "daemon")[0].finding == "not ready: store: was removed"


def test_a_clock_behind_the_store_is_an_error(place):
    store = place.state / "gms-hookd.db"
    store.touch()
    assert levels(place, "clock") == [OK]
    os.utime(store, (0, time.time() + 3600))
    assert levels(place, "clock") == [ERROR]


def test_an_address_in_use_is_an_error_unless_it_is_our_own(place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        spec = f"127.0.0.1:{taken.getsockname()[1]}"
        server = replace(place.config.server, listen=(spec, "nonsense"))
        busy = configured(place, server=server)
        assert levels(busy, "listen") == [ERROR, ERROR]
        assert levels(replace(busy, daemon=True), "listen") == [OK, OK]


def test_an_address_that_systemd_holds_for_us_is_not_another_s(place, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        spec = f"127.0.0.1:{taken.getsockname()[1]}"
        server = replace(place.config.server, listen=(spec,))
        busy = replace(
            configured(place, server=server), environ={"PATH": str(tmp_path)}
        )
        [found] = about(busy, "listen")
        assert (found.level, found.remedy[:7]) == (ERROR, "ss -ltn")
        shown = f"ActiveState=active\nListen={spec} (Stream)"
        systemctl = tmp_path / "systemctl"
        systemctl.write_text(f"#!/bin/sh\necho '{shown}'\n")
        systemctl.chmod(0o755)
        [found] = about(busy, "listen")
        assert (found.level, found.remedy) == (OK, None)
        systemctl.write_text(f"#!/bin/sh\necho 'in{shown}'\n")
        assert levels(busy, "listen") == [ERROR]


def test_what_is_written_and_not_in_use_yet_is_a_warning(place):
    now = replace(place, daemon=True, used=place.config)
    assert levels(now, "configuration") == levels(now, "listen") == [OK]
    server = replace(place.config.server, listen=("127.0.0.1:0", "127.0.0.2:0"))
    later = configured(now, server=server)
    assert levels(later, "configuration") == [OK, WARNING]
    assert about(later, "configuration")[1].remedy == "systemctl reload gms-hookd"
    assert levels(later, "listen") == [OK, WARNING]
    reloaded = replace(later, used=later.config, restart_for=["server.listen"])
    assert levels(reloaded, "configuration") == [OK]
    assert levels(reloaded, "listen") == [WARNING, WARNING]


def test_a_listener_that_a_restart_would_end_at_is_an_error_before(place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        specs = f"127.0.0.1:{port}", "192.0.2.1:0", "unix:/nonexistent/x"
        written = configured(place, server=replace(place.config.server, listen=specs))
        running = replace(written, daemon=True, used=place.config)
        found = about(running, "listen")
        assert [each.level for each in found] == [ERROR] * 3
        remedies = [each.remedy.partition("  #")[0] for each in found]
        assert remedies == ["ss -ltnp", "ip -br address", "gms-hookd install --socket"]
        (waits,) = about(replace(running, restart_for=["server.listen"]), "daemon")[:1]
        assert waits.remedy.startswith("# when the errors are corrected: ")
        # Where we listen ourselves nobody else does.
        ours = replace(running, listeners=(f"0.0.0.0:{port}",))
        assert levels(ours, "listen")[0] == WARNING


@pytest.mark.parametrize(
    ("spec", "held", "level"),
    [
        ("0.0.0.0:5", "0.0.0.0:5", OK),
        ("0.0.0.0:5", "127.0.0.1:5", WARNING),
        ("0.0.0.0:5", "0.0.0.0:15", WARNING),
        (":5", "[::]:5", OK),
        ("localhost:5", "127.0.0.1:5", OK),
        ("unix:/run/x", "unix:/run/x", OK),
        ("unix:/run/x", "unix:/run/y", WARNING),
    ],
)
def test_a_listener_that_systemd_does_not_hold_is_not_in_use(place, spec, held, level):
    """However often the service is restarted."""
    config = configured(
        place, server=replace(place.config.server, listen=(spec,))
    ).config
    lent = {**place.environ, "LISTEN_FDS": "1"}
    running = replace(place, daemon=True, environ=lent, used=config, config=config)
    (found,) = about(replace(running, listeners=(held,)), "listen")
    assert found.level == level
    assert level == OK or found.remedy.startswith("gms-hookd install --socket")


def test_a_host_that_does_not_answer_is_an_error_with_its_own_remedy(place):
    tasks = [
        {"id": 1, "source": "https://h/a", "target": "/nonexistent"},
        {"id": 2, "source": "https://h/a", "target": "https://h/b"},
        {"id": 3, "source": "https://h:4/c", "target": "https://h/b"},
        {"id": 4, "source": "https://h:4/d", "target": "https://h/b"},
        {"id": 5, "source": "https://h/e", "target": "https://h/b"},
        {"id": 6, "source": "https://h/f", "target": "https://h/b"},
        {"id": 7, "source": "https://h/g", "target": "https://h/b"},
    ]
    key = "ssh-keygen -y -f /k  # enter that at h"
    hint = "if that key is the right one, pin it: ssh-keyscan h"
    answers = {"https://h/a": Unreadable("no account: chmod 777 /", "set token_file"),
               "https://h/e": Unreadable("not found", answered=True),
               "https://h/b": None, "https://h:4/c": Unreadable("down"),
               "https://h:4/d": Unreadable("changed", hint),
               "https://h/f": Unreadable("no repository", "the token was /k", True),
               "https://h/g": Unreadable("denied", f"the key was /k: {key}", True),
               }  # fmt: skip
    asked = []

    def reach(urls):
        asked.extend(urls)
        return answers

    known = replace(place, tasks=tasks, reach=reach)
    found = [(each.subject, each.finding, each.remedy)
             for each in about(known, "task") if "source" in each.subject]  # fmt: skip
    assert found == [
        # What the host says is not for pasting.
        ("task 1 source", "no account: chmod 777 /", "set token_file"),
        ("task 2 source", "no account: chmod 777 /", "set token_file"),
        ("task 3 source", "down", "curl -sSI -m 10 https://h:4"),
        ("task 4 source", f"changed; {hint.rpartition(':')[0]}", "ssh-keyscan h"),
        ("task 5 source", "not found", "gms-hookd task show 5; gms-hookd manual tasks"),
        (
            "task 6 source",
            "no repository; the token was /k",
            "gms-hookd task show 6; gms-hookd manual tasks",
        ),
        ("task 7 source", "denied; the key was /k", key),
    ]
    assert asked == [each for task in tasks for each in (task["source"], task["target"])
                     if each.startswith("https")]  # fmt: skip
    (good,) = about(known, "hosts")
    assert (good.level, good.finding) == (OK, "1 of 7 repositories answer")


def test_a_short_secret_is_a_warning_that_does_not_show_it(place):
    hook = replace(place.config.webhook, secrets=("tiny-one",))
    (finding,) = about(configured(place, webhook=hook), "hook task-sync")
    assert finding.level == WARNING
    assert "tiny-one" not in str(finding)


def test_a_hook_that_can_start_nothing_is_a_warning(place, tmp_path):
    (tmp_path / "config.toml").write_text(
        "[webhook]\nsecret = 'long enough for everybody'\n"
        "[hooks.github]\ntasks = ['app', 'gone', 7]\n[hooks.dockerhub]\n"
        "[hooks.msr]\ntasks = [1]"
    )
    config = load_config({}, state=place.state, folder=tmp_path)
    place = replace(place, config=config, tasks=[{**TASK, "name": "app"}])
    said = {each.subject: each for each in findings(place) if each.remedy}
    assert said["hook github"].finding == "no task gone, 7"
    assert "it has no tasks" in said["hook dockerhub"].finding
    assert "hook msr" not in said


def test_an_ssh_task_needs_key_and_known_hosts(place, tmp_path):
    with_task = replace(place, tasks=[TASK])
    found = about(with_task, "task 1 target")
    assert [each.level for each in found] == [ERROR, ERROR]
    assert "ssh-keygen -q -t ed25519 -N '' -f " in found[0].remedy
    assert "ssh-keyscan h.example" in found[1].remedy
    key = tmp_path / "key"
    key.touch(0o600)
    known = tmp_path / "known"
    known.write_text("h.example ssh-ed25519 AAAA\n")
    sync = replace(place.config.sync, ssh_key_file=key, ssh_known_hosts=known)
    assert about(configured(with_task, sync=sync), "task 1") == []


def test_the_files_of_the_prefix_are_looked_at(place, tmp_path):
    key = tmp_path / "key"
    prefix = Credential("ssh://git@h.example", None, None, None, key, tmp_path / "pins")
    with_task = replace(configured(place, credentials=(prefix,)), tasks=[TASK])
    found = about(with_task, "task 1 target")
    assert [each.finding for each in found] == [
        f"no key at {key}",
        f"no host key at {prefix.ssh_known_hosts}",
    ]
    key.touch(0o600)
    assert len(about(with_task, "task 1 target")) == 1


def test_a_source_that_is_not_there_or_not_allowed_is_an_error(place):
    gone = {**TASK, "source": "/no/such/place", "target": "http://h/x"}
    assert levels(replace(place, tasks=[gone]), "task 1 source") == [ERROR]
    assert levels(replace(place, tasks=[gone]), "task 1 target") == [ERROR]


def test_a_password_that_cannot_be_read_is_an_error(place, tmp_path):
    credential = Credential("https://h", "me", tmp_path / "none", None)
    settings = configured(place, credentials=(credential,))
    task = {**TASK, "target": "https://h/x.git"}
    assert levels(replace(settings, tasks=[task]), "task 1") == [ERROR]


def test_warnings_and_problems_are_findings(place):
    warned = configured(place, warnings=("not used: rpc",))
    assert levels(warned, "configuration") == [OK, WARNING]
    broken = replace(place, config=None, problem="webhook.sercet: unknown key")
    assert levels(broken, "configuration") == [ERROR]
    assert levels(replace(place, problem="not a store"), "store") == [ERROR]


def test_what_is_not_known_of_the_daemon_is_not_told(place):
    unknown = replace(place, daemon=None, problem="control.sock: Permission denied")
    assert levels(unknown, "daemon") == levels(unknown, "listen") == []


def test_the_text_shows_each_remedy_under_its_finding(place):
    finding = Finding(ERROR, "git", "\x1b[2J", "install it")
    assert check.text([finding], Style(0.0)) == (
        "error   git: \\x1b[2J\n        -> install it"
    )


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    def carried_out(text, *words):
        (tmp_path / "config.toml").write_text(text)
        monkeypatch.setenv("GMS_HOOKD_CONFIG", str(tmp_path / "config.toml"))
        status = main.main(["check", "--state", str(tmp_path / "state"), *words])
        return status, *capsys.readouterr()

    return carried_out


def test_the_command_ends_with_1_or_2_where_something_is_wrong(command):
    listen = '[server]\nlisten = ["unix:/nonexistent/x"]'
    status, out, err = command(listen)
    assert (status, err.count("\n")) == (1, 1)
    assert "error   listen: unix:/nonexistent/x" in out
    status, out, err = command("[webhook]\nsercet = 1")
    assert status == 2
    assert "error   configuration: webhook.sercet" in out


def test_the_secret_that_gms_publishes_is_found_as_serve_finds_it(command):
    published = '[webhook]\nsecret="my-secret-key"\n[server]\nlisten=["{}:0"]'
    status, out, _ = command(published.format("0.0.0.0"))
    assert status == 2
    assert "error   configuration: webhook.secret: my-secret-key is published" in out
    assert command(published.format("127.0.0.1"))[0] == 0


def test_the_command_prints_json_and_ends_with_0_where_all_is_well(command):
    status, out, err = command('[server]\nlisten = ["127.0.0.1:0"]', "--json")
    assert (status, err) == (0, "")
    keys = {"level", "subject", "finding", "remedy"}
    assert all(set(finding) == keys for finding in json.loads(out))


@pytest.mark.parametrize(
    ("url", "odd"),
    [
        ("http://bob:s3k/rit@proxy:3128", "/"),
        ("http://bob:s3k#rit@proxy:3128", "#"),
        ("socks5h://bob:s3k?rit@proxy", "?"),
        ("http://bob:s3k%2Frit@proxy:3128", None),
        ("http://proxy:3128/", None),
    ],
)
def test_a_proxy_whose_password_ends_its_address_is_named(place, url, odd):
    environ = {**place.environ, "https_proxy": url}
    found = about(replace(place, environ=environ), "https_proxy")
    assert [each.level for each in found] == [WARNING] * bool(odd)
    assert all(f"ends for git at a {odd}" in each.finding for each in found)
    assert not any("s3k" in f"{each.finding}{each.remedy}" for each in found)


def test_git_lfs_is_missed_where_it_must_be(place, tmp_path):
    without = replace(place, environ={"PATH": str(tmp_path)})
    assert levels(without, "git-lfs") == [OK]
    sync = replace(place.config.sync, lfs="strict")
    assert levels(configured(without, sync=sync), "git-lfs") == [WARNING]


def test_files_of_tls_that_are_not_there_are_named(place):
    gone = Credential("https://h", None, None, None, ca_file=place.state / "ca.pem")
    task = TASK | {"source": "https://h/a", "target": "/srv/x"}
    known = configured(replace(place, tasks=(task,)), credentials=(gone,))
    [found] = about(known, "task 1 source")
    assert f"ca_file: {place.state}/ca.pem does not exist" in found.finding


def test_every_fault_of_a_configuration_is_found_at_once(command, tmp_path):
    (tmp_path / "open").write_text("a-secret-that-is-long-enough\n")
    (tmp_path / "open").chmod(0o644)
    status, out, _ = command(
        f'[webhook]\nsercet = 1\nrate_limit = "x"\n[hooks.github]\nsecret = ""\n'
        f'[hooks.ci]\nprovider = "nope"\n[sync]\nworkers = 0\n[api]\ntoken_file ='
        f' "{tmp_path}/open"\n[server]\ntls_key = "/nonexistent"\nlisten = "x"\n'
        '[notify.slack]\nurl_file = "/nonexistent/url"\n'
    )
    assert status == 2
    for name in ("webhook.sercet", "webhook.rate_limit", "hooks.github.secret",
                 "hooks.ci.provider", "sync.workers", "api.token_file", "is open to",
                 "server.tls", "server.listen"):  # fmt: skip
        assert name in out, name
    for name in ("hooks.ci.provider", "notify.slack.url"):
        assert out.count(name) == 1  # left out, it is not missing
    assert "ok      sqlite" in out


@pytest.mark.parametrize("text", ["[webhook\n", "x = 1\n", "webhook = 1\n"])
def test_a_file_that_makes_no_sense_does_not_end_the_inspection(command, text):
    status, out, _ = command(text)
    assert status == 2
    assert "ok      sqlite" in out
    assert "warning daemon: not running" in out


def test_a_stopped_daemon_is_a_warning_and_an_error_for_a_service(command):
    listen = '[server]\nlisten = ["127.0.0.1:0"]\n'
    assert command(listen)[0] == 0
    status, _, err = command(listen, "--service")
    assert (status, err) == (
        1,
        "gms-hookd: the daemon is not running: systemctl start gms-hookd\n",
    )


def test_a_secret_that_is_overruled_is_a_warning(command, monkeypatch):
    monkeypatch.setenv("WEBHOOK_SECRET", "another-secret-of-more-than-sixteen")
    _, out, _ = command('[webhook]\nsecret = "secret-in-the-file-which-rotates"\n')
    assert "webhook.secret in " in out
    assert "has no effect, as WEBHOOK_SECRET goes first" in out
    assert "which-rotates" not in out


def certificate(folder, *days):
    """Make a certificate of so many days with its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.check_call(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x", "-keyout", key,
         "-out", cert, *days],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    key.chmod(0o600)
    return cert, key


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl here")
@pytest.mark.parametrize(
    ("days", "level", "word"),
    [(("-days", "90"), OK, "valid until"), (("-days", "9"), WARNING, "ends on"),
     (("-days", "20000"), OK, "valid until 20")],
)  # fmt: skip
def test_a_certificate_is_judged_by_its_end(place, tmp_path, days, level, word):
    cert, key = certificate(tmp_path, *days)
    server = replace(place.config.server, tls_cert=cert, tls_key=key)
    (found,) = about(configured(place, server=server), "tls")
    assert found.level == level
    assert word in found.finding


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl here")
@pytest.mark.parametrize("there", [True, False])
def test_a_key_that_systemd_brings_with_the_start_is_missed_only_after_it(
    place, tmp_path, monkeypatch, there
):
    cert, _ = certificate(tmp_path)
    lent = tmp_path / "credentials"
    monkeypatch.setattr(contract, "SERVICE_CREDENTIALS", str(lent))
    if there:
        lent.mkdir()
    text = f'listen = ["127.0.0.1:0"]\ntls_cert = "{cert}"\ntls_key = "{lent}/tls-key"'
    (tmp_path / "c.toml").write_text(f"[server]\n{text}\n")
    words = ["--config", str(tmp_path / "c.toml"), "--state", str(tmp_path / "state")]
    status = main.main(["check", *words])
    assert status == (2 if there else 0)


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl here")
def test_no_restart_is_advised_that_the_daemon_would_not_survive(place, tmp_path):
    cert, key = certificate(tmp_path)
    files = {"tls_cert": cert, "tls_key": key}
    server = replace(place.config.server, listen=("127.0.0.2:0",), **files)
    later = replace(configured(place, server=server), daemon=True, used=place.config)
    (found,) = about(later, "listen")
    assert found.remedy == "systemctl restart gms-hookd"
    cert.write_text("junk")
    (found,) = about(later, "listen")
    assert (
        found.remedy == "# when the errors are corrected: systemctl restart gms-hookd"
    )


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl here")
def test_a_certificate_that_cannot_be_served_is_an_error(place, tmp_path):
    cert, _ = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    _, key = certificate(tmp_path / "other")
    server = replace(place.config.server, tls_cert=cert, tls_key=key)
    (found,) = about(configured(place, server=server), "tls")
    assert "does not belong to the key" in found.finding
    cert.write_text("junk")
    (found,) = about(configured(place, server=server), "tls")
    assert (found.level, bool(found.remedy)) == (ERROR, True)


def local(target):
    return {"id": 1, "name": "t", "source": str(target), "target": str(target)}


@pytest.mark.parametrize(
    ("more", "level"),
    [
        ({"cron": "0 0 30 2 *"}, [WARNING]),
        ({"cron": "CRON_TZ=Mars/X 0 2 * * *"}, [WARNING]),
        ({"cron": "0 0 30 2 *", "enabled": False}, []),
        ({"cron": "0 0 30 2 *", "name": "team/*"}, []),
        ({"cron": "@daily", "next_cron": 5}, []),
        ({"cron": ""}, []),
    ],
)
def test_a_schedule_that_is_never_met_is_a_warning(place, more, level):
    task = local("/tmp") | {"enabled": True, "next_cron": None} | more
    assert levels(replace(place, tasks=[task]), "task 1 cron") == level


def test_an_absent_target_is_made_by_its_remedy(place, tmp_path):
    target = tmp_path / "new.git"
    found = [
        each
        for each in about(replace(place, tasks=[local(target)]), "task 1 target")
        if each.level == ERROR
    ]
    assert len(found) == 1
    subprocess.check_call(["sh", "-ec", found[0].remedy], stdout=subprocess.DEVNULL)
    assert about(replace(place, tasks=[local(target)]), "task 1") == []


def test_what_lets_the_unit_write_lets_it_start_without_the_folder(
    place, tmp_path, monkeypatch
):
    """A folder that is not mounted stops no other task."""
    target = Repo(tmp_path / "50% of it.git").path
    monkeypatch.setattr(inspect_tasks, "HIDDEN", ())
    monkeypatch.setattr(inspect_tasks, "_writable_folders", lambda _place: ())
    (found,) = about(replace(place, tasks=[local(target)]), "task 1 target")
    _, write, reload, _ = found.remedy.split(" && ")
    shown = subprocess.check_output(["sh", "-c", write.partition(" >> ")[0]], text=True)
    written = str(target).replace("%", "%%")
    assert shown == f'[Service]\nReadWritePaths="-{written}"\n'
    assert reload == "systemctl daemon-reload"


@pytest.mark.parametrize(
    ("side", "bind"), [("source", "BindReadOnlyPaths"), ("target", "BindPaths")]
)
def test_what_the_unit_hides_is_shown_to_it_and_nothing_else_is_done(
    place, tmp_path, monkeypatch, side, bind
):
    """To the daemon it is not there: it must be neither made nor given away."""
    path = tmp_path / "hidden" / "it.git"
    monkeypatch.setattr(inspect_tasks, "HIDDEN", (str(tmp_path),))
    monkeypatch.setattr(inspect_tasks, "SERVICE_STATE", str(place.state))
    task = {**local("/"), side: str(path)}
    (found,) = about(replace(place, tasks=[task]), f"task 1 {side}")
    there, _, write, *_ = found.remedy.split(" && ")
    shown = subprocess.check_output(["sh", "-c", write.partition(" >> ")[0]], text=True)
    assert there == f"ls -d {path}"
    assert shown == f'[Service]\nProtectHome=tmpfs\n{bind}="-{path}"\n'


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for chown")
@pytest.mark.parametrize(
    ("side", "commands"),
    [("source", ["chmod", "chgrp"]), ("target", ["chmod", "chown"])],
)
def test_a_folder_that_may_not_be_entered_ends_no_other_look(
    open_place, side, commands
):
    """Each remedy is pasted by root; then the service may use it."""
    shut = open_place / "shut"
    repository = Repo(shut / "it.git").path
    repository.chmod(0o700)
    shut.chmod(0o700)

    def look():
        argv = repository, open_place / "state", side
        child = [sys.executable, "-c", CHILD_OF_LOOK, *argv]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        return json.loads(subprocess.check_output(child, env=environ))

    remedies = []
    while found := look():
        (subject, said, remedy), *others = found
        assert (subject, others) == (f"task 1 {side}", []), found
        assert "user nobody may not" in said
        remedies.append(remedy.partition(" ")[0])
        assert len(remedies) < 4, found
        subprocess.check_call(["sh", "-c", remedy])
    assert remedies == commands


CHILD_OF_LOOK = """
import json, os, pwd, sys
from pathlib import Path
from gms_hookd.config.load import load_config
from gms_hookd.service.findings import ERROR, Environment
from gms_hookd.service.inspection import findings
nobody = pwd.getpwnam("nobody")
os.setgroups([]); os.setgid(nobody.pw_gid); os.setuid(nobody.pw_uid)
state = Path(sys.argv[2])
config = load_config({}, state=state, folder=state)
task = {"id": 1, "name": "t", "source": "https://h.example/x"}
task |= {"target": task["source"], sys.argv[3]: sys.argv[1]}
place = Environment(dict(os.environ), state, config=config, tasks=[task])
print(json.dumps([(f.subject, f.finding, f.remedy) for f in findings(place)
                  if f.level == ERROR]))
"""


def test_a_folder_without_which_the_unit_does_not_start_is_named(
    place, tmp_path, monkeypatch
):
    gone = tmp_path / "not.mounted"
    named = [str(gone), f"-{gone}", str(tmp_path), "-/srv/x"]
    monkeypatch.setattr(inspect_tasks, "_writable_folders", lambda _place: named)
    monkeypatch.setattr(inspect_tasks, "DROP_IN", str(tmp_path / "targets.conf"))
    (found,) = about(place, "unit")
    assert (found.level, found.finding.partition(" ")[0]) == (ERROR, str(gone))
    drop_in = tmp_path / "targets.conf"
    drop_in.write_text(f"[Service]\nReadWritePaths={tmp_path} {gone}\n")
    subprocess.check_call(["sh", "-c", found.remedy.partition(" && ")[0]])
    assert drop_in.read_text().endswith(f"={tmp_path} -{gone}\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for chown")
def test_the_objects_of_another_user_in_a_target_are_found(open_place):
    target = Repo(open_place / "target.git")
    theirs = target.path / "objects" / "ab"
    theirs.mkdir()
    as_nobody = subprocess.run(
        [sys.executable, "-c", CHILD, str(target.path), str(open_place / "state")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "belongs to root, and user nobody may not write it" in as_nobody.stdout, (
        as_nobody
    )
    assert "chown -R nobody: " in as_nobody.stdout


CHILD = """
import os, subprocess, sys
from pathlib import Path
subprocess.check_call(["chown", "-R", "nobody:", sys.argv[1]])
subprocess.check_call(["chown", "root:", sys.argv[1] + "/objects/ab"])
import pwd
from gms_hookd.config.load import load_config
from gms_hookd.service.findings import Environment
from gms_hookd.service.inspection import findings
os.setgid(pwd.getpwnam("nobody").pw_gid); os.setuid(pwd.getpwnam("nobody").pw_uid)
state = Path(sys.argv[2])
config = load_config({}, state=state, folder=state)
task = {"id": 1, "name": "t", "source": "https://h.example/x", "target": sys.argv[1]}
place = Environment(dict(os.environ), state, config=config, tasks=[task])
for found in findings(place):
    if "target" in found.subject:
        print(found)
"""


def test_a_host_without_a_pinned_key_is_an_error(place, tmp_path):
    home = place.state / "home" / ".ssh"
    home.mkdir(parents=True)
    (home / "id_ed25519").write_text("key")
    (home / "id_ed25519").chmod(0o644)
    (home / "known_hosts").write_text("other.example ssh-ed25519 AAAA\n")
    with_ssh = replace(place, tasks=[TASK])
    found = about(with_ssh, "task 1 target")
    assert any("is open to others" in f.finding and f.remedy for f in found), found
    assert any("has no key of h.example" in f.finding for f in found), found
    (home / "id_ed25519").chmod(0o600)
    (home / "known_hosts").write_text("h.example ssh-ed25519 AAAA\n")
    assert about(with_ssh, "task 1 target") == []


def test_what_no_target_has_taken_is_a_warning_with_the_reason(place):
    told = {
        "ops": Tally(0, 2, 5, "status 404: no_service"),
        "mail": Tally(1, 0, None, "no answer"),
        "chat": Tally(1, 0, 1_700_000_000_000, ""),
        "new": Tally(0, 0, None, ""),
    }
    dead, late, good, new = about(replace(place, told=told), "notify")
    assert (dead.level, late.level) == (WARNING, WARNING)
    assert dead.finding == "2 notices not delivered: status 404: no_service"
    assert late.finding == "1 notice not taken yet: no answer"
    assert "gms-hookd notify list --target ops" in dead.remedy
    assert (good.level, "2023-11-1" in good.finding) == (OK, True)
    assert (new.level, new.finding) == (OK, "last told: never")


def test_a_target_of_tasks_that_are_not_there_is_a_warning(place):
    target = NotifyConfig("ops", "slack", "", (), frozenset({"failed"}), ("ap-*", 7))
    here = configured(replace(place, tasks=[TASK]), notify=(target,))
    (found,) = about(here, "notify ops")
    assert (found.level, found.finding) == (WARNING, "covers no task")
    fits = replace(target, tasks=("t",), ca_file=Path(__file__))
    here = configured(replace(place, tasks=[TASK]), notify=(fits,))
    assert about(here, "notify ops") == []
    assert levels(here, "ca") == [ERROR]


def test_hooks_and_backups_that_are_long_ago_are_warnings(place, tmp_path):
    old = int((time.time() - 40 * 86400) * 1000)
    new = int(time.time() * 1000)
    heard = replace(place, latest={"a": None, "b": old, "c": new})
    for name, levels_of in (("a", [WARNING]), ("b", [WARNING]), ("c", [])):
        assert levels(heard, f"hook {name}") == levels_of
    kept = replace(place, tasks=[local(tmp_path)])
    assert levels(kept, "backup") == [WARNING]
    (place.state / "last-backup").touch()
    assert levels(kept, "backup") == [OK]
    os.utime(place.state / "last-backup", (0, 0))
    assert levels(kept, "backup") == [WARNING]


def test_a_look_that_fails_does_not_end_the_others(place, monkeypatch):
    def broken(_place):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(inspection, "LOOKS", (broken, *inspection.LOOKS))
    found = inspection.findings(place)
    assert found[0].finding == "cannot be looked at: Input/output error"
    assert any(each.subject == "sqlite" for each in found)


@pytest.fixture
def asked(daemon, capsys):
    def ask(*more):
        where = ["--config", str(daemon.config), "--state", str(daemon.state)]
        status = main.main(["check", *more, *where])
        return status, *capsys.readouterr()

    return ask


def test_a_running_daemon_judges_itself(daemon, asked, tmp_path):
    daemon.start()
    daemon.add_task("gone", tmp_path / "none.git", tmp_path / "target.git")
    status, out, _ = asked("--service")
    assert status == 1
    assert "ok      daemon: running" in out
    assert "none.git does not exist" in out
    daemon.config.write_text("[sync]\nworkers = 0\n[api]\ntokn = 1\n")
    status, out, _ = asked()
    assert status == 2
    assert out.count("error   configuration: sync.workers") == 1
    assert out.count("error   configuration: api.tokn") == 1
    daemon.signal(signal.SIGHUP)
    daemon.until(lambda: daemon.api("GET", "status")["reload_refused"])
    assert "error   daemon: reload refused" in asked()[1]


def test_a_daemon_that_hangs_is_named_and_the_rest_is_looked_at(
    daemon, asked, monkeypatch
):
    monkeypatch.setattr("gms_hookd.cli.check.QUICK", 0.5)
    daemon.start()
    daemon.signal(signal.SIGSTOP)
    try:
        status, out, _ = asked()
    finally:
        daemon.signal(signal.SIGCONT)
    assert status == 1
    assert "error   daemon: the daemon does not answer for 5 s" in out
    assert "-> systemctl restart gms-hookd" in out
    assert "ok      sqlite" in out


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ("k: /f: is open to others: chmod 600 /f", "k: /f: is open to others",
         "chmod 600 /f"),
        ("/f: user x may not read it: chgrp x /f && chmod 640 /f",
         "/f: user x may not read it", "chgrp x /f && chmod 640 /f"),
        ("k: has no effect: remove one of the two", "k: has no effect",
         "remove one of the two"),
        ("k: unknown key", "k: unknown key", None),
    ],
)  # fmt: skip
def test_the_remedy_of_an_error_can_be_pasted_alone(text, said, remedy):
    assert finding_of(ERROR, "x", text) == Finding(ERROR, "x", said, remedy)
