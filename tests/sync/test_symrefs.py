"""Symbolic refs at a target: never pushed to, never deleted, told what they are."""

import pytest

from gms_hookd.model import RefResult, RunStatus
from tests.support.hosts import keygen
from tests.support.repositories import task

MAIN, MASTER = "refs/heads/main", "refs/heads/master"
AN_ALIAS = f"an alias of {MAIN} at the target"


@pytest.fixture(params=["local", "http", "ssh"])
def url_of(request):
    """Name a repository by each way there is to it."""
    if request.param == "local":
        return str
    host = request.getfixturevalue("http_host" if request.param == "http" else "sshd")
    return host.url


@pytest.fixture
def bench(opened, request):
    if "url_of" not in request.fixturenames:
        return opened()
    sshd = request.getfixturevalue("sshd")
    return opened(ssh_key_file=sshd.key, ssh_known_hosts=sshd.known_hosts)


def point(repo, alias, ref=MAIN):
    repo.git("symbolic-ref", alias, ref)


def symrefs(repo):
    out = repo.git("for-each-ref", "--format=%(refname) %(symref)")
    return dict(line.split(" ") for line in out.splitlines() if line.split(" ")[1])


def found(outcome):
    return {r.ref: (r.result, r.reason) for r in outcome.refs}


def copied(source, target, *names):
    for name in names:
        target.git("fetch", "-q", str(source), f"{name}:{name}")


def test_an_alias_is_not_pruned_with_what_it_stands_for(source, target, url_of, bench):
    copied(source, target, "main")
    point(target, MASTER)
    it = task(source, url_of(target), prune=True)
    for _ in range(3):
        outcome = bench.sync(it)
        assert target.refs() == {MAIN: source.tip(), MASTER: source.tip()}
        assert found(outcome)[MASTER] == (RefResult.REJECTED, AN_ALIAS)
        assert outcome.status is RunStatus.CONFLICT
        assert not outcome.transient
    assert symrefs(target) == {MASTER: MAIN}


@pytest.mark.parametrize("force", [False, True])
def test_a_push_to_an_alias_does_not_move_another_branch(source, target, bench, force):
    source.commit("master", on=source.tip())
    copied(source, target, "main")
    point(target, MASTER)
    it = task(source, target, force=force)
    for _ in range(2):
        outcome = bench.sync(it)
        assert target.refs() == {MAIN: source.tip(), MASTER: source.tip()}
        assert found(outcome)[MASTER] == (RefResult.REJECTED, AN_ALIAS)
        assert found(outcome)[MAIN][0] is RefResult.UNCHANGED
        source.commit("main")
        bench.sync(it)
        assert target.tip() == source.tip(), "the others go on"


def test_an_alias_that_resolves_to_what_it_should_is_unchanged(source, target, bench):
    source.put({MASTER: source.tip()})
    copied(source, target, "main")
    point(target, MASTER)
    it = task(source, target)
    for _ in range(2):
        outcome = bench.sync(it)
        assert outcome.status is RunStatus.SUCCESS, bench.log.text()
        assert found(outcome)[MASTER] == (RefResult.UNCHANGED, AN_ALIAS)
        source.put({MASTER: source.commit()})
    bench.sync(it)
    assert target.refs() == source.refs()
    source.commit("master")
    outcome = bench.sync(it)
    assert found(outcome)[MASTER] == (RefResult.REJECTED, AN_ALIAS)
    assert target.tip() == source.tip() != source.tip("master")


@pytest.mark.parametrize("names", [
    ("refs/tags/latest", "refs/tags/v1"), ("refs/heads/a/current", "refs/heads/a/2"),
    ("refs/heads/alias", "refs/heads/other"), ("refs/notes/x", "refs/notes/commits"),
])  # fmt: skip
def test_any_kind_of_ref_may_be_an_alias(source, target, bench, names):
    alias, real = names
    source.put({real: source.tip(), alias: source.tip()})
    copied(source, target, "main", real)
    point(target, alias, real)
    it = task(source, target, "refs/*:refs/*", force=True, prune=True)
    source.commit(alias)
    outcome = bench.sync(it)
    reason = f"an alias of {real} at the target"
    assert found(outcome)[alias] == (RefResult.REJECTED, reason)
    assert target.refs()[real] == source.refs()[real]
    source.put({alias: None})
    outcome = bench.sync(it)
    assert found(outcome)[alias] == (RefResult.REJECTED, reason)
    assert target.refs()[real] == source.refs()[real]


def test_an_alias_of_an_alias_stands_for_what_is_at_its_end(source, target, bench):
    copied(source, target, "main")
    point(target, MASTER)
    point(target, "refs/heads/old", MASTER)
    source.commit("old", on=source.tip())
    outcome = bench.sync(task(source, target))
    assert found(outcome)["refs/heads/old"] == (RefResult.REJECTED, AN_ALIAS)
    assert target.tip() == source.tip()


@pytest.mark.parametrize("length", [1, 2, 3])
def test_aliases_in_a_circle_are_left_alone(source, target, bench, length):
    names = [f"refs/heads/a{n}" for n in range(length)]
    for name, after in zip(names, names[1:] + names[:1], strict=True):
        source.put({name: source.tip()})
        path = target.path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(f"ref: {after}\n")
    outcome = bench.sync(task(source, target, prune=True))
    assert outcome.status is RunStatus.CONFLICT
    assert target.tip() == source.tip(), "the others arrive"
    for name in names:
        said = found(outcome)[name]
        assert said == (
            RefResult.REJECTED,
            "an alias at the target that leads to itself",
        )


def test_two_refspecs_that_meet_by_an_alias_move_one_ref(source, target, bench):
    source.commit("dev", on=source.tip())
    copied(source, target, "main")
    point(target, MASTER)
    source.commit()
    it = task(source, target, "main:main", "dev:master")
    for _ in range(2):
        outcome = bench.sync(it)
        assert found(outcome)[MASTER] == (RefResult.REJECTED, AN_ALIAS)
        assert target.tip() == target.tip("master") == source.tip("main")


def test_a_branch_that_a_wanted_alias_stands_for_is_not_pruned(source, target, bench):
    copied(source, target, "main")
    target.put({"refs/heads/old": source.tip()})
    point(target, MASTER, "refs/heads/old")
    source.put({MASTER: source.tip()})
    outcome = bench.sync(task(source, target, prune=True))
    assert found(outcome)[MASTER][0] is RefResult.UNCHANGED
    assert found(outcome)["refs/heads/old"] == (
        RefResult.REJECTED, f"{MASTER} is an alias of it at the target",
    )  # fmt: skip
    assert target.tip("master") == source.tip()


def test_an_alias_that_leads_nowhere_is_not_pushed_through(source, target, bench):
    bench.sync(task(source, target))
    point(target, MASTER, "refs/heads/none")
    source.put({MASTER: source.tip()})
    for _ in range(2):
        outcome = bench.sync(task(source, target))
        reason = "an alias of refs/heads/none at the target"
        assert found(outcome)[MASTER] == (RefResult.REJECTED, reason)
        assert set(target.refs()) == {MAIN}


def test_a_branch_that_became_an_alias_since_the_last_run_is_seen(
    source, target, url_of, bench
):
    source.put({MASTER: source.tip()})
    it = task(source, url_of(target))
    bench.sync(it)
    target.put({MASTER: None})
    point(target, MASTER)
    source.commit("master")
    outcome = bench.sync(it)
    assert found(outcome)[MASTER] == (RefResult.REJECTED, AN_ALIAS)
    assert target.tip() == source.tip()


def test_a_branch_that_is_an_alias_no_more_is_pushed_again(source, target, bench):
    source.commit("master", on=source.tip())
    copied(source, target, "main")
    point(target, MASTER)
    it = task(source, target)
    bench.sync(it)
    target.git("symbolic-ref", "-d", MASTER)
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()


def test_an_alias_the_task_does_not_select_is_left_out(source, target, bench):
    copied(source, target, "main")
    point(target, MASTER)
    specs = ("refs/heads/*:refs/heads/*", "^refs/heads/master")
    outcome = bench.sync(task(source, target, *specs, prune=True))
    assert outcome.status is RunStatus.SUCCESS
    assert set(found(outcome)) == {MAIN}
    assert symrefs(target) == {MASTER: MAIN}


def test_a_branch_that_is_a_link_of_old_is_an_alias(source, target, bench):
    copied(source, target, "main")
    (target.path / MASTER).symlink_to(MAIN)
    source.commit("master", on=source.tip())
    outcome = bench.sync(task(source, target, force=True))
    assert found(outcome)[MASTER] == (RefResult.REJECTED, AN_ALIAS)
    assert target.tip() == source.tip()


def test_aliases_of_a_source_arrive_as_branches(source, target, bench):
    point(source, MASTER)
    it = task(source, target, prune=True)
    for _ in range(2):
        assert bench.sync(it).status is RunStatus.SUCCESS
        assert target.refs() == source.refs()
        assert symrefs(target) == {}
        source.commit()


# By protocol v0 a host tells of no symbolic ref but HEAD.


@pytest.fixture(params=["http", "ssh"])
def blind(request, opened, tmp_path):
    """Make an engine, and name a repository, by ways that tell no aliases."""
    if request.param == "http":
        host = request.getfixturevalue("http_host")
        host.protocol = "none"
        return opened(), host.url
    sshd = request.getfixturevalue("sshd")
    keygen(tmp_path / "key")
    public = (tmp_path / "key.pub").read_text()
    command = 'command="env -u GIT_PROTOCOL sh -c \\"$SSH_ORIGINAL_COMMAND\\""'
    with (sshd.root / "authorized").open("a") as file:
        file.write(f"{command} {public}")
    known = sshd.known_hosts
    return opened(ssh_key_file=tmp_path / "key", ssh_known_hosts=known), sshd.url


@pytest.mark.parametrize("specs", [(), ("refs/heads/m*r:refs/heads/m*r",)])
def test_what_may_be_an_alias_is_not_pruned(source, target, blind, specs):
    bench, url_of = blind
    copied(source, target, "main")
    point(target, MASTER)
    source.put({"refs/heads/mr": source.tip()})
    it = task(source, url_of(target), *specs, prune=True)
    for _ in range(2):
        outcome = bench.sync(it)
        result, reason = found(outcome)[MASTER]
        assert result is RefResult.REJECTED
        assert reason.startswith(
            f"it may be an alias of {MAIN}, which has the same tip"
        )
        assert "AcceptEnv GIT_PROTOCOL" in reason
        assert outcome.status is RunStatus.CONFLICT
        assert target.tip() == source.tip()


def test_a_branch_is_pruned_once_its_tip_is_its_own(source, target, http_host, bench):
    http_host.protocol = "none"
    source.put({"refs/heads/a": source.tip(), "refs/heads/b": source.tip()})
    it = task(source, http_host.url(target), prune=True)
    bench.sync(it)
    source.put({"refs/heads/a": None})
    assert bench.sync(it).status is RunStatus.CONFLICT
    source.commit("main", "b")
    assert bench.sync(it).status is RunStatus.CONFLICT, "they move after the deletions"
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()


def test_branches_that_go_together_may_be_one(source, target, http_host, bench):
    http_host.protocol = "none"
    source.commit("a", on=source.tip())
    source.put({"refs/heads/b": source.tip("a")})
    it = task(source, http_host.url(target), prune=True)
    bench.sync(it)
    source.put({"refs/heads/a": None, "refs/heads/b": None})
    assert bench.sync(it).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()


@pytest.mark.parametrize("specs", [(), ("master:master",)])
def test_an_alias_is_found_out_by_what_moves_along(
    source, target, http_host, bench, specs
):
    http_host.protocol = "none"
    source.commit("master", on=source.tip())
    copied(source, target, "main")
    old = source.tip()
    point(target, MASTER)
    it = task(source, http_host.url(target), *specs)
    outcome = bench.sync(it)
    result, reason = found(outcome)[MASTER]
    assert (result, outcome.status) == (RefResult.REJECTED, RunStatus.CONFLICT)
    assert reason == AN_ALIAS + ", which moved, too"
    result, reason = found(outcome)[MAIN]
    assert (result, source.tip("master")) == (RefResult.UPDATED, target.tip())
    assert reason.startswith(f"moved with {MASTER}, an alias of it; to restore: gms")
    assert bench.undo(it, outcome).status is RunStatus.SUCCESS
    assert target.tip() == old
    for _ in range(2):
        outcome = bench.sync(it)
        assert found(outcome)[MASTER] == (RefResult.REJECTED, AN_ALIAS)
        assert target.tip() == old, "it is remembered"


def test_branches_with_one_tip_go_their_ways(source, target, blind):
    bench, url_of = blind
    source.put({"refs/heads/a": source.tip(), "refs/heads/b": source.tip()})
    it = task(source, url_of(target))
    bench.sync(it)
    source.commit("a")
    assert bench.sync(it).status is RunStatus.SUCCESS
    source.put({"refs/heads/b": source.tip("a"), MAIN: source.tip("a")})
    assert bench.sync(it).status is RunStatus.SUCCESS, bench.log.text()
    assert target.refs() == source.refs()


# What leads to no ref yet is told by no protocol, and a push to it makes that ref.

NONE = "refs/heads/none"
AN_ALIAS_OF_NONE = f"an alias of {NONE} at the target"


def test_what_was_created_through_an_alias_is_told(source, target, url_of, bench):
    it = task(source, url_of(target), force=True, prune=True)
    bench.sync(it)
    point(target, MASTER, NONE)
    source.put({MASTER: source.tip(), "refs/heads/b": source.tip()})
    outcome = bench.sync(it, run=7)
    rows = found(outcome)
    assert outcome.status is RunStatus.CONFLICT
    assert (rows[MASTER][0], rows["refs/heads/b"][0]) == (
        RefResult.REJECTED, RefResult.CREATED,
    )  # fmt: skip
    if url_of is str:
        assert rows[MASTER][1] == AN_ALIAS_OF_NONE
        assert set(target.refs()) == {MAIN, "refs/heads/b"}
        return
    assert rows[MASTER][1] == AN_ALIAS_OF_NONE + ", which was created"
    result, reason = rows[NONE]
    assert result is RefResult.CREATED
    assert reason == (
        f"created with {MASTER}, an alias of it;"
        f" to restore: gms-hookd run undo 7 --ref {NONE}"
    )
    done = outcome
    source.commit("master")
    there = target.refs()
    for _ in range(2):
        outcome = bench.sync(it, verify=True)
        assert found(outcome)[MASTER] == (RefResult.REJECTED, AN_ALIAS_OF_NONE)
        assert target.refs() == there
    assert bench.undo(it, done).status is RunStatus.SUCCESS, bench.log.text()
    assert symrefs(target) == {}, "it leads nowhere again"
    assert (target.path / MASTER).read_text() == f"ref: {NONE}\n"
    assert set(target.refs()) == {MAIN}
    outcome = bench.sync(it)
    assert found(outcome)[MASTER] == (RefResult.REJECTED, AN_ALIAS_OF_NONE)
    assert "if it is no more: `gms-hookd task sync n`" in bench.log.text()
    assert NONE not in target.refs()
    (target.path / MASTER).unlink()
    assert bench.sync(it, by_hand=True).status is RunStatus.SUCCESS
    assert target.refs() == source.refs()


def test_what_an_alias_of_an_alias_made_is_found(source, target, http_host, bench):
    reals = {MASTER: "refs/tags/none", "refs/heads/b": "refs/x/none"}
    for alias, real in reals.items():
        point(target, alias, alias + "-old")
        point(target, alias + "-old", real)
    source.put(dict.fromkeys(reals, source.tip()))
    outcome = bench.sync(task(source, http_host.url(target)))
    for alias, real in reals.items():
        reason = f"an alias of {real} at the target, which was created"
        assert found(outcome)[alias] == (RefResult.REJECTED, reason)
        assert found(outcome)[real][0] is RefResult.CREATED
        assert target.refs()[real] == source.tip()


def test_an_alias_of_what_arrives_with_it_is_unchanged(
    source, target, http_host, bench
):
    point(target, MASTER, NONE)
    source.put({MASTER: source.tip(), NONE: source.tip()})
    outcome = bench.sync(task(source, http_host.url(target), prune=True))
    assert outcome.status is RunStatus.SUCCESS
    assert found(outcome)[MASTER] == (RefResult.UNCHANGED, AN_ALIAS_OF_NONE)
    assert found(outcome)[NONE] == (RefResult.CREATED, None)
    assert target.refs() == source.refs()


def test_an_alias_among_refs_that_are_tried_apart_is_told(
    source, target, http_host, bench
):
    names = [f"refs/heads/b{n}" for n in range(5)]
    source.put(dict.fromkeys((*names, MASTER), source.tip()))
    point(target, MASTER, NONE)
    target.hook("pre-receive", "grep -q heads/b4 && exit 1; exit 0\n")
    outcome = bench.sync(task(source, http_host.url(target)))
    rows = found(outcome)
    assert rows[MASTER][1] == AN_ALIAS_OF_NONE + ", which was created"
    assert rows[NONE][0] is RefResult.CREATED
    assert target.tip("none") == source.tip()
    commands = bench.commands()
    assert commands.count("ls-remote") == 2, "it is listed once, however many pushes"


@pytest.mark.parametrize("answer", [
    lambda r: r.carry_out() and r.answer(504),
    lambda r: r.carry_out() and r.cut(),
])  # fmt: skip
def test_an_alias_is_told_after_a_push_without_an_answer(
    source, target, http_host, bench, answer
):
    point(target, MASTER, NONE)
    source.put({MASTER: source.tip()})
    faults = [lambda r: r.command == "POST" and "receive-pack" in r.path]
    http_host.faults.append(lambda r: bool(faults and faults[0](r) and (
        faults.clear(), answer(r))))  # fmt: skip
    it = task(source, http_host.url(target))
    outcome = bench.sync(it, run=7)
    assert not faults
    if outcome.transient:
        outcome = bench.sync(it, run=7, attempt=2, before=outcome.refs)
    rows = found(outcome)
    assert rows[MASTER][1] == AN_ALIAS_OF_NONE + ", which was created"
    assert rows[NONE][1].endswith("run undo 7 --ref refs/heads/none")


def test_an_alias_is_told_by_the_attempt_after_a_crash(
    source, target, http_host, bench
):
    point(target, MASTER, NONE)
    source.put({MASTER: source.tip()})
    it = task(source, http_host.url(target))
    bench.sync(it, run=7, known={})
    (log,) = bench.caches.glob("*.push-1")
    lines = [x for x in log.read_text().split("\n") if not x.startswith("[true")]
    log.write_text("\n".join(lines))  # as if killed before it could look
    outcome = bench.sync(it, run=7, attempt=2, known={})
    rows = found(outcome)
    assert rows[MASTER] == (RefResult.UNCHANGED, AN_ALIAS_OF_NONE)
    assert rows[NONE][0] is RefResult.CREATED
    assert rows[NONE][1].endswith("run undo 7 --ref refs/heads/none")


def test_what_cannot_be_looked_at_is_left_open(source, target, http_host, bench):
    point(target, MASTER, NONE)
    source.put({MASTER: source.tip()})
    pushed = []

    def fail(request):
        if "receive-pack" in request.path:
            pushed.append(request)
        elif pushed:
            request.answer(503)
        return bool(pushed) and "receive-pack" not in request.path

    http_host.faults.append(fail)
    it = task(source, http_host.url(target))
    outcome = bench.sync(it, run=7)
    assert (outcome.status, outcome.transient) == (RunStatus.FAILED, True)
    assert "it is not known whether it arrived" in found(outcome)[MASTER][1]
    http_host.faults.clear()
    outcome = bench.sync(it, run=7, attempt=2, before=outcome.refs)
    assert found(outcome)[NONE][0] is RefResult.CREATED


def test_what_a_new_branch_made_is_seen_where_no_alias_is_told(source, target, blind):
    bench, url_of = blind
    copied(source, target, "main")
    source.put({"refs/heads/b": source.tip()})
    it = task(source, url_of(target))
    assert bench.sync(it).status is RunStatus.SUCCESS
    point(target, MASTER, NONE)
    source.put({MASTER: source.commit("dev")})
    source.put({"refs/heads/dev": None})
    outcome = bench.sync(it, verify=True)
    assert found(outcome)[MASTER] == (
        RefResult.REJECTED, AN_ALIAS_OF_NONE + ", which was created",
    )  # fmt: skip
    assert found(outcome)[NONE][0] is RefResult.CREATED
    outcome = bench.sync(it)
    assert found(outcome)[MASTER] == (RefResult.UNCHANGED, AN_ALIAS_OF_NONE)
    source.commit("master")
    there = target.refs()
    assert found(bench.sync(it))[MASTER] == (RefResult.REJECTED, AN_ALIAS_OF_NONE)
    assert target.refs() == there


def test_one_new_branch_is_no_alias_of_others_with_its_tip(source, target, blind):
    bench, url_of = blind
    copied(source, target, "main")
    source.put({MASTER: source.tip()})
    it = task(source, url_of(target), "master:master")
    outcome = bench.sync(it)
    assert outcome.status is RunStatus.SUCCESS, bench.log.text()
    assert found(outcome) == {MASTER: (RefResult.CREATED, None)}


def test_an_alias_does_not_keep_what_it_stands_for_from_arriving(
    source, target, http_host, bench
):
    source.put({MASTER: source.tip(), "refs/heads/b": source.tip()})
    source.commit("none", on=source.tip())
    point(target, MASTER, NONE)
    it = task(source, http_host.url(target), prune=True)
    for result in (RefResult.CREATED, RefResult.UNCHANGED):
        outcome = bench.sync(it)
        assert outcome.status is RunStatus.CONFLICT
        assert found(outcome)[MASTER] == (RefResult.REJECTED, AN_ALIAS_OF_NONE)
        assert found(outcome)[NONE] == (result, None)
        assert target.refs() == source.refs() | {MASTER: source.tip("none")}


def test_two_branches_that_meet_by_an_alias_that_is_not_told(source, target, blind):
    bench, url_of = blind
    copied(source, target, "main")
    point(target, MASTER)
    source.commit("master", on=source.tip())
    source.commit()
    it = task(source, url_of(target), force=True)
    for result in (RefResult.UPDATED, RefResult.UNCHANGED):
        outcome = bench.sync(it)
        assert outcome.status is RunStatus.CONFLICT
        assert found(outcome)[MASTER] == (RefResult.REJECTED, AN_ALIAS)
        assert found(outcome)[MAIN] == (result, None)
        assert target.refs() == {MAIN: source.tip(), MASTER: source.tip()}
