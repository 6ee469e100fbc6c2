"""Break one thing after the other; `check` must find it, and its remedy mend it.

Each fault is looked at three times: by root and by the service's user while the daemon
runs, and once it is stopped. Then the remedy is pasted as root. Where it tells a person
what to do, that is done first as the table has it (`by hand`).
"""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import stage

ETC, STATE = Path("/etc/gms-hookd"), Path("/var/lib/gms-hookd")
KEY = STATE / "home/.ssh/id_ed25519"
DROP_INS = "/etc/systemd/system/gms-hookd.service.d"
LIB = "/srv/mirror/lib.git"
CERTIFICATE = (
    "openssl req -x509 -days {days} -newkey ec -nodes"
    " -pkeyopt ec_paramgen_curve:prime256v1"
    f" -subj /CN=hooks.example.org -keyout {ETC}/key.pem -out {ETC}/cert.pem"
    " -addext subjectAltName=DNS:hooks.example.org 2>/dev/null"
    f" && chgrp gms-hookd {ETC}/key.pem && chmod 640 {ETC}/key.pem"
)
BUILD = f"""
cd {stage.TOP}
python3 -m gms_hookd.pyz
./gms-hookd.pyz install >/dev/null
"""
WELL = f"""
install -d -o gms-hookd -g gms-hookd /srv/mirror
mkdir -p {DROP_INS}
printf '[Service]\\nReadWritePaths=-/srv/mirror\\nUMask=0022\\n' \
    >{DROP_INS}/targets.conf
{CERTIFICATE.format(days=365)}
gms-hookd hook secret github | install -m 640 -g gms-hookd /dev/stdin {ETC}/github
cat >>{ETC}/config.toml <<'END'
[server]
listen = ["0.0.0.0:38443"]
tls_cert = "{ETC}/cert.pem"
tls_key = "{ETC}/key.pem"
public_url = "https://hooks.example.org:38443"

[hooks.github]
secret_file = "{ETC}/github"
END
systemctl daemon-reload
systemctl restart gms-hookd
ssh-keygen -q -t ed25519 -N '' -f {KEY}
chown gms-hookd: {KEY}
ssh-keyscan git.example.org >>{STATE}/home/.ssh/known_hosts 2>/dev/null
git init -q --bare {LIB}
chown -R gms-hookd: {LIB}
gms-hookd task add app --source https://github.com/you/app.git \
    --target git@git.example.org:mirror/app.git --branch main:release
gms-hookd task add lib --source git@git.example.org:team/lib.git --target {LIB}
gms-hookd task sync app >/dev/null
gms-hookd task sync lib >/dev/null
gms-hookd hook test github
gms-hookd backup /var/backups/gms-hookd.db
"""


@dataclass(frozen=True)
class Fault:
    """What is broken, how, what `check` says of it, and what only a person can do.

    `stopped` tells whether it can be seen without a daemon; `after` is done at the end.
    """

    name: str
    inject: str
    found: str
    by_hand: str = ""
    after: str = ""
    stopped: bool = True


SAVED = "/root/saved"
FAULTS = (
    Fault("the daemon does not run",
          "systemctl stop gms-hookd", r"daemon: not running", stopped=False),
    Fault("the daemon hangs",
          "kill -STOP $(systemctl show -P MainPID gms-hookd)",
          r"daemon: .*does not answer for 5 s", stopped=False),
    Fault("a secret that only root can read",
          f"chown root: {ETC}/github && chmod 600 {ETC}/github",
          r"configuration: hooks.github.secret_file: .*may not read it"),
    Fault("a secret that all can read", f"chmod 644 {ETC}/github",
          r"configuration: hooks.github.secret_file: .*is open to others"),
    Fault("a secret that another setting overrules",
          f"printf '[Service]\\nEnvironment=WEBHOOK_SECRET=long-enough-for-us\\n'"
          f" >{DROP_INS}/secret.conf; printf '\\n[webhook]\\nsecret_file ="
          f' "{ETC}/github"\\n\' >>{ETC}/config.toml; systemctl daemon-reload;'
          " systemctl restart gms-hookd",
          r"configuration: .*WEBHOOK_SECRET", stopped=False,
          by_hand=f"rm {DROP_INS}/secret.conf; systemctl daemon-reload",
          after=f"sed -i '/^.webhook/,$d' {ETC}/config.toml;"
          " systemctl restart gms-hookd"),
    Fault("an ssh key that only root can read",
          f"chown root: {KEY}", r"task 1 target: .*id_ed25519.* may not read it"),
    Fault("no ssh key", f"mv {KEY} {SAVED}", r"task 1 target: no key at"),
    Fault("no host key", f"rm {STATE}/home/.ssh/known_hosts",
          r"task 1 target: no host key at"),
    Fault("a host with another host key",
          "rm /etc/ssh/ssh_host_*; ssh-keygen -A >/dev/null; pkill -x sshd;"
          " systemctl restart ssh",
          r"task 1 target: .*IDENTIFICATION HAS CHANGED"),
    Fault("a host whose authority nobody knows",
          "rm /usr/local/share/ca-certificates/authority.crt;"
          " update-ca-certificates --fresh >/dev/null 2>&1",
          r"task 1 source: .*certificate",
          by_hand=f"cp {stage.FOLDER}/ca.pem {ETC}/ca.pem; printf"
          " '\\n[credentials.\"https://github.com\"]\\nca_file ="
          f' "{ETC}/ca.pem"\\n\' >>{ETC}/config.toml; systemctl reload gms-hookd'),
    Fault("a host that does not answer", "systemctl stop github",
          r"task 1 source: .*(refused|connect)",
          by_hand=f"systemd-run -q --unit=github python3 {stage.__file__} serve;"
          " sleep 2"),
    Fault("a key that is not the certificate's",
          f"openssl genpkey -algorithm ed25519 >{SAVED} 2>/dev/null;"
          f" cp -p {ETC}/key.pem /root/key.pem; cat {SAVED} >{ETC}/key.pem",
          r"tls: .*does not belong to the key",
          by_hand=f"cat /root/key.pem >{ETC}/key.pem"),
    Fault("a certificate that is none",
          f"cp {ETC}/cert.pem /root; echo junk >{ETC}/cert.pem", r"tls: .*cert\.pem",
          by_hand=f"cat /root/cert.pem >{ETC}/cert.pem"),
    Fault("a certificate that ends soon", CERTIFICATE.format(days=5),
          r"tls: .* ends on", by_hand=CERTIFICATE.format(days=90)),
    Fault("a local target that is not there", f"rm -r {LIB}",
          r"task 2 target: .*does not exist"),
    Fault("a local target of root's", f"chown -R root: {LIB}",
          r"task 2 target: .*may not write it"),
    Fault("another user's objects in a target",
          f"mkdir -p {LIB}/objects/ff && chmod 755 {LIB}/objects/ff",
          r"task 2 target: .*objects/ff belongs to root"),
    Fault("a target that the unit may not write",
          f"rm {DROP_INS}/targets.conf; systemctl daemon-reload;"
          " systemctl restart gms-hookd",
          r"task 2 target: .*read-only for the service"),
    Fault("a hook without a delivery",
          f"printf '\\n[hooks.gitea]\\nsecret = \"0d5f3a9a77aa4b5c\"\\n'"
          f" >>{ETC}/config.toml; systemctl reload gms-hookd",
          r"hook gitea: no delivery"),
    Fault("an old backup", f"touch -d '-30 days' {STATE}/last-backup",
          r"backup: .*30 days old"),
    Fault("little room",
          f"systemctl stop gms-hookd; mkdir -p {SAVED}.d; cp -a {STATE}/. {SAVED}.d;"
          f" mount -t tmpfs -o size=64m,mode=700 tmpfs {STATE};"
          f" chown gms-hookd: {STATE}; cp -a {SAVED}.d/. {STATE};"
          " systemctl start gms-hookd", r"disk: \d+ MiB free",
          by_hand=f"systemctl stop gms-hookd; umount {STATE};"
          " systemctl start gms-hookd"),
    Fault("a clock that was set back", f"touch -d '+1 hour' {STATE}/gms-hookd.db",
          r"clock: .*in the past",
          by_hand=f"systemctl stop gms-hookd; touch {STATE}/gms-hookd.db*",
          stopped=False),
    Fault("a git with known holes",
          "printf '#!/bin/sh\\ntest \"$1\" = --version || exec /usr/bin/git \"$@\"\\n"
          "echo git version 2.39.3\\n' >/usr/local/bin/git;"
          " chmod 755 /usr/local/bin/git", r"git: .*has known security holes",
          by_hand="rm /usr/local/bin/git"),
    Fault("a git that may not be executed", "chmod 644 /usr/bin/git",
          r"git: .*may not be executed"),
    Fault("a state directory that others can read", f"chmod 755 {STATE}",
          r"state: .*is open to others"),
    Fault("a setting that needs a restart",
          f"sed -i 's/:38443\"]/:38444\"]/' {ETC}/config.toml;"
          " systemctl reload gms-hookd", r"daemon: server.listen: changed",
          stopped=False),
    Fault("a configuration that is not in use yet",
          f"printf '\\n[retention]\\nruns = \"80d\"\\n' >>{ETC}/config.toml",
          r"configuration: .*has changed since", stopped=False),
    Fault("a broken configuration",
          f"sed -i 's/^runs = /rums = /' {ETC}/config.toml;"
          " systemctl reload gms-hookd 2>/dev/null || true",
          r"configuration: retention.rums: unknown",
          by_hand=f"sed -i 's/^rums = /runs = /' {ETC}/config.toml;"
          " systemctl reload gms-hookd"),
)  # fmt: skip


def check(*before):
    """Return the findings that are not ok, and the exit status."""
    done = subprocess.run(
        (*before, "gms-hookd", "check", "--json"),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False,
        cwd="/",
    )  # fmt: skip
    found = [each for each in json.loads(done.stdout) if each["level"] != "ok"]
    return found, done.returncode


def named(found, pattern):
    """Return the finding that the pattern is about."""
    for each in found:
        if re.match(pattern, f"{each['subject']}: {each['finding']}"):
            return each
    return None


def said(finding):
    """Return what a finding says, but for times."""
    text = finding and re.sub(r"\d+(?= ms)|[\d:]+(?= lies)", "#", finding["finding"])
    return finding and (finding["level"], finding["subject"], text)


def shell(command):
    return subprocess.run(
        ("bash", "-c", command), check=False, text=True, cwd="/",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
    )  # fmt: skip


def views(fault, first):
    """Return by whom the fault was not found as root found it."""
    other = []
    if fault.name != "the daemon hangs":
        found, _ = check("runuser", "-u", "gms-hookd", "--")
        if said(named(found, fault.found)) != said(first):
            other.append(f"the service: {named(found, fault.found) or found}")
    if fault.stopped:
        shell("systemctl stop gms-hookd")
        found, _ = check()
        if said(named(found, fault.found)) != said(first):
            other.append(f"stopped: {named(found, fault.found) or found}")
        shell("systemctl start gms-hookd")
    return other


def tried(fault):
    """Inject, look, paste the remedy, look again; return whether all went well."""
    print(f"\n=== {fault.name}", flush=True)
    shell(fault.inject)
    found, status = check()
    first = named(found, fault.found)
    if first is None:
        print(f"NOT FOUND (exit status {status}): {found}")
        shell(fault.by_hand)
        shell(fault.after)
        return False
    print(f"{first['level']} {first['subject']}: {first['finding']}")
    other = views(fault, first)
    who = "root, service and stopped" if fault.stopped else "root and service"
    print("\n".join(f"OTHERWISE {each}" for each in other) or f"{who} agree")
    if fault.by_hand:
        print(f"by hand: {fault.by_hand[:150]}")
        shell(fault.by_hand)
    print(f"-> {first['remedy']}")
    pasted = shell(first["remedy"] or "false")
    if not fault.by_hand and (pasted.returncode or not first["remedy"]):
        print(f"THE REMEDY FAILED: {pasted.stdout}")
        other.append("remedy")
    shell(fault.after)
    if not gone(fault):
        other.append("left")
    return not other


def gone(fault):
    shell("systemctl reset-failed gms-hookd; systemctl start gms-hookd")
    found, status = check()
    left = named(found, fault.found)
    print(f"STILL THERE: {left}" if left else f"gone (check ends with {status})")
    return left is None


def main():
    wanted = sys.argv[1:]
    stage.set_up()
    fresh = not STATE.exists()
    print(shell(f"set -e\n{BUILD}{WELL if fresh else ''}").stdout)
    found, status = check()
    print(f"before: check ends with {status}: {found}")
    chosen = [f for f in FAULTS if not wanted or any(w in f.name for w in wanted)]
    good = [fault.name for fault in chosen if tried(fault)]
    found, status = check()
    print(f"\nafter: check ends with {status}: {found}")
    print(f"{len(chosen)} faults, {len(good)} found and mended")
    for fault in chosen:
        print("ok  " if fault.name in good else "NOT ", fault.name)
    return 0 if len(good) == len(chosen) and not status else 1


if __name__ == "__main__":
    sys.exit(main())
