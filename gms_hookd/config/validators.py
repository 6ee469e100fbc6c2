"""What a setting's value may be: readers return what we use, or say what is wrong.

A reader takes a value of any type and raises ValueError with problem and remedy.
"""

import pwd
import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv6Address

from gms_hookd import units
from gms_hookd.auth import whitelist
from gms_hookd.auth.secret_file import checked_secret
from gms_hookd.forges.condition import Condition
from gms_hookd.git.ssh_proxy import Proxy
from gms_hookd.git.ssh_proxy import parse as parse_proxy
from gms_hookd.model import LARGEST_ID, Shard

PROTOCOLS = ("https", "ssh", "file", "http")
# ssh's options that an operator may have to set for a host, and none that runs, reads
# or trusts something.
SSH_OPTIONS = {
    name.lower(): name
    for name in (
        "HostKeyAlgorithms", "KexAlgorithms", "Ciphers", "MACs",
        "PubkeyAcceptedAlgorithms", "RequiredRSASize", "AddressFamily", "IPQoS",
        "Compression",
    )
}  # fmt: skip
_SSH_VALUE = r"[-+^]?[A-Za-z0-9][A-Za-z0-9@._,*-]*"
LONGEST_SOCKET_PATH = 107
LARGEST_BODY = 1 << 30
LARGEST_USER = (1 << 32) - 2  # chown(2): one more means nobody
LFS = ("warn", "strict", "off")
# What git 2.32 knows of and lets be demoted, thus every git that is good enough here.
FSCK = (
    "badDate", "badDateOverflow", "badEmail", "badFilemode", "badName",
    "badObjectSha1", "badParentSha1", "badTagName", "badTimezone", "badTree",
    "badTreeSha1", "badType", "duplicateEntries", "emptyName", "fullPathname",
    "gitattributesSymlink", "gitignoreSymlink", "gitmodulesBlob", "gitmodulesLarge",
    "gitmodulesMissing", "gitmodulesName", "gitmodulesParse", "gitmodulesPath",
    "gitmodulesSymlink", "gitmodulesUpdate", "gitmodulesUrl", "hasDot", "hasDotdot",
    "hasDotgit", "mailmapSymlink", "missingAuthor", "missingCommitter", "missingEmail",
    "missingNameBeforeEmail", "missingObject", "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail", "missingTag", "missingTagEntry", "missingTaggerEntry",
    "missingTree", "missingType", "missingTypeEntry", "multipleAuthors",
    "nulInCommit", "nullSha1", "treeNotSorted", "unknownType", "zeroPaddedDate",
    "zeroPaddedFilemode",
)  # fmt: skip
_KINDS = {
    list: "a list", dict: "a section", type(None): "nothing",
    bool: "true or false: put it in quotes", int: "a number: put it in quotes",
    float: "a number: put it in quotes",
}  # fmt: skip
# As text: re compiles each at its first use and keeps it.
_TCP = r"(\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\]|[A-Za-z0-9._-]*|\*):([0-9]{1,5})"
_HEADER = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VISIBLE = r"[\x21-\x7e]+"
_URL = (
    r"(?i:https?://|ssh://(?:[A-Za-z0-9_][A-Za-z0-9._+-]*@)?)"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
    r"(?::[0-9]{1,5})?(?:/(?:[^\s?#@]| (?! |$))*)?"
)


def text(value: object) -> str:
    """Take a text."""
    if not isinstance(value, str):
        kind = _KINDS.get(type(value), "a date: put it in quotes")
        raise ValueError(f"must be a text, not {kind}")
    # How Python shows bytes of the environment that are not UTF-8.
    if any("\udc80" <= char <= "\udcff" for char in value):
        raise ValueError("is not UTF-8 text")
    return value


def texts(value: object) -> tuple[str, ...]:
    """Take a list of texts."""
    if not isinstance(value, list | tuple):
        raise ValueError('must be a list, as in ["..."]')
    return tuple(text(item) for item in value)


def whole(low: int, high: int) -> Callable[[object], int]:
    """Take a whole number within these bounds."""

    def reader(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("must be a whole number, without quotes")
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}")
        return value

    return reader


def line(value: object) -> str:
    """Take a text of one printable line that is not empty."""
    given = text(value)
    if not given or given != given.strip() or not given.isprintable():
        raise ValueError("must be one line that is not empty, without outer spaces")
    return given


def public_url(value: object) -> str:
    """Take what others call us by: http or https, a host, perhaps a path."""
    given = line(value).rstrip("/")
    if not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:_-]+(/[A-Za-z0-9._~/-]*)?", given):
        raise ValueError('must be a URL without login or query, as "https://HOST"')
    return given


def shard(value: object) -> Shard:
    """Take "k/n", which of n nodes this one is; "n/n" and "0/n" are the same one."""
    found = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text(value))
    number, count = map(int, found.groups()) if found else (1, 0)
    if number > count or not count:
        raise ValueError('must be which of how many nodes this is, as in "1/3"')
    return Shard(number % count, count)


def secret(value: object) -> str:
    """Take a secret."""
    return checked_secret(text(value))


def several(one: Callable[[object], str], value: object) -> tuple[str, ...]:
    """Take a list of what `one` takes, at least one."""
    return tuple(one(item) for item in texts(value) or [""])


def token(value: object) -> str:
    """Take a secret that fits into an HTTP header."""
    given = secret(value)
    if not re.fullmatch(_VISIBLE, given):
        raise ValueError("must be visible ASCII characters without spaces")
    return given


def header(value: object) -> str:
    """Take the name of an HTTP header."""
    given = text(value)
    if not re.fullmatch(_HEADER, given):
        raise ValueError("must be the name of an HTTP header")
    return given


def duration(value: object) -> float:
    """Take a duration with its unit; seconds, more than none."""
    given = text(value)
    if given[-1:].isdigit():
        raise ValueError('needs a unit: as in "90s", "10m", "30d"')
    seconds = units.duration(given)
    if not seconds:
        raise ValueError("must be more than nothing")
    return seconds


def duration_or_off(value: object) -> float:
    """Take a duration, or "off"; seconds, 0 for "off"."""
    if value == "off" or value is False:  # which is what YAML reads in a bare off
        return 0.0
    return duration(value)


def interval(value: object) -> float:
    """Take a duration of a minute or more, or "off"; seconds, 0 for "off"."""
    seconds = duration_or_off(value)
    if 0 < seconds < 60:
        raise ValueError('must be "1m" or more, or "off"')
    return seconds


def lfs(value: object) -> str:
    """Take what becomes of refs whose large files cannot be carried."""
    given = "off" if value is False else text(value)  # YAML reads a bare off as false
    if given not in LFS:
        raise ValueError(f"{given!r} is none of {', '.join(LFS)}")
    return given


def flag(value: object) -> bool:
    """Take true or false."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false, without quotes")
    return value


def tasks(value: object) -> tuple[int | str, ...]:
    """Take a list of tasks, each an id or a name, not empty."""
    if not isinstance(value, list | tuple) or not value:
        raise ValueError('must be a list of names or ids, as in ["app", 2]')
    return tuple(_task(item) for item in value)


def _task(value: object) -> int | str:
    if isinstance(value, int):
        return whole(1, LARGEST_ID)(value)
    given = line(value)
    is_id = given.isascii() and given.isdigit() and len(given) < 19
    return int(given) if is_id else given


def conditions(value: object) -> tuple[Condition, ...]:
    """Take dotted paths with a value, a glob, or a list of them; sections are paths."""
    if not isinstance(value, dict) or not value:
        raise ValueError('must be a section, as in {status = ["success"]}')
    return tuple(_conditions("", value))


def _conditions(before: str, section: Mapping[object, object]) -> Iterator[Condition]:
    for key, wanted in section.items():
        path = f"{before}{line(key)}"
        if isinstance(wanted, dict) and wanted:
            yield from _conditions(f"{path}.", wanted)
            continue
        values = wanted if isinstance(wanted, list | tuple) else (wanted,)
        if not values or not all(isinstance(v, str | int | float) for v in values):
            raise ValueError(
                f"{path}: must be a text, a number, true, false, or a list"
            )
        yield Condition(path, tuple(values))


def body_size(value: object) -> int:
    """Take a size in bytes, as a number or a text."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    size = units.size(str(value) if is_number else text(value))
    if not 0 < size <= LARGEST_BODY:
        raise ValueError(f'must be from 1 byte to "{LARGEST_BODY >> 20}MiB"')
    return size


def networks(value: object) -> tuple[str, ...]:
    """Take a list of addresses, CIDR blocks, and unix sockets for their peers."""
    given = texts(value)
    for entry in given:
        try:
            whitelist.Whitelist([entry])
        except ValueError:
            raise ValueError(
                f"{entry!r} is no address or network, as in 192.168.1.0/24,"
                " nor unix or unix:/PATH"
            ) from None
    return given


def owners(value: object) -> tuple[int, ...]:
    """Take a list of users, each by name or number; their ids."""
    if not isinstance(value, list | tuple):
        raise ValueError('must be a list, as in ["git", 1001]')
    return tuple(dict.fromkeys(map(_user, value)))


def _user(value: object) -> int:
    if isinstance(value, int):
        return whole(0, LARGEST_USER)(value)
    name = line(value)
    if name.isascii() and name.isdigit() and len(name) <= 10:
        return _user(int(name))
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ValueError(f"{name!r} is no user of this machine") from None


def protocols(value: object) -> tuple[str, ...]:
    """Take a list of protocols that git may speak."""
    given = texts(value)
    for entry in given or ("",):
        if entry not in PROTOCOLS:
            raise ValueError(f"{entry!r} is none of {', '.join(PROTOCOLS)}")
    return tuple(dict.fromkeys(given))


def listens(value: object) -> tuple[str, ...]:
    """Take a list of places to listen at, none of them twice."""
    given = texts(value)
    if not given or len(set(given)) < len(given):
        raise ValueError('must be a list, nothing twice, as in ["127.0.0.1:38080"]')
    return tuple(_listen(spec) for spec in given)


def _listen(spec: str) -> str:
    path = spec.removeprefix("unix:")
    if path != spec and path.isprintable() and path.strip():
        if len(path.encode()) > LONGEST_SOCKET_PATH:
            raise ValueError(f"the path is longer than {LONGEST_SOCKET_PATH} bytes")
        return spec
    found = re.fullmatch(_TCP, spec)
    if not found or int(found[2]) > 65535 or not _is_host(found[1]):
        raise ValueError(f"{spec!r} is none of HOST:PORT, [V6]:PORT, :PORT, unix:PATH")
    return spec


def _is_host(host: str) -> bool:
    try:
        return not host.startswith("[") or bool(str(IPv6Address(host[1:-1])))
    except ValueError:
        return False


def fsck(value: object) -> tuple[str, ...]:
    """Take a list of what git's fsck may find (git-fsck, FSCK MESSAGES)."""
    given = texts(value)
    known = {kind.lower(): kind for kind in FSCK}
    for kind in given:
        if kind.lower() not in known:
            raise ValueError(f"{kind!r} is no kind of fault that git's fsck knows")
    return tuple(dict.fromkeys(known[kind.lower()] for kind in given))


def ssh_options(value: object) -> tuple[str, ...]:
    """Take a list of options of ssh that say what is good enough (ssh_config(5))."""
    found = {}
    for entry in texts(value):
        known, said = _ssh_option(entry)
        if known in found:
            raise ValueError(f"{known} is there twice: join its values with commas")
        found[known] = f"{known}={said}"
    return tuple(found.values())


def _ssh_option(entry: str) -> tuple[str, str]:
    name, _, said = entry.partition("=")
    known = SSH_OPTIONS.get(name.strip().lower())
    if known is None:
        allowed = ", ".join(SSH_OPTIONS.values())
        raise ValueError(f"{entry!r} sets none of {allowed}")
    if not re.fullmatch(_SSH_VALUE, said.strip()):
        raise ValueError(f'{entry!r} must look like "{known}=+ssh-rsa"')
    return known, said.strip()


def ssh_proxy(value: object) -> Proxy:
    """Take the URL of a proxy for ssh."""
    return parse_proxy(line(value))


def url_prefix(url: str) -> str:
    """Take the beginning of the URLs that a credential is for, or of local paths."""
    if url.startswith("/") and url == line(url):
        return url
    if not re.fullmatch(_URL, url):
        raise ValueError(
            'must begin like "https://host/path" or "ssh://user@host/path",'
            " without password, query or fragment"
        )
    scheme, _, rest = url.partition(":")
    return f"{scheme.lower()}:{rest}"
