"""One fetch serves the tasks of one source that were triggered before it began."""

from threading import Event

import pytest

from gms_hookd.git.url import cache_key
from gms_hookd.model import RunStatus
from gms_hookd.store import runs, tasks
from gms_hookd.store.deliveries import NewDelivery
from gms_hookd.store.runs import NewRun
from gms_hookd.sync.engine import Engine, EngineSettings
from gms_hookd.sync.fetch import RecentFetches, Served
from gms_hookd.sync.job import SyncJob
from gms_hookd.workers.worker import RetryPolicy, Rules, Worker
from tests.support.repositories import Repo, task

REFSPECS = ("refs/heads/main:refs/heads/main",)


@pytest.fixture
def worker(desk, tmp_path):
    settings = EngineSettings(tmp_path / "home", allow_protocols=("http", "file"))
    engine = Engine(tmp_path / "caches", settings, {"PATH": "/usr/bin:/bin"})
    yield Worker(desk, lambda: Rules(engine, RetryPolicy()), Event())
    engine.close()


@pytest.fixture
def fan(desk, http_host, source, tmp_path, worker):
    """Make two tasks from one source on a host to two paths, synced once."""
    targets = [Repo(tmp_path / f"target{n}.git") for n in range(2)]
    ids = [add(desk, http_host.url(source), str(t)) for t in targets]
    for task_id in ids:
        triggered(desk, task_id)
        assert worker.run_one()
    http_host.requests.clear()
    return list(zip(ids, targets, strict=True))


def add(desk, source, target, refspecs=REFSPECS):
    draft = tasks.Draft(
        name=target,
        source=source,
        target=target,
        cache=cache_key(source),
        refspecs=refspecs,
    )
    return desk.store.write(tasks.add, draft, desk.now()).result().id


def triggered(desk, task_id):
    arrival = NewDelivery("task-sync", "gms", "127.0.0.1", desk.now())
    wish = NewRun("webhook:task-sync")
    trigger = runs.Trigger(arrival, task_id, wish)
    return desk.store.gather(runs.accept, trigger).result()


def fetches(http_host):
    return sum(path.endswith("/git-upload-pack") for _, path, _ in http_host.requests)


def test_tasks_triggered_together_share_one_fetch(desk, http_host, source, worker, fan):
    new = source.commit()
    for task_id, _ in fan:
        triggered(desk, task_id)
    while worker.run_one():
        pass
    assert [target.tip() for _, target in fan] == [new] * 2
    assert fetches(http_host) == 1


def test_a_trigger_that_came_after_a_fetch_began_gets_its_own(
    desk, http_host, source, worker, fan
):
    (one, _), (other, target) = fan
    source.commit()
    triggered(desk, one)
    assert worker.run_one()
    new = source.commit()
    triggered(desk, other)
    assert worker.run_one()
    assert target.tip() == new
    assert fetches(http_host) == 2


@pytest.mark.parametrize("trigger", ["manual", "reconcile", "retry"])
def test_who_joins_a_queued_run_without_a_delivery_gets_a_fetch_of_its_own(
    desk, source, worker, fan, trigger
):
    (one, _), (other, target) = fan
    source.commit()
    triggered(desk, one)
    triggered(desk, other)
    assert worker.run_one()
    new = source.commit()
    desk.store.write(runs.request, other, NewRun(trigger), desk.now()).result()
    assert worker.run_one()
    assert target.tip() == new


def test_a_later_attempt_fetches_for_itself(desk, source, worker, fan):
    (one, _), (other, target) = fan
    triggered(desk, one)
    failing = triggered(desk, other).run_ids[0]
    desk.store.write(runs.claim, desk.now(), failing).result()
    back = runs.Return(desk.now(), "the host was down")
    source.commit()
    desk.store.write(runs.requeue, failing, back).result()
    assert worker.run_one()
    new = source.commit()
    assert worker.run_one() == failing
    assert target.tip() == new


def test_a_task_that_wants_other_refs_fetches_them(
    desk, http_host, source, worker, fan, tmp_path
):
    source.commit("dev")
    refspecs = ("refs/heads/dev:refs/heads/dev",)
    more = Repo(tmp_path / "more.git")
    other = add(desk, http_host.url(source), str(more), refspecs)
    triggered(desk, fan[0][0])
    triggered(desk, other)
    while worker.run_one():
        pass
    assert more.tip("dev") == source.tip("dev")


def test_a_cache_that_was_lost_is_fetched_again(desk, source, worker, fan, tmp_path):
    new = source.commit()
    for task_id, _ in fan:
        triggered(desk, task_id)
    assert worker.run_one()
    (cache,) = (p for p in (tmp_path / "caches").iterdir() if p.is_dir())
    (cache / "HEAD").unlink()
    run_id = worker.run_one()
    assert desk.store.read(runs.get, run_id).result().status is RunStatus.SUCCESS
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
    order = SyncJob(task("/source", "/target"), asked=1, newest=1)
    served = Served(dict.fromkeys(names, "1" * 40), empty=False)
    fetches = RecentFetches()
    fetches.note(tmp_path, ("+refs/*:refs/*",), order, served)
    recalled = fetches.recall(tmp_path, ("+refs/*:refs/*",), order)
    assert recalled == (served if kept else None)
