"""From an older build with a transient user to this one, back, and away again.

The older build lies beside these sources, in `old`. Nothing that it knew may be lost,
and at the end nothing of us may be left.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import stage

OLD = stage.TOP.parent / "old"
STAMP = Path("/root/stamp")
STATE = Path("/var/lib/gms-hookd")
SECRET = STATE / "webhook-secret"
INSTALL_OLD = f"""
cd {OLD}
python3 -m gms_hookd.pyz >/dev/null
install -m 755 gms-hookd.pyz /usr/local/bin/gms-hookd
install -m 644 gms-hookd.service /etc/systemd/system/
install -d /etc/systemd/system/gms-hookd.service.d
printf '[Service]\\nReadWritePaths=/srv/mirror\\nUMask=0022\\n' \
    >/etc/systemd/system/gms-hookd.service.d/targets.conf
install -d -m 1777 /srv/mirror
systemctl daemon-reload
systemctl enable -q --now gms-hookd
"""
USE_OLD = f"""
git init -q --bare /srv/mirror/app.git
chmod -R a+rwX /srv/mirror/app.git
chown -R "$(stat -c %u /var/lib/private/gms-hookd)" /srv/mirror/app.git
for n in $(seq 20); do
    gms-hookd task add "task-$n" --source https://github.com/you/app.git \
        --target "/srv/mirror/$n.git" --disabled >/dev/null
done
gms-hookd task add app --source https://github.com/you/app.git \
    --target /srv/mirror/app.git --branch main:release
secret=$(cat {SECRET})
body='{{"task_id": 21}}'
signature=sha256=$(printf %s "$body" | openssl dgst -sha256 -hmac "$secret" |
    sed 's/^.* //')
curl -fsS -d "$body" -H 'Content-Type: application/json' \
    -H "X-Hub-Signature-256: $signature" \
    'http://127.0.0.1:38080/api/webhooks/task-sync?wait=60' | cut -c1-200
"""
NEW = (
    f"cd {stage.TOP} && python3 -m gms_hookd.pyz >/dev/null && ./gms-hookd.pyz install"
)
BROKEN = f"""
rm -rf /root/broken && cp -r {stage.TOP} /root/broken && cd /root/broken
echo 'raise SystemExit("this build does not start")' >>gms_hookd/service/daemon.py
python3 -m gms_hookd.pyz >/dev/null && ./gms-hookd.pyz install
"""
BACK = """
systemctl stop gms-hookd
install -m 755 /usr/local/bin/gms-hookd.previous /usr/local/bin/gms-hookd
cp -a /var/lib/gms-hookd.previous/gms-hookd.service /etc/systemd/system/
rm -f /var/lib/gms-hookd/gms-hookd.db*
cp -a /var/lib/gms-hookd.previous/gms-hookd.db* /var/lib/gms-hookd/
systemctl daemon-reload && systemctl start gms-hookd
"""


ASKING = """
while :; do
    curl -s -m 1 -o /dev/null http://127.0.0.1:38080/ && echo 1 || echo 0
    date +%s.%N
    sleep 0.05
done
"""


def run(title, command, wanted=0):
    """Run a command of the shell, show what it says last; exit if it goes wrong."""
    begin = time.monotonic()
    done = subprocess.run(
        ("bash", "-ec", command), text=True, check=False, cwd="/",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    took = time.monotonic() - begin
    print(f"\n=== {title}: exit status {done.returncode}, {took:.1f} s")
    print("\n".join(done.stdout.strip().splitlines()[-6:]), flush=True)
    if done.returncode != wanted:
        sys.exit(f"{title}: not as it should be")


def listed(words):
    said = subprocess.check_output(("gms-hookd", *words, "--json"), text=True, cwd="/")
    return json.loads(said)


def known():
    """Return all that must not be lost."""
    keys = ("id", "key", "name", "source", "target", "refspecs", "enabled")
    return {
        "tasks": [[t[key] for key in keys] for t in listed(["task", "list"])],
        "runs": [(r["id"], r["task_id"], r["status"], r["commit_range"])
                 for r in listed(["run", "list"])],
        "deliveries": [(d["id"], d["status"]) for d in listed(["delivery", "list"])],
        "secret": SECRET.read_text(),
    }  # fmt: skip


def same(before, what):
    """Compare with what was known; say who runs the service now."""
    now = known()
    for name, value in before.items():
        if now[name] != value:
            sys.exit(f"{what}: {name} were {value}, are {now[name]}")
    shown = "systemctl show -p MainPID -p User -p DynamicUser gms-hookd"
    print(f"nothing lost: {len(now['tasks'])} tasks, {len(now['runs'])} runs,"
          f" {len(now['deliveries'])} deliveries, the secret")  # fmt: skip
    print(stage.sh(f"{shown}; ls -ld {STATE} /var/lib/private/gms-hookd 2>&1 || true"))


def outage(command):
    """Return for how long nobody answered on the hook's port while a command ran."""
    watch = subprocess.Popen(("bash", "-c", ASKING), stdout=subprocess.PIPE, text=True)
    run("the upgrade", command)
    time.sleep(1)
    watch.terminate()
    lines = watch.communicate()[0].split()
    down = [float(at) for up, at in zip(lines[::2], lines[1::2], strict=False)
            if up == "0"]  # fmt: skip
    return max(down) - min(down) if down else 0.0


def left():
    """Name what is newer than the stamp and has to do with us."""
    found = stage.sh(
        f"find / -xdev -newer {STAMP} -not -path '/proc/*' -not -path '/sys/*'"
        " -not -path '/run/*' -not -path '/var/log/*' -not -path '/home/admin/*'"
        " -not -path '/root/*' -not -path '/tmp' -not -type d | sort"
    )
    return found.splitlines()


def main():
    stage.set_up()
    stage.sh(f"sleep 1; touch {STAMP}; sleep 1")
    run("the old build, by its README", INSTALL_OLD)
    stage.wait_for("gms-hookd task list >/dev/null")
    run("tasks, a run and a delivery", USE_OLD)
    before = known()
    same(before, "before")
    run("a new build that does not start", BROKEN, wanted=1)
    stage.wait_for("gms-hookd task list >/dev/null")
    same(before, "after the way back by itself")
    down = outage(NEW)
    print(f"nobody answered for {down:.1f} s")
    same(before, "after the upgrade")
    run("back by hand", BACK)
    stage.wait_for("gms-hookd task list >/dev/null")
    same(before, "after the way back by hand")
    run("another user in between", "useradd --system another")
    run("and up again", NEW)
    same(before, "after the second upgrade")
    run("what the transient user wrote, given to the new one",
        "chown -R gms-hookd: /srv/mirror")  # fmt: skip
    stage.commit(stage.SOURCE, "main", "after the upgrade")
    run("a sync", "gms-hookd task sync app")
    run("check", "gms-hookd check | grep -v ^ok || true")
    run("exposure", "systemd-analyze security gms-hookd.service | tail -n 1")
    run("uninstall --purge", "gms-hookd uninstall --purge")
    print("\n=== newer than before, but for the hosts:")
    print("\n".join(left()))


if __name__ == "__main__":
    main()
