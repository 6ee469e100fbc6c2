"""What a service does beside its runs: the upkeep, and what a reload leaves behind."""

import socket
import threading
from dataclasses import replace

import pytest

from gms_hookd.config import sources
from gms_hookd.config.load import load_config
from gms_hookd.git.process import Stop
from gms_hookd.runlog import RunLog
from gms_hookd.service import daemon, health
from gms_hookd.service.service import Service
from gms_hookd.service.state_dir import StateDirectory
from gms_hookd.store import deliveries, maintenance, runs, tasks
from gms_hookd.store.deliveries import NewDelivery
from gms_hookd.sync.job import SyncJob
from gms_hookd.workers import notifier, reconciler, scheduler, worker
from tests.support.in_process import until
from tests.support.repositories import ENVIRON, Repo


@pytest.fixture
def service(tmp_path):
    state = StateDirectory.open(tmp_path / "state")
    service = Service.open(load_config({}, state=state.path), state, ENVIRON)
    yield service
    service.close()
    state.close()


def test_the_upkeep_deletes_all_that_is_too_old_or_too_much(service, monkeypatch):
    for name, value in (("BATCH", 2), ("REFUSED", 3), ("IDLE", 4)):
        monkeypatch.setattr(maintenance, name, value)
    old, now = 0, service.context.now()
    came = [(old, 200)] * 5 + [(now, 401)] * 9 + [(now, 200)] * 9
    for moment, status in came:
        new_delivery = NewDelivery("task-sync", "gms", "192.0.2.1", moment)
        service.context.store.write(
            deliveries.record, new_delivery, status, "so"
        ).result()
    service.housekeeping.keep_up()
    left = service.context.store.read(deliveries.latest, None, 99).result()
    assert [each.id for each in left] == [23, 22, 21, 20, 14, 13, 12]


def test_who_waits_for_the_next_look_ends_when_told_to(service, monkeypatch):
    waits = {notifier: "TICK", health: "LOOK", worker: "IDLE"}
    waits |= {reconciler: "TICK", scheduler: "TICK"}
    for module, name in waits.items():
        monkeypatch.setattr(module, name, 3600.0)
    service.start(2)
    until(lambda: service.context.store.read(runs.next_due).result() is None)
    service.stop(0.0)
    assert [each.name for each in service._working if each.is_alive()] == []


@pytest.fixture
def task(service, tmp_path):
    draft = tasks.Draft("one", str(tmp_path / "source.git"), str(tmp_path / "t"), "key")
    return service.context.store.write(tasks.add, draft, service.context.now()).result()


def settings_files(service):
    """Name the files of git settings: each engine that is open has one."""
    found = {path.name for path in service.state.home.glob("gitconfig-*")}
    return {name for name in found if not name.endswith(".new")}  # not in place yet


def test_an_engine_ends_with_the_reload_that_replaces_it(service, task, tmp_path):
    Repo(tmp_path / "source.git").commit()
    for _ in range(5):
        service.adopt(service.config)
        service.context.engine.plan(SyncJob(task), RunLog(), Stop())
        until(lambda: len(settings_files(service)) == 1)
        assert len(service._engines) <= 2


def test_an_engine_that_is_used_ends_after_its_last_run(service, task):
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        address = f"http://127.0.0.1:{hanging.getsockname()[1]}/x.git"
        sync = replace(service.config.sync, allow_protocols=("http", "file"))
        service.adopt(replace(service.config, sync=sync))
        stop, engine = Stop(), service.context.engine
        order = SyncJob(replace(task, source=address, timeout=600.0))
        both = [
            threading.Thread(target=each, args=(order, RunLog(), stop))
            for each in (engine.sync, engine.probe)
        ]
        for thread in both:
            thread.start()
        until(lambda: settings_files(service))
        (own,) = settings_files(service)
        for _ in range(3):
            service.adopt(service.config)
            assert own in settings_files(service)
        stop.set("cancelled")
        for thread in both:
            thread.join(30)
        assert own not in settings_files(service)


def test_who_uses_a_retired_engine_all_the_same_leaves_nothing(service, task):
    late = service.context.engine
    service.adopt(service.config)
    until(lambda: late.closed)
    late.plan(SyncJob(task), RunLog(), Stop())
    assert settings_files(service) == set()


# What a reload takes over, beside what is named as in use only after a restart.
TAKEN_OVER = {
    "server": {"public_url", "shard", "tls_key", "trusted_proxies", "max_body"},
    "webhook": set(sources.KEYS["webhook"]),
    "hooks": set(sources.KEYS["hooks"]),
    "api": set(sources.KEYS["api"]),
    "sync": {
        "timeout", "stall", "attempts", "per_host", "allow_protocols", "ssh_key_file",
        "ssh_known_hosts", "trust", "trust_owners", "reconcile", "lfs",
    },
    "credentials": set(sources.KEYS["credentials"]),
    "aliases": set(),
    "notify": set(sources.KEYS["notify"]),
    "retention": set(sources.KEYS["retention"]),
}  # fmt: skip
FIXED = {**dict.fromkeys(daemon.FIXED), "server.port": None}


def test_each_key_is_taken_over_by_a_reload_or_named_by_it():
    every = {f"{s}.{key}" for s, keys in sources.KEYS.items() for key in keys}
    taken = {f"{s}.{key}" for s, keys in TAKEN_OVER.items() for key in keys}
    assert every - taken == FIXED.keys(), "add what is new here, or to daemon.FIXED"
