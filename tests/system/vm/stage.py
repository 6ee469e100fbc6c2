"""What the documents' examples name, on a machine without a network: hosts and names.

`github.com` serves over https, trusted by an authority of this machine's own;
`git.example.org` is sshd, which takes the key that the service has, as a forge does
when somebody has entered it there; `hooks.example.org` is this machine.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).parents[3]
sys.path.insert(0, str(TOP))

from tests.support.hosts import HttpHost  # noqa: E402

FOLDER = Path("/srv/hosts")
GITHUB = FOLDER / "github"
SOURCE = GITHUB / "you/app.git"
FORGE = Path("/home/git")
NAMES = "github.com git.example.org hooks.example.org"
KEY = "/var/lib/gms-hookd/home/.ssh/id_ed25519.pub"
SSHD = f"""\
AuthorizedKeysCommand /usr/bin/cat {KEY}
AuthorizedKeysCommandUser root
AcceptEnv GIT_PROTOCOL
"""
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def sh(command, **more):
    """Run a command of the shell; return what it prints. Raises if it fails."""
    done = subprocess.run(
        ("bash", "-ec", command), stdout=subprocess.PIPE, text=True, check=True, **more
    )
    return done.stdout.strip()


def commit(repository, branch, text):
    """Make a commit on top of a branch of a bare repository; return its id."""
    git = f"git -C {repository}"
    who = "-c user.name=you -c user.email=you@example.org"
    old = sh(f"{git} rev-parse -q --verify refs/heads/{branch} || true")
    parent = f"-p {old}" if old else ""
    tree = sh(f"{git} hash-object -t tree -w /dev/null")
    new = sh(f"git {who} -C {repository} commit-tree {tree} {parent} -m '{text}'")
    sh(f"{git} update-ref refs/heads/{branch} {new}")
    return new


def tip(repository, branch):
    """Return where a branch is; "" where there is none."""
    return sh(f"git -C {repository} rev-parse -q --verify refs/heads/{branch} || true")


def set_up():
    """Make the hosts, unless they are there."""
    if FOLDER.exists():
        return
    FOLDER.mkdir()
    sh("git config --system --add safe.directory '*'")
    # The first two as the installer of Debian writes them.
    sh(
        "printf '127.0.0.1 localhost\\n127.0.1.1 %s\\n127.0.0.1 %s\\n'"
        f' "$(hostname)" "{NAMES}" >>/etc/hosts'
    )
    _authority()
    _https()
    _ssh()


def _authority():
    """Make an authority that this machine trusts, and a certificate of github.com."""
    new_key = " ".join(NEW_KEY)
    sh(
        f"""cd {FOLDER}
        openssl req -x509 {new_key} -days 30 -subj '/CN=an authority' \
            -keyout ca.key -out ca.pem
        openssl req {new_key} -subj /CN=github.com -keyout host.key -out host.csr
        echo subjectAltName=DNS:github.com >extensions
        openssl x509 -req -in host.csr -CA ca.pem -CAkey ca.key -days 30 \
            -extfile extensions -out host.pem
        cp ca.pem /usr/local/share/ca-certificates/authority.crt
        update-ca-certificates""",
        stderr=subprocess.DEVNULL,
    )


def _https():
    SOURCE.parent.mkdir(parents=True)
    for each in (SOURCE, GITHUB / "team/web.git"):
        sh(f"git init -q --bare --initial-branch=main {each}")
        commit(each, "main", "the first commit")
    sh(
        "systemd-run -q --unit=github --setenv=PYTHONDONTWRITEBYTECODE=1"
        f" python3 {Path(__file__).absolute()} serve"
    )
    wait_for(
        "curl -fsS 2>/dev/null https://github.com/you/app.git/info/refs -o /dev/null"
    )


def _ssh():
    sh("useradd -m -s /usr/bin/git-shell git && usermod -p '*' git")
    for name in ("mirror/app.git", "mirror/web.git", "team/lib.git"):
        sh(f"runuser -u git -- git init -q --bare -b main {FORGE}/{name}")
    commit(FORGE / "team/lib.git", "main", "the first commit of the library")
    sh(f"chown -R git: {FORGE}")
    Path("/etc/ssh/sshd_config.d/forge.conf").write_text(SSHD)
    sh("systemctl restart ssh")
    wait_for("ssh-keyscan git.example.org 2>/dev/null | grep -q .")


def wait_for(command, seconds=30):
    """Wait until a command of the shell succeeds."""
    end = time.monotonic() + seconds
    while subprocess.run(("bash", "-c", command), check=False).returncode:
        if time.monotonic() > end:
            raise SystemExit(f"not within {seconds} s: {command}")
        time.sleep(0.2)


def serve():
    """Be github.com."""
    os.environ["HOME"] = "/root"
    HttpHost(GITHUB, (FOLDER / "host.pem", FOLDER / "host.key"), port=443)


if __name__ == "__main__":
    serve() if "serve" in sys.argv else set_up()
