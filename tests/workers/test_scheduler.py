"""Schedules are met by the wall clock, whatever that does; each time is one run."""

import random
from datetime import UTC, datetime
from threading import Event

import pytest

from gms_hookd.cron import next_time
from gms_hookd.model import RunStatus
from gms_hookd.store import runs, tasks
from gms_hookd.workers.scheduler import Scheduler
from tests.support.in_process import Place as Service
from tests.support.in_process import until
from tests.support.place import Place
from tests.support.repositories import Repo

HOUR, DAY = 3600.0, 86400.0
NIGHTLY = "CRON_TZ=UTC 0 2 * * *"


class Yard:
    """Tasks, a scheduler, and what it has queued."""

    def __init__(self, context, clock):
        self.context, self.clock = context, clock
        self.scheduler = Scheduler(context, Event())

    def do(self, operation, *args):
        return self.context.store.write(operation, *args).result()

    def add(self, name="app", cron=NIGHTLY, **more):
        draft = tasks.Draft(name, f"/s/{name}", f"/t/{name}", name, cron=cron, **more)
        return self.do(tasks.add, draft, self.context.now()).id

    def change(self, task_id=1, **changes):
        task = self.task(task_id)
        more = {"cron": task.cron} | changes
        draft = tasks.Draft(task.name, task.source, task.target, task.name)
        self.do(tasks.change, task_id, draft._replace(**more), self.context.now())

    def task(self, task_id=1):
        return self.do(tasks.get, task_id)

    def next(self, task_id=1):
        due = self.task(task_id).next_cron
        return due and f"{datetime.fromtimestamp(due / 1000, UTC):%m-%d %H:%M}"

    def at(self, text):
        self.clock.now = datetime.fromisoformat(f"2026-{text}:00+00:00").timestamp()

    def turn(self):
        """Look at the clock; return the task and trigger of each run, and end it."""
        self.scheduler.turn(self.context.now())
        found = []
        while claim := self.do(runs.claim, self.context.now()):
            found.append((claim.run.task_name, claim.run.trigger))
            end = runs.Result(RunStatus.SUCCESS)
            self.do(runs.finish, claim.run.id, end, self.context.now())
        return found


RUN = [("app", "cron")]


@pytest.fixture
def yard(context, clock):
    made = Yard(context, clock)
    made.at("05-10 12:00")
    return made


def test_a_task_runs_when_its_time_has_come_and_once(yard):
    yard.add()
    assert yard.next() == "05-11 02:00"
    assert yard.turn() == []
    yard.at("05-11 01:59")
    assert yard.turn() == []
    yard.at("05-11 02:00")
    assert (yard.turn(), yard.turn()) == (RUN, [])
    assert yard.next() == "05-12 02:00"


def test_what_was_missed_is_one_run_at_the_start(yard):
    yard.add(cron="@hourly")
    yard.add("never", cron="0 0 30 2 *")
    yard.at("05-13 11:30")
    yard.scheduler.begin(yard.context.now())
    assert (yard.turn(), yard.turn()) == (RUN, [])
    assert (yard.next(), yard.next(2)) == ("05-13 12:00", None)


def test_a_run_by_schedule_joins_the_one_that_waits(yard):
    task = yard.add()
    new = runs.NewRun("webhook:github", hint="a" * 40)
    run_id = yard.do(runs.trigger, task, new, yard.context.now())
    yard.at("05-11 02:00")
    assert yard.turn() == [("app", "cron, webhook:github")]
    assert yard.do(runs.newest) == run_id


@pytest.mark.parametrize(
    ("there", "back"),
    [("05-12 01:30", "05-11 01:30"), ("05-10 01:30", "05-11 01:30")],
    ids=["ahead and back", "back and ahead"],
)
def test_a_clock_that_steps_by_a_day_and_back_delays_no_schedule(yard, there, back):
    yard.add()
    yard.at("05-11 01:30")
    missed = RUN if there > "05-11" else []
    yard.at(there)
    assert yard.turn() == missed
    yard.at(back)
    late = RUN if there < "05-11" else []  # 05-10 02:00 was jumped over
    assert yard.turn() == late
    assert yard.next() == "05-11 02:00"
    yard.at("05-11 02:00")
    assert yard.turn() == RUN


def test_a_clock_put_right_by_a_little_meets_no_time_twice(yard):
    yard.add()
    yard.at("05-11 02:00")
    assert yard.turn() == RUN
    yard.clock.forward(-30)
    assert yard.turn() == []
    yard.clock.forward(31)
    assert yard.turn() == []


def test_a_machine_that_starts_in_1970_or_2106_meets_the_next_time_all_the_same(yard):
    yard.add()
    for wrong in (0.0, 4.3e9):
        yard.clock.now = wrong
        yard.turn()
        yard.at("05-11 01:00")
        yard.turn()
        assert yard.next() == "05-11 02:00"


def test_random_steps_of_the_clock_lose_no_time_that_it_shows(yard):
    """What the clock passes while it goes on is met; nothing else more than once."""
    chance = random.Random(20261129)
    specs = ["CRON_TZ=UTC 17 * * * *", NIGHTLY, "CRON_TZ=UTC */20 9 * * 1-5"]
    names = {f"t{n}": yard.add(f"t{n}", cron=spec) for n, spec in enumerate(specs)}
    for _ in range(120):
        before = yard.context.now()
        step = chance.choice([1, 30, 600, HOUR, 7 * HOUR, DAY, -HOUR, -DAY, -90])
        yard.clock.forward(step)
        now = yard.context.now()
        met = {name for name, _ in yard.turn()}
        for spec, (name, task_id) in zip(specs, names.items(), strict=True):
            passed = step > 0 and next_time(spec, before) <= now
            assert (name in met) == passed, (name, before, now)
            assert yard.task(task_id).next_cron == next_time(spec, now)
        names_left = {name for name, _ in yard.turn()}
        assert not names_left


def test_a_disabled_task_waits_and_misses_nothing(yard):
    yard.add(enabled=False)
    assert yard.next() is None
    yard.change(enabled=True)
    assert yard.next() == "05-11 02:00"
    yard.change(enabled=False)
    yard.at("05-11 02:30")
    assert (yard.next(), yard.turn()) == (None, [])
    yard.change(enabled=True)
    assert (yard.next(), yard.turn()) == ("05-12 02:00", [])


def test_a_delay_counts_on_over_a_start_and_a_change_of_something_else(yard):
    yard.add(cron="@every 90m")
    assert yard.next() == "05-10 13:30"
    yard.at("05-10 13:00")
    yard.scheduler.begin(yard.context.now())
    yard.change(timeout=60.0)
    assert yard.next() == "05-10 13:30"
    yard.change(cron="@every 2h")
    assert yard.next() == "05-10 15:00"
    yard.change(cron="")
    yard.at("05-10 15:00")
    assert (yard.next(), yard.turn()) == (None, [])


def test_a_zone_that_the_machine_knows_no_more_stops_no_other(yard, caplog):
    yard.add("lost", cron="CRON_TZ=Mars/Olympus 0 2 * * *")
    yard.add()
    yard.scheduler.begin(yard.context.now())
    assert "task=1" in caplog.text
    assert "unknown time zone Mars/Olympus" in caplog.text
    yard.at("05-11 02:00")
    assert yard.turn() == RUN


def test_more_tasks_than_one_transaction_takes_start_at_one_look(yard):
    for number in range(410):
        yard.add(f"t{number}")
    yard.at("05-11 02:00")
    yard.scheduler.turn(yard.context.now())
    assert len(yard.do(runs.history, None, RunStatus.QUEUED, 999)) == 410


def test_a_run_by_schedule_reads_the_target(context, clock, tmp_path):
    place = Place(context, tmp_path, cron="@hourly")
    place.trigger()
    place.worker.run_one()
    lost = place.target.tip()
    place.target.git("update-ref", "-d", "refs/heads/main")
    clock.forward(HOUR)
    Scheduler(context, Event()).turn(context.now())
    place.worker.run_one()
    assert place.target.tip() == lost


def test_a_service_runs_what_is_scheduled(tmp_path):
    source, target = Repo(tmp_path / "source.git"), Repo(tmp_path / "target.git")
    tip = source.commit()
    service = Service(tmp_path)
    try:
        fields = {"name": "app", "source": str(source), "target": str(target)}
        made = service.api("POST", "task/create", **fields, cron="@every 1s")
        assert made[1]["data"]["cron"] == "@every 1s"
        run = until(lambda: service.api("GET", "task?id=1")[1]["data"]["last_run"])
        assert run["trigger"] == "cron"
        assert service.ended(run["id"])["status"] == "success"
        assert target.tip() == tip
    finally:
        service.close()
