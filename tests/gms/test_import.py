"""Who uses GMS moves in with one command, and his scripts go on as they are."""

import hashlib
import hmac
import json
import shutil
import sqlite3
import subprocess
import tomllib
from contextlib import closing
from pathlib import Path

import pytest

from gms_hookd.cli import main
from gms_hookd.config.load import load_config
from gms_hookd.gms.records import read_documents, read_file
from gms_hookd.gms.remote_url import remote_url
from gms_hookd.web.task_import import import_tasks
from tests.support.process import SECRET, ask
from tests.support.repositories import ENVIRON, Repo

HERE = Path(__file__).parent
HIDDEN = "Y2lwaGVydGV4dA"
GITHUB = "https://github.com/acme/app.git"
INNER = "git@git.example.org:mirror/app.git"


class Gms:
    """A GMS machine: folders with remotes, and the database."""

    def __init__(self, folder, *steps):
        self.folder, self.file = folder, folder / "gms" / "git_sync.db"
        self.file.parent.mkdir(parents=True)
        self.source, self.target = Repo(folder / "from.git"), Repo(folder / "to.git")
        self.tip = self.source.commit("main", "dev")
        self.repos, self.serial = {}, 0
        self.sql("".join((HERE / f"schema-{step}.sql").read_text() for step in steps))

    def sql(self, text):
        with closing(sqlite3.connect(self.file)) as db:
            db.executescript(text)

    def insert(self, table, **values):
        names = ",".join(f"`{name}`" for name in values)
        places = ",".join("?" * len(values))
        with closing(sqlite3.connect(self.file)) as db:
            query = f"INSERT INTO {table}({names}) VALUES({places})"
            db.execute(query, tuple(values.values()))
            db.commit()

    def repo(self, name, *, remotes=None, **more):
        """Add a work tree with remotes, and its row."""
        path = self.folder / "work" / name
        git = lambda *words: subprocess.run(("git", *words), check=True, env=ENVIRON)  # noqa: E731
        git("init", "-q", "--template=", str(path))
        for remote, url in (remotes or {}).items():
            git("-C", str(path), "remote", "add", remote, str(url))
        values = {"key": f"k-{name}", "name": name, "path": str(path)}
        values |= {"remote_url": "", "auth_type": "none", "auth_secret": HIDDEN} | more
        self.insert("repos", **values)
        self.repos[name] = values
        return path

    def task(self, source="app", target="app", **more):
        """Add a task: by default from the remote origin to the remote inner."""
        self.serial += 1
        values = {
            "key": f"00000000-0000-4000-8000-{self.serial:012}",
            "source_repo_key": f"k-{source}", "source_remote": "origin",
            "source_branch": "main",
            "target_repo_key": f"k-{target}", "target_remote": "inner",
            "target_branch": "main",
            "push_options": "", "cron": "", "enabled": 1,
        }  # fmt: skip
        self.insert("sync_tasks", **values | more)
        return self.serial


def of_every_kind(folder):
    """Make 40 tasks; returns the machine, and what each is to become or why not."""
    gms = Gms(folder, "2026-01", "0.7")
    app = gms.repo(
        "app",
        remotes={"origin": GITHUB, "inner": INNER, "copy": gms.target},
        auth_type="http",
        auth_key="robot",
        remote_auths_json=json.dumps(
            {"inner": {"type": "ssh", "key": "/keys/inner", "secret": HIDDEN}}
        ),
    )
    gms.repo("disk", remotes={"origin": gms.source, "inner": gms.target})
    gms.repo("bare", remotes={}, remote_url="https://gitlab.com/acme/bare.git")
    gms.repo("目录", remotes={"origin": "https://gitee.com/acme/lib.git"})
    gms.repo("77", remotes={"origin": "https://gitee.com/acme/77.git"})
    bad = {"pw": "https://u:s3cr3t@h.example/x.git", "plain": "http://h/x.git",
           "ext": "ext::sh -c id", "same": f"{GITHUB[:-4]}.git"}  # fmt: skip
    gms.repo("bad", remotes=bad)
    gms.repo("gone", remotes={"origin": GITHUB})
    shutil.rmtree(folder / "work" / "gone")
    gms.repo("deleted", deleted_at="2026-01-01 00:00:00")
    good, skipped = {}, {}

    def becomes(number, **fields):
        good[number] = {"source": GITHUB, "target": INNER} | fields

    one = ["refs/heads/main:refs/heads/main"]
    becomes(gms.task(), refspecs=one, name="app-main", enabled=True, cron=None)
    becomes(
        gms.task(name="nightly", cron="0 2 * * *"), name="nightly", cron="0 2 * * *"
    )
    becomes(gms.task(enabled=0), enabled=False, name="app-main-3")
    becomes(gms.task(target_branch="release"),
            refspecs=["refs/heads/main:refs/heads/release"])  # fmt: skip
    becomes(gms.task(target_branch=""), refspecs=one)
    becomes(gms.task(source_remote=""))
    becomes(gms.task(source_remote=None, cron=None, push_options=None))
    becomes(gms.task(sync_mode="all-branch"), refspecs=["refs/heads/*"], name="app")
    becomes(gms.task(sync_mode="all-branch", git_tags=1, git_prune=1), prune=True,
            refspecs=["refs/heads/*", "refs/tags/*"])  # fmt: skip
    becomes(gms.task(git_tags=1), refspecs=[*one, "refs/tags/*"])
    becomes(gms.task(push_options="--force"), force=False)
    becomes(gms.task(git_force=1), force=False)
    becomes(gms.task(push_options="--prune --no-verify"), prune=True)
    becomes(gms.task(push_options="--push-option=ci.skip -o a=b"),
            push_options=["--push-option=ci.skip", "--push-option=a=b"])  # fmt: skip
    becomes(gms.task(cron="@every 90m"), cron="@every 90m")
    becomes(gms.task(cron="CRON_TZ=Asia/Shanghai 0\t9 * * 1-5"),
            cron="CRON_TZ=Asia/Shanghai 0 9 * * 1-5")  # fmt: skip
    becomes(gms.task(cron="0 0 2 * * *"), cron=None)
    becomes(gms.task("disk", "disk"), source=str(gms.source), target=str(gms.target))
    becomes(gms.task("app", "disk"), target=str(gms.target))
    becomes(gms.task("app", "bare"))  # that has no such remote: the source's
    becomes(gms.task("bare", "app"), source="https://gitlab.com/acme/bare.git")
    becomes(gms.task("app", "bare", target_remote="origin"),
            target="https://gitlab.com/acme/bare.git")  # fmt: skip
    becomes(gms.task(source_remote="local"), source=str(app))
    becomes(gms.task("目录", "app", source_branch="主干", target_branch="主干"),
            refspecs=["refs/heads/主干:refs/heads/主干"], name="目录-主干",
            source="https://gitee.com/acme/lib.git")  # fmt: skip
    becomes(gms.task("77", "app", sync_mode="all-branch"), name="task-77",
            source="https://gitee.com/acme/77.git")  # fmt: skip
    becomes(gms.task(name="a b/c: d"), name="a-b-c-d")
    becomes(gms.task(name="app-main"), name="app-main-27")
    becomes(gms.task("app", "gone"))  # the source's folder has the remote

    def is_skipped(reason, number):
        skipped[number] = reason

    is_skipped("no repository 'k-none'", gms.task("none"))
    is_skipped("no repository 'k-deleted'", gms.task("app", "deleted"))
    is_skipped("is not on this machine", gms.task("gone"))
    is_skipped("has no remote 'nowhere'", gms.task(target_remote="nowhere"))
    is_skipped("is the source itself", gms.task(target_remote="origin"))
    is_skipped("no user or password", gms.task("app", "bad", target_remote="pw"))
    is_skipped("allow_protocols", gms.task("app", "bad", target_remote="plain"))
    is_skipped("not a git URL", gms.task("app", "bad", target_remote="ext"))
    is_skipped("is the source itself", gms.task("app", "bad", target_remote="same"))
    is_skipped("names no branch", gms.task(source_branch=""))
    is_skipped("'--mirror'", gms.task(push_options="--mirror"))
    is_skipped("is no branch", gms.task(source_branch="feature/*"))
    assert gms.serial == 40
    gms.task(deleted_at="2026-01-01 00:00:00")
    return gms, good, skipped


@pytest.fixture
def command(daemon, capsys):
    """Carry out a command on the daemon's state; return (status, stdout, stderr)."""

    def carry_out(*words):
        where = ["--config", str(daemon.config), "--state", str(daemon.state)]
        status = main.main([*map(str, words), *where])
        return status, *capsys.readouterr()

    return carry_out


def line_of(out, number):
    (line,) = [line for line in out.splitlines() if line.startswith(f"task {number}: ")]
    return line


def test_forty_tasks_of_every_kind_move_in(daemon, command, tmp_path):
    gms, good, skipped = of_every_kind(tmp_path / "m")
    before = gms.file.read_bytes()
    daemon.start()
    dry = command("import", "gms", gms.file, "--dry-run")
    assert dry[0] == 1
    assert "28 would be imported, 0 here already, 12 skipped" in dry[1]
    assert daemon.api("GET", "tasks") == []

    status, out, err = command("import", "gms", gms.file)
    assert (status, err.count("\n")) == (1, 1)
    assert "12 tasks were skipped" in err
    assert "28 imported, 0 here already, 12 skipped" in out
    assert out == dry[1].replace("would be imported", "imported")
    for number, reason in skipped.items():
        assert "skipped: " in line_of(out, number)
        assert reason in line_of(out, number)
    tasks = {task["id"]: task for task in daemon.api("GET", "tasks")}
    assert tasks.keys() == good.keys()
    for number, fields in good.items():
        found = {name: tasks[number].get(name) for name in fields}
        assert found == fields, number
        assert tasks[number]["key"] == f"00000000-0000-4000-8000-{number:012}"
        assert not tasks[number]["force"]
    for number in (11, 12):
        assert "--force never got past" in line_of(out, number)
    assert "no schedule: '0 0 2 * * *' is none" in line_of(out, 17)
    assert HIDDEN not in out + dry[1]
    assert "s3cr3t" not in out + err

    again = command("import", "gms", gms.file)
    assert "0 imported, 28 here already, 12 skipped" in again[1]
    after = {task["id"]: task for task in daemon.api("GET", "tasks")}
    assert after == tasks
    assert gms.file.read_bytes() == before
    assert [path.name for path in gms.file.parent.iterdir()] == ["git_sync.db"]
    published_clients_work(daemon, gms)


def published_clients_work(daemon, gms):
    """Sign as docs/webhook.md of GMS does, with the id of a task from path to path."""
    body = json.dumps({"task_id": 18}).encode("utf-8")
    key = SECRET.encode()
    signature = "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Hub-Signature-256": signature}
    path = "/api/webhooks/task-sync?wait=30"
    status, _, answer = ask(daemon.socket, "POST", path, body, headers)
    assert status == 200, answer
    assert answer["task_id"] == 18
    assert answer["run"]["status"] == "success"
    assert gms.target.tip() == gms.source.tip()
    body = b'{"task_key":"00000000-0000-4000-8000-000000000018"}'
    mac = hmac.new(key, body, hashlib.sha256).hexdigest()
    headers["X-Hub-Signature-256"] = "sha256=" + mac
    assert ask(daemon.socket, "POST", path, body, headers)[0] == 200


def test_the_tables_to_fill_in_are_printed_and_can_be_read(command, tmp_path):
    gms = Gms(tmp_path / "m", "2026-01")
    auths = {"inner": {"type": "ssh", "key": "/keys/inner", "secret": HIDDEN}}
    remotes = {"origin": GITHUB, "inner": INNER}
    login = {"auth_type": "http", "auth_key": "robot"}
    gms.repo("app", remotes=remotes, remote_auths_json=json.dumps(auths), **login)
    gms.task()
    out = command("import", "gms", gms.file, "--dry-run")[1]
    text = out[out.index("[credentials") :]
    assert tomllib.loads(text)["credentials"] == {
        "https://github.com/": {
            "username": "robot",
            "password_file": "/etc/gms-hookd/github.com-password",
        },
        "ssh://git@git.example.org/": {"ssh_key_file": "/keys/inner"},
    }
    for name in ("password", "key"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o600)
    text = text.replace("/etc/gms-hookd/github.com-password", f"{tmp_path}/password")
    text = text.replace("/keys/inner", f"{tmp_path}/key")
    config = tmp_path / "config.toml"
    config.write_text(f'[webhook]\nsecret = "{SECRET}"\n{text}')
    config.chmod(0o600)
    read = load_config({}, file=str(config), state=tmp_path)
    assert len(read.credentials) == 2


def test_users_that_differ_on_a_host_get_a_table_a_repository(command, tmp_path):
    gms = Gms(tmp_path / "m", "2026-01")
    for user in ("ann", "bob"):
        remotes = {"origin": f"https://h.example:8443/{user}.git", "inner": gms.target}
        gms.repo(user, remotes=remotes, auth_type="http", auth_key=user)
        gms.task(user, user)
    out = command("import", "gms", gms.file)[1]
    found = tomllib.loads(out[out.index("[credentials") :])["credentials"]
    assert {url: table["username"] for url, table in found.items()} == {
        f"https://h.example:8443/{user}.git": user for user in ("ann", "bob")
    }


def test_ids_are_new_where_other_tasks_are_and_said_in_pairs(command, tmp_path):
    gms = Gms(tmp_path / "m", "2026-01")
    gms.repo("app", remotes={"origin": GITHUB, "inner": INNER})
    for branch in ("main", "dev"):
        gms.task(source_branch=branch)
    command("task", "add", "own", "--source", GITHUB, "--target", gms.target)
    command("task", "add", "app-dev", "--source", GITHUB, "--target", gms.target)
    dry = command("import", "gms", gms.file, "--dry-run")[1]
    assert "would be imported as a new id app-main:" in line_of(dry, 1)
    status, out, _ = command("import", "gms", gms.file)
    assert status == 0
    assert out.splitlines()[2:5] == [
        "ids that are others here (GMS -> here):", "1 -> 3", "2 -> 4",
    ]  # fmt: skip
    assert "imported as 4 app-dev-2:" in line_of(out, 2)


def test_what_was_skipped_first_keeps_its_id_later(command, tmp_path):
    gms = Gms(tmp_path / "m", "2026-01")
    gms.repo("app", remotes={"origin": GITHUB})
    gms.task()
    gms.task(target_remote="origin", target_repo_key="k-app", source_remote="local")
    out = command("import", "gms", gms.file)[1]
    assert "has no remote 'inner'" in line_of(out, 1)
    subprocess.run(
        ("git", "-C", gms.repos["app"]["path"], "remote", "add", "inner", INNER),
        check=True,
        env=ENVIRON,
    )
    out = command("import", "gms", gms.file)[1]
    assert "imported as 1 app-main-1:" in line_of(out, 1)
    assert "is here already: 2" in line_of(out, 2)


def test_a_database_that_gms_has_open_is_read_with_its_wal(command, tmp_path):
    gms = Gms(tmp_path / "m", "2026-01")
    gms.repo("app", remotes={"origin": GITHUB, "inner": INNER})
    with closing(sqlite3.connect(gms.file)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        gms.task()
        names = {path.name for path in gms.file.parent.iterdir()}
        assert "imported as 1 app-main" in command("import", "gms", gms.file)[1]
        assert {path.name for path in gms.file.parent.iterdir()} == names


def answer(*items, **more):
    return json.dumps({"code": 0, "msg": "success", "data": list(items), **more})


TASK = {
    "source_repo_key": "r", "source_remote": "", "source_branch": "main",
    "target_repo_key": "r", "target_remote": "inner", "target_branch": "main",
    "push_options": "--force", "cron": "0 2 * * *", "enabled": True,
}  # fmt: skip


def test_json_of_a_running_gms_is_taken_with_its_repositories(
    command, tmp_path, monkeypatch
):
    gms = Gms(tmp_path / "m", "2026-01")
    path = gms.repo("app", remotes={"origin": GITHUB, "inner": INNER})
    repo = {"key": "r", "name": "app", "path": str(path), "auth_secret": HIDDEN}
    older = answer(
        {"ID": 7, "DeletedAt": None, "key": "u", **TASK, "source_repo": repo}
    )
    (tmp_path / "older.json").write_text(older)
    out = command("import", "gms", tmp_path / "older.json")[1]
    assert "imported as 7 app-main:" in line_of(out, 7)
    assert HIDDEN not in out
    newer = answer({"id": 9, "key": "v", "name": "nine", **TASK})
    listed = json.dumps({"code": 0, "data": {"total": 1, "items": [repo]}})
    stdin = tmp_path / "both.json"
    stdin.write_text(newer + "\n" + listed)
    with stdin.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        out = command("import", "gms", "-")[1]
    assert "imported as 8 nine:" in line_of(out, 9)
    for name, text in (("a", newer), ("b", listed)):
        (tmp_path / name).write_text(text)
    out = command("import", "gms", tmp_path / "a", tmp_path / "b")[1]
    assert "is here already: 8 nine" in line_of(out, 9)


def test_the_oldest_version_names_repositories_by_their_ids():
    task = {"id": 3, "source_repo_id": 1, "target_repo_id": 2, "source_branch": "main"}
    repos = [{"id": 1, "name": "a", "path": "/a"}, {"id": 2, "name": "b", "path": "/b"}]
    found = read_documents(answer(task, *repos).encode())
    ends = (found.tasks[0].source, found.tasks[0].target)
    assert [found.repository(end).name for end in ends] == ["a", "b"]
    nameless = read_documents(answer({"source_repo_key": ""}, {"path": "/a"}).encode())
    assert nameless.repository(nameless.tasks[0].source) is None


def test_a_key_that_stands_twice_has_no_id_before_it_is_here(command, tmp_path):
    repo = {"key": "r", "remote_url": GITHUB}
    other = {"key": "q", "remote_url": INNER}
    one = {**TASK, "target_repo_key": "q", "target_remote": "", "key": "u"}
    (tmp_path / "file").write_text(answer(one, one, repo, other))
    out = command("import", "gms", tmp_path / "file", "--dry-run")[1]
    assert "is here already: a new id" in out


def test_a_name_that_several_have_gets_a_number(context):
    ends = {"name": "n", "source": "https://h.org/a", "target": "https://h.org/b"}
    given = [{"key": str(n), **ends, **({"id": 9} if n > 2 else {})} for n in range(5)]
    told = import_tasks(context, {"tasks": given}).result()
    assert [each["name"] for each in told] == ["n", "n-2", "n-3", "n-9", "n-9-2"]


def test_a_key_that_is_no_text_is_skipped(context):
    told = import_tasks(context, {"tasks": [{"key": ["u"]}, {"key": {}}]}).result()
    assert {each["reason"] for each in told} == {"key: a string is needed"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "there is no list of tasks"),
        (b"SQLite format 3\0broken", "cannot be read as a database"),
        (b"{", "neither a sqlite3 file nor JSON"),
        (b"\xff\xfe", "neither a sqlite3 file nor JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"code":401,"msg":"unauthorized"}', "there is no list of tasks"),
        (b"null 1 []", "there is no list of tasks"),
    ],
)
def test_what_is_not_gms_is_one_line(command, tmp_path, content, problem):
    (tmp_path / "file").write_bytes(content)
    status, out, err = command("import", "gms", tmp_path / "file")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert problem in err


def test_another_database_and_a_missing_file_are_one_line(command, tmp_path):
    with closing(sqlite3.connect(tmp_path / "other.db")) as db:
        db.execute("CREATE TABLE x(id)")
    assert (
        "has no table sync_tasks" in command("import", "gms", tmp_path / "other.db")[2]
    )
    assert command("import", "gms", tmp_path / "none.db")[0] == 1
    (tmp_path / "other.db-journal").write_bytes(b"x")
    err = command("import", "gms", tmp_path / "other.db")[2]
    assert "it has a -journal: try again, or after a crash start" in err


def test_a_hostile_row_is_skipped_or_harmless(command, tmp_path):
    gms = Gms(tmp_path / "m", "2026-01")
    touched = tmp_path / "touched"
    gms.repo("app", remotes={"origin": GITHUB, "inner": INNER})
    gms.task(source_remote=f"x;touch {touched}")
    gms.task(source_remote="--output=x")
    gms.task(source_branch="a\x1b[31m", target_branch="--exec=x")
    gms.insert("repos", key="k-dash", name="dash", path="-c core.pager=x")
    gms.task("dash")
    gms.insert("repos", key="k-nul", name="nul", path="a\0b")
    gms.task("nul")
    status, out, _ = command("import", "gms", gms.file)
    assert status == 1
    assert "0 imported, 0 here already, 5 skipped" in out
    assert "\x1b" not in out
    assert not touched.exists()


def test_a_remote_is_read_in_any_kind_of_repository(tmp_path):
    bare = Repo(tmp_path / "bare.git")
    bare.git("config", "remote.origin.url", GITHUB)
    bare.commit()
    bare.git("worktree", "add", "-q", str(tmp_path / "tree"), "main")
    (tmp_path / "included").write_text('[remote "more"]\nurl = x\n')
    bare.git("config", "include.path", str(tmp_path / "included"))
    for place in (bare.path, tmp_path / "tree"):
        assert remote_url(place, "origin", ENVIRON) == GITHUB
        assert remote_url(place, "more", ENVIRON) == ""
        assert remote_url(place, "a\nb", ENVIRON) == ""
    assert remote_url(tmp_path, "origin", ENVIRON) == ""


def test_no_secret_is_even_read(tmp_path):
    gms = Gms(tmp_path / "m", "2026-01", "0.7")
    gms.repo("app", remote_auths_json=json.dumps({"o": {"secret": HIDDEN}}))
    gms.task(webhook_token=HIDDEN)
    assert HIDDEN not in repr(read_file(gms.file))
