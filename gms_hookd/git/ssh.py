"""The ssh that git is given: our key and the pinned host keys, no configuration.

ssh_config(5) has the options, ssh-keyscan(1) what pins a key.
"""

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from gms_hookd.files import read_regular
from gms_hookd.git import ssh_proxy
from gms_hookd.git.ssh_proxy import Proxy
from gms_hookd.git.url import PORTS, GitUrl

LARGEST = 16 << 20  # bytes of a file of host keys
SSH_OPTIONS = (
    "BatchMode=yes",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "ConnectTimeout=15",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    "PermitLocalCommand=no",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "LogLevel=INFO",  # which tells of connections that were cut, and why
    "SendEnv=GIT_PROTOCOL",  # a kept connection sends what its master may send
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are at a host by ssh, how we know it, and how we get there."""

    key: Path
    known_hosts: Path
    options: tuple[str, ...] = ()
    proxy: Proxy | None = field(default=None, repr=False)

    @property
    def environ(self) -> dict[str, str]:
        """Return what ssh, and the git that starts it, need in their environment."""
        return {ssh_proxy.VARIABLE: self.proxy.url} if self.proxy else {}


def ssh_command(identity: Identity, control: Path | None = None) -> tuple[str, ...]:
    """Write the ssh that trusts pinned hosts only and reads no configuration."""
    options = (
        *SSH_OPTIONS,
        *identity.options,
        f"IdentityFile={_path(identity.key)}",
        f"UserKnownHostsFile={_path(identity.known_hosts)}",
        f"ControlPath={_path(control) if control else 'none'}",
        *((f"ProxyCommand={ssh_proxy.command()}",) if identity.proxy else ()),
    )
    return ("ssh", "-F", "/dev/null", *(w for o in options for w in ("-o", o)))


def _path(path: Path) -> str:
    return '"' + str(path).replace("%", "%%").replace('"', '\\"') + '"'


def pinning(url: GitUrl, known_hosts: Path) -> str:
    """Write the command that pins a host's key, once a human has compared it."""
    port = url.port or PORTS["ssh"]
    host = url.host.strip("[]")
    name = host if port == PORTS["ssh"] else f"[{host}]:{port}"
    where = shlex.quote(str(known_hosts))
    scan = ["ssh-keyscan", *(["-p", str(port)] if port != PORTS["ssh"] else []), host]
    old = f"ssh-keygen -R {shlex.quote(name)} -f {where}; "
    # Who pins it, say root, may have an umask that would hide it from the service.
    pin = f"{shlex.join(scan)} >> {where} && chmod a+r {where}"
    return old + pin if _pinned(name, known_hosts) else pin


def _pinned(name: str, known_hosts: Path) -> bool:
    try:
        lines = read_regular(known_hosts, LARGEST)[0].decode(errors="replace")
    except OSError:
        return False
    return any(name in line.split(" ")[0].split(",") for line in lines.split("\n"))
