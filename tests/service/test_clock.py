"""The wall clock jumps: what looks old by it is not deleted at once."""

from dataclasses import replace

import pytest

from gms_hookd.config.load import load_config
from gms_hookd.service.clock import ClockWatch
from gms_hookd.service.service import Service
from gms_hookd.service.state_dir import StateDirectory
from gms_hookd.store import by_hook, deliveries
from tests.conftest import Clock
from tests.support.repositories import ENVIRON, Bench, Repo, task

DAY = 86400.0


@pytest.fixture
def up():
    """Seconds since the machine began, which nobody can set."""
    return Clock(5000.0)


@pytest.fixture
def service(tmp_path, clock, up):
    state = StateDirectory.open(tmp_path / "state")

    def begin():
        made = Service.open(load_config({}, state=state.path), state, ENVIRON)
        made.context = replace(made.context, clock=clock, monotonic=up)
        made.housekeeping._clock = ClockWatch(made.context)
        begun.append(made)
        return made

    begun = []
    yield begin
    for each in begun:
        each.close()
    state.close()


@pytest.fixture
def pass_time(clock, up):
    def forward(seconds):
        clock.forward(seconds)
        up.forward(seconds)

    return forward


def came(service):
    arrival = deliveries.NewDelivery("h", "gms", "", service.context.now())
    for _ in range(2):  # the newest one is never deleted
        service.context.store.write(deliveries.record, arrival, 200, "").result()


def left(service):
    service.housekeeping.keep_up()
    return len(service.context.store.read(deliveries.latest, None, 99).result())


@pytest.mark.parametrize("ahead", [25 * 3600, 40 * DAY, 20 * 365 * DAY])
@pytest.mark.parametrize("restarted", [False, True])
def test_nothing_is_deleted_until_a_new_time_has_lasted_a_day(
    service, clock, up, pass_time, caplog, ahead, restarted
):
    caplog.set_level("INFO")
    served = service()
    came(served)
    assert left(served) == 2
    pass_time(29.5 * DAY)
    assert left(served) == 2
    clock.forward(ahead)
    if restarted:
        served.close()
        up.now = 50.0
        served = service()
    for _ in range(24):
        assert left(served) == 2
        pass_time(3590)
    assert "clock jumped forward" in caplog.text
    assert "nothing is deleted until" in caplog.text
    pass_time(3600)
    assert left(served) == 1
    assert "clock is believed again" in caplog.text


def test_the_day_goes_on_over_restarts(service, clock, up, pass_time):
    served = service()
    came(served)
    left(served)
    clock.forward(40 * DAY)
    for _ in range(3):
        assert left(served) == 2
        pass_time(9 * 3600)
        left(served)
        served.close()
        served = service()
    assert left(served) == 1


def test_time_that_passes_while_nobody_serves_is_no_jump(service, pass_time, caplog):
    served = service()
    came(served)
    left(served)
    served.close()
    pass_time(31 * DAY)
    assert left(service()) == 1
    assert "jumped" not in caplog.text


@pytest.mark.parametrize("ahead", [60, 23 * 3600])
def test_a_small_step_is_none(service, clock, caplog, ahead):
    served = service()
    left(served)
    clock.forward(ahead)
    left(served)
    assert "jumped" not in caplog.text


def test_what_came_while_the_clock_was_ahead_is_deleted_in_time(
    service, clock, pass_time
):
    served = service()
    left(served)
    clock.forward(400 * DAY)
    left(served)
    came(served)
    clock.forward(-400 * DAY)
    assert left(served) == 2
    pass_time(31 * DAY)
    assert left(served) == 1


def test_backups_stay_while_the_clock_is_not_believed(tmp_path, clock):
    source, target = Repo(tmp_path / "s.git"), Repo(tmp_path / "t.git")
    source.commit()
    target.commit()
    bench = Bench(tmp_path, backups=-5.0)
    it = task(source, target, force=True)
    assert len(bench.sync(it).pinned) == 1
    other = Repo(tmp_path / "other.git")
    for sources in ([str(source)], [str(other)]):
        bench.engine.maintain(sources, delete=False)
        (cache,) = (p for p in bench.caches.iterdir() if p.is_dir())
        kept = [r for r in Repo(cache).refs() if r.startswith("refs/backup/")]
        assert len(kept) == 1
    bench.engine.maintain([str(source)])
    assert not [r for r in Repo(cache).refs() if r.startswith("refs/backup/")]


def test_upkeep_notes_by_which_hook_deliveries_came(service):
    made = service()
    came(made)
    made.housekeeping.keep_up()
    assert made.context.store.read(by_hook.noted).result() == 2
