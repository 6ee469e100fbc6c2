"""Paste the recipes of the manual's page about deploying, then push, on a machine.

`run deploying.py` runs it. A work tree and a folder follow, a service is restarted.
"""

import subprocess
import sys
from pathlib import Path

import paste
import stage

PAGE = stage.TOP / "gms_hookd/manual/deploying.md"
UNIT = Path("/etc/systemd/system/site.service")
SITE, WWW = Path("/srv/site/page"), Path("/srv/www/page")
INSTALL = "python3 -m gms_hookd.pyz && sudo ./gms-hookd.pyz install"


def push(text):
    """Commit a file on top of main at github.com/you/app."""
    git = f"git -C {stage.SOURCE}"
    blob = stage.sh(f"echo {text} | {git} hash-object -w --stdin")
    tree = stage.sh(f"printf '100644 blob {blob}\\tpage\\n' | {git} mktree")
    who = "-c user.name=you -c user.email=you@example.org"
    new = stage.sh(f"git {who} -C {stage.SOURCE} commit-tree -p main {tree} -m {text}")
    stage.sh(f"{git} update-ref refs/heads/main {new}")


def holds(page, text):
    return f"grep -qx {text} {page}"


def invocation():
    """Name the start of the service: another one has another name."""
    return stage.sh("systemctl show -P InvocationID site.service")


def restarted(text):
    """Push, and wait until the service has been started anew with what was pushed."""
    before = invocation()
    push(text)
    stage.sh("gms-hookd task sync site")
    stage.wait_for(holds(SITE, text))
    shown = "systemctl show -P InvocationID site.service"
    stage.wait_for(f'[ "$({shown})" != {before} ] && systemctl is-active site.service')
    print(f"{text}: in {SITE}, and site.service was restarted")


def refused():
    """Change a file there by hand: it stays, and the run says why."""
    stage.sh(f"echo mine >{SITE}")
    push("unwanted")
    done = subprocess.run(
        ("gms-hookd", "task", "sync", "site"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done
    assert "Working directory has unstaged changes" in done.stderr, done
    stage.wait_for(holds(SITE, "mine"))
    print("what was changed by hand has stayed")


def main():
    stage.set_up()
    push("one")
    UNIT.write_text("[Service]\nExecStart=/usr/bin/sleep infinity\n")
    stage.sh("systemctl daemon-reload && systemctl start site.service")
    blocks = [("installation", INSTALL), *paste.blocks(PAGE)]
    failed = [where for where, block in blocks if paste.paste(where, block)]
    if failed:
        return f"failed: {', '.join(failed)}"
    stage.wait_for(holds(SITE, "one"))
    stage.wait_for(holds(WWW, "one"))
    for text in ("two", "three"):
        restarted(text)
    stage.sh("gms-hookd task sync www")
    stage.wait_for(holds(WWW, "three"))
    print(f"three: in {WWW}")
    refused()
    return 0


if __name__ == "__main__":
    sys.exit(main())
