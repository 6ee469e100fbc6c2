"""Tasks and their runs without a daemon: add, change, sync, undo, retry."""

import json
import re

from tests.support.repositories import Repo

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_a_task_goes_through_its_life(ok, no, sides):
    source, target = sides
    where = ("--source", source, "--target", target)
    more = ("--branch", "main:release", "--refspec", "^refs/heads/x", "--branch", "dev")
    policy = ("--force", "--prune", "--timeout", "90", "--disabled")
    assert ok("task", "add", "one", *where, *more, *policy) == "1\n"
    shown = json.loads(ok("task", "show", "one", "--json"))
    assert shown["refspecs"] == [
        "refs/heads/main:refs/heads/release",
        "^refs/heads/x",
        "refs/heads/dev:refs/heads/dev",
    ]
    assert (shown["force"], shown["prune"], shown["enabled"]) == (True, True, False)
    assert (shown["timeout"], shown["last_run"]) == (90, None)
    assert RFC3339.fullmatch(shown["created_at"])
    assert json.loads(ok("task", "list", "--json")) == [shown]
    ok("task", "enable", "1")
    ok("task", "set", "one", "name=two", "force=no", "branch=main", "timeout=default")
    changed = json.loads(ok("task", "show", "1", "--json"))
    assert (changed["name"], changed["force"], changed["enabled"]) == (
        "two",
        False,
        True,
    )
    assert (changed["source_branch"], changed["timeout"]) == ("main", None)
    ok("task", "disable", "two")
    assert "off" in ok("task", "list")
    ok("task", "remove", "two")
    assert ok("task", "list") == "no tasks\n"
    assert no("task", "show", "two") == (1, "gms-hookd: no task with name 'two'\n")


def test_a_schedule_is_set_shown_and_taken_away(ok, no, sides):
    where = ("--source", sides[0], "--target", sides[1])
    ok("task", "add", "plain", *where)
    assert "CRON" not in ok("task", "list")
    ok("task", "add", "nightly", *where, "--cron", "CRON_TZ=UTC 0 2 1 1 *")
    shown = json.loads(ok("task", "show", "nightly", "--json"))
    assert shown["cron"] == "CRON_TZ=UTC 0 2 1 1 *"
    assert shown["next_cron"].endswith("-01-01T02:00:00.000Z")
    assert "next cron:" in ok("task", "show", "nightly")
    head, _, row = ok("task", "list").splitlines()
    year = shown["next_cron"][:4]
    assert row.find(f"{year}-01-01") == head.find("NEXT CRON")
    ok("task", "disable", "nightly")
    assert json.loads(ok("task", "show", "2", "--json"))["next_cron"] is None
    ok("task", "set", "nightly", "enabled=true", "cron=0 0 30 2 *")
    assert "next cron:  never" in ok("task", "show", "nightly")
    ok("task", "set", "nightly", "cron=")
    assert json.loads(ok("task", "show", "2", "--json"))["cron"] is None
    wrong = no("task", "add", "x", *where, "--cron", "61 * * * *")
    assert wrong[0] == 2
    assert "above maximum (59)" in wrong[1]


def test_a_pattern_makes_tasks_of_a_list_and_they_stand_under_it(
    run, ok, no, sides, tmp_path
):
    source, _ = sides
    where = source.path.parent
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    ends = ("--source", f"{where}/*.git", "--target", f"{mirror}/*.git", "--create")
    assert ok("task", "add", "all/*", *ends, "--max", "5") == "1\n"
    ok("task", "add", "zz", "--source", "/a", "--target", "/b")
    names = tmp_path / "names"
    names.write_text(f"# all\n\n{source.path.name}\tprivate\t2026\n../x y\n")
    status, out, err = run("task", "expand", "all/*", names)
    assert (status, err) == (1, "gms-hookd: 1 of 2 names refused\n")
    assert re.search(r"^3 +all/source +created", out, re.M), out
    listed = [line.split()[1] for line in ok("task", "list").split("\n")[1:-1]]
    assert listed == ["all/*", "all/source", "zz"]
    ok("task", "sync", "3")
    assert Repo(mirror / "source.git").refs() == source.refs()
    ok("task", "set", "all/*", "cron=@daily")
    shown = ok("task", "show", "all/*")
    assert "makes up to 5 tasks, and never runs" in shown
    assert "next cron" not in shown
    assert "made by all/*" in ok("task", "show", "3")
    assert no("task", "sync", "all/*")[0] == 1
    names.write_text("# none\n")
    assert "the list has no names" in no("task", "expand", "all/*", names)[1]
    ok("task", "remove", "all/*")
    assert "all/source" in ok("task", "list")


def test_a_name_is_given_once(task, no):
    status, line = no("task", "add", "mirror", "--source", "/a", "--target", "/b")
    assert (status, "mirror" in line) == (1, True)


def test_a_sync_without_a_daemon_shows_git_and_what_became_of_each_ref(task, ok):
    source, target = task
    said = ok("task", "sync", "mirror")
    assert "$ git fetch" in said
    assert "refs/heads/main  created" in said
    assert re.search(r"^run 1: success in .*$", said.rstrip().split("\n")[-1])
    assert target.tip("main") == source.tip("main")
    assert "nothing to do" in ok("task", "sync", "1")
    assert "$ git fetch" in ok("run", "log", "1")
    shown = json.loads(ok("run", "show", "1", "--json"))
    assert (shown["status"], shown["trigger"], shown["attempt"]) == (
        "success",
        "manual",
        1,
    )
    assert "$ git fetch" in shown["details"]
    listed = json.loads(ok("run", "list", "--task", "mirror", "--json"))
    assert [run["id"] for run in listed] == [2, 1]
    assert ok("run", "list", "--status", "failed") == "no runs\n"
    assert len(json.loads(ok("run", "list", "--limit", "1", "--json"))) == 1


def test_an_undo_puts_back_what_a_run_did_and_says_that_the_task_is_disabled(
    task, ok, no
):
    source, target = task
    ok("task", "sync", "mirror")
    old = target.tip("main")
    source.commit()
    ok("task", "sync", "mirror")
    said = ok("run", "undo", "2", "--ref", "main")
    assert said.startswith("run 3 undoes run 2; task mirror is disabled\n")
    assert "until `gms-hookd task enable mirror`" in said
    assert target.tip("main") == old
    assert "1 mirror (off since run 3, an undo:" in ok("task", "show", "mirror")
    target.commit()
    status, line = no("run", "undo", "1")
    assert (status, "conflict" in line) == (1, True)
    status, line = no("run", "undo", "2", "--ref", "dev")
    assert (status, "but refs/heads/main" in line) == (2, True)


def test_a_sync_that_fails_is_status_1_with_its_reason(ok, no, tmp_path):
    ok("task", "add", "x", "--source", tmp_path / "none", "--target", tmp_path / "t")
    status, line = no("task", "sync", "x")
    assert status == 1
    assert "run 1: failed" in line
    assert "does not appear to be a git repository" in line


def test_a_conflict_is_status_1_and_leaves_the_target(task, no):
    source, target = task
    source.git("push", "-q", str(target), "main")
    theirs = target.commit("main")
    source.commit("main")
    status, line = no("task", "sync", "mirror")
    assert (status, "conflict" in line) == (1, True)
    assert target.tip("main") == theirs


def test_yes_lets_go_what_a_guard_holds_and_shows_it_first(task, ok, no):
    source, target = task
    ok("task", "set", "mirror", "prune=yes", "refspecs=refs/heads/*:refs/heads/*")
    names = [f"b{n}" for n in range(9)]
    source.set(**dict.fromkeys(names, source.tip()))
    assert "confirmed" not in ok("task", "sync", "mirror", "--yes")
    source.set(**dict.fromkeys(names[:8]))
    status, line = no("task", "sync", "mirror")
    assert (status, "held back" in line) == (1, True)
    said = ok("task", "sync", "mirror", "--yes")
    assert said.startswith("confirmed to be deleted:\n")
    assert said.index("refs/heads/b7") < said.index("$ git")
    assert set(target.refs()) == {"refs/heads/main", "refs/heads/b8"}


def test_yes_to_a_plan_that_cannot_be_made_confirms_nothing(run, ok, tmp_path):
    ok("task", "add", "x", "--source", tmp_path / "none", "--target", tmp_path / "t")
    status, said, err = run("task", "sync", "x", "--yes")
    assert (status, "nothing is confirmed: no plan: " in said) == (1, True)
    assert "run 1: failed" in err


def test_a_retry_without_a_daemon_waits_for_one(task, ok):
    ok("task", "sync", "mirror")
    assert ok("run", "retry", "1") == "run 2: queued, for when the daemon runs\n"
    assert ok("run", "cancel", "2") == "run 2: cancelled\n"
