"""One fetch serves the tasks of one source that were triggered before it began."""

from threading import Event

import pytest

from gms_hookd.git.url import cache_key
from gms_hookd.model import RunStatus
from gms_hookd.store import runs, tasks
from gms_hookd.store.deliveries import NewDelivery
from gms_hookd.store.runs import NewRun
from gms_hookd.sync import fetch
from gms_hookd.sync.engine import Engine, EngineSettings
from gms_hookd.sync.fetch import RecentFetches, Served
from gms_hookd.sync.job import SyncJob
from gms_hookd.workers.retry import RetryPolicy
from gms_hookd.workers.worker import Rules, Worker
from tests.support.repositories import Repo, task

REFSPECS = ("refs/heads/main:refs/heads/main",)


@pytest.fixture(autouse=True)
def any_answer_in_time(monkeypatch):
    """On a busy machine v0 would be given up for v2, which asks twice a fetch."""
    monkeypatch.setattr("gms_hookd.sync.fetch.SLACK", 60.0)


@pytest.fixture
def worker(context, tmp_path):
    settings = EngineSettings(tmp_path / "home", allow_protocols=("http", "file"))
    engine = Engine(tmp_path / "caches", settings, {"PATH": "/usr/bin:/bin"})
    yield Worker(context, lambda: Rules(engine, RetryPolicy()), Event())
    engine.close()


@pytest.fixture
def fan(context, http_host, source, tmp_path, worker, monkeypatch):
    """Make two tasks from one source on a host to two paths, synced once."""
    # However slow the machine is, the refs are listed: one request is one fetch.
    monkeypatch.setattr(fetch, "SLACK", 60.0)
    targets = [Repo(tmp_path / f"target{n}.git") for n in range(2)]
    ids = [add(context, http_host.url(source), str(t)) for t in targets]
    for task_id in ids:
        triggered(context, task_id)
        assert worker.run_one()
    http_host.requests.clear()
    return list(zip(ids, targets, strict=True))


def add(context, source, target, refspecs=REFSPECS):
    draft = tasks.Draft(
        name=target,
        source=source,
        target=target,
        cache=cache_key(source),
        refspecs=refspecs,
    )
    return context.store.write(tasks.add, draft, context.now()).result().id


def triggered(context, task_id):
    new_delivery = NewDelivery("task-sync", "gms", "127.0.0.1", context.now())
    new_run = NewRun("webhook:task-sync")
    trigger = runs.Trigger(new_delivery, task_id, new_run)
    return context.store.gather(runs.accept, trigger).result()


def fetches(http_host):
    return sum(path.endswith("/git-upload-pack") for _, path, _ in http_host.requests)


def test_tasks_triggered_together_share_one_fetch(
    context, http_host, source, worker, fan
):
    new = source.commit()
    for task_id, _ in fan:
        triggered(context, task_id)
    while worker.run_one():
        pass
    assert [target.tip() for _, target in fan] == [new] * 2
    assert fetches(http_host) == 1


def test_a_trigger_that_came_after_a_fetch_began_gets_its_own(
    context, http_host, source, worker, fan
):
    (one, _), (other, target) = fan
    source.commit()
    triggered(context, one)
    assert worker.run_one()
    new = source.commit()
    triggered(context, other)
    assert worker.run_one()
    assert target.tip() == new
    assert fetches(http_host) == 2


@pytest.mark.parametrize("trigger", ["manual", "reconcile", "retry"])
def test_who_joins_a_queued_run_without_a_delivery_gets_a_fetch_of_its_own(
    context, source, worker, fan, trigger
):
    (one, _), (other, target) = fan
    source.commit()
    triggered(context, one)
    triggered(context, other)
    assert worker.run_one()
    new = source.commit()
    context.store.write(runs.request, other, NewRun(trigger), context.now()).result()
    assert worker.run_one()
    assert target.tip() == new


def test_a_later_attempt_fetches_for_itself(context, source, worker, fan):
    (one, _), (other, target) = fan
    triggered(context, one)
    failing = triggered(context, other).run_ids[0]
    context.store.write(runs.claim, context.now(), failing).result()
    back = runs.Return(context.now(), "the host was down")
    source.commit()
    context.store.write(runs.requeue, failing, back).result()
    assert worker.run_one()
    new = source.commit()
    assert worker.run_one() == failing
    assert target.tip() == new


def test_a_task_that_wants_other_refs_fetches_them(
    context, http_host, source, worker, fan, tmp_path
):
    source.commit("dev")
    refspecs = ("refs/heads/dev:refs/heads/dev",)
    more = Repo(tmp_path / "more.git")
    other = add(context, http_host.url(source), str(more), refspecs)
    triggered(context, fan[0][0])
    triggered(context, other)
    while worker.run_one():
        pass
    assert more.tip("dev") == source.tip("dev")


def test_a_cache_that_was_lost_is_fetched_again(context, source, worker, fan, tmp_path):
    new = source.commit()
    for task_id, _ in fan:
        triggered(context, task_id)
    assert worker.run_one()
    (cache,) = (p for p in (tmp_path / "caches").iterdir() if p.is_dir())
    (cache / "HEAD").unlink()
    run_id = worker.run_one()
    assert context.store.read(runs.get, run_id).result().status is RunStatus.SUCCESS
    assert fan[1][1].tip() == new


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["refs/heads/main"], True),
        ([f"refs/heads/topic-{n}" for n in range(1000)], True),
        ([f"refs/heads/topic-{n}" for n in range(10_000)], False),
        ([f"refs/heads/{'x' * 4000}{n}" for n in range(100)], False),
    ],
)
def test_a_fetch_of_many_or_long_refs_is_not_remembered(tmp_path, names, kept):
    job = SyncJob(task("/source", "/target"), asked=1, newest=1)
    served = Served(dict.fromkeys(names, "1" * 40), empty=False)
    fetches = RecentFetches()
    fetches.note(tmp_path, ("+refs/*:refs/*",), job, served)
    recalled = fetches.recall(tmp_path, ("+refs/*:refs/*",), job)
    assert recalled == (served if kept else None)
