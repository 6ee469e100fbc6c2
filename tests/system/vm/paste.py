"""Paste the command blocks of README and manual, in order, as an administrator would.

A block that begins with ```sh is pasted, into a fresh shell in the sources' folder, by
a user who may use sudo; it fails where one of its commands does. One that begins with
```sh and more words is not: it says who runs it. Everything else is to be read.
"""

import hmac
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import stage

MANUAL = stage.TOP / "gms_hookd/manual"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TOPIC = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
AS_ADMIN = ("runuser", "-u", "admin", "--", "env", "HOME=/home/admin")
HOOK = "https://hooks.example.org:38443/api/webhooks/github"
SECONDS = 100


def documents():
    """Name README and the manual's pages, in the order in which one reads them."""
    topics = TOPIC.findall((MANUAL / "index.md").read_text())
    return [stage.TOP / "README.md", *(MANUAL / f"{name}.md" for name in topics)]


def blocks(page):
    """Give the command blocks of a page: where each begins, and its text."""
    text = page.read_text()
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield f"{page.relative_to(stage.TOP)}:{line}", found[1]


def paste(where, block):
    """Paste a block; return its exit status."""
    print(f"\n=== {where}")
    for line in block.splitlines():
        print(f"$ {line}")
    sys.stdout.flush()
    begin = time.monotonic()
    done = subprocess.run(
        (*AS_ADMIN, "bash", "-eo", "pipefail", "-c", block),
        cwd=stage.TOP, stdin=subprocess.DEVNULL, timeout=SECONDS, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    print(done.stdout.rstrip())
    print(f"=== exit status {done.returncode}, {time.monotonic() - begin:.1f} s")
    return done.returncode


def deliver(new, old):
    """Post a push to the hook over TLS, as GitHub does; return what it answers."""
    body = json.dumps(
        {
            "ref": "refs/heads/main",
            "before": old,
            "after": new,
            "repository": {
                "full_name": "you/app",
                "clone_url": "https://github.com/you/app.git",
                "html_url": "https://github.com/you/app",
            },
            "commits": [{"id": new, "message": "a push"}],
        }
    )
    secret = Path("/etc/gms-hookd/github").read_text().strip()
    signed = hmac.digest(secret.encode(), body.encode(), "sha256").hex()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "X-Hub-Signature-256": f"sha256={signed}",
        "User-Agent": "GitHub-Hookshot/044aadd",
    }
    lines = [f'header = "{name}: {text}"' for name, text in headers.items()]
    return subprocess.check_output(
        ("curl", "-fsS", "--cacert", "/etc/gms-hookd/cert.pem", "--config", "-",
         "--data-binary", body, HOOK),
        input="\n".join(lines), text=True,
    )  # fmt: skip


def arrives(repository, branch, wanted):
    """Wait until a branch is where it should be; say so."""
    end = time.monotonic() + 30
    while (found := stage.tip(repository, branch)) != wanted:
        if time.monotonic() > end:
            print(f"{repository} {branch}: {found or 'nothing'}, not {wanted}")
            return False
        time.sleep(0.2)
    print(f"{repository} {branch}: {found}")
    return True


def proof():
    """Push to the sources; look whether the deliveries bring it to both targets."""
    print("\n=== a push to github.com/you/app, delivered over TLS as GitHub does it")
    old = stage.tip(stage.SOURCE, "main")
    new = stage.commit(stage.SOURCE, "main", "the last commit")
    print(deliver(new, old))
    over_ssh = arrives(stage.FORGE / "mirror/app.git", "release", new)
    print("\n=== a local target, triggered as a CI job would")
    lib = stage.commit(stage.FORGE / "team/lib.git", "main", "the last one")
    os.system("gms-hookd trigger lib --wait 60")
    return over_ssh and arrives("/srv/mirror/lib.git", "main", lib)


def main():
    stage.set_up()
    found = [each for page in documents() for each in blocks(page)]
    statuses = [(where, paste(where, block)) for where, block in found]
    print("\nblock, exit status:")
    for where, status in statuses:
        print(f"{status:4} {where}")
    moved = proof()
    failed = [where for where, status in statuses if status]
    outcome = "both targets have it" if moved else "NOT everything has arrived"
    print(f"\n{len(statuses)} blocks, {len(failed)} failed; {outcome}")
    return 0 if moved and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
