"""What to do about a failure of git, where its words alone would not tell."""

import re
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from gms_hookd.git.credentials import Tls
from gms_hookd.git.errors import ErrorKind, GitError
from gms_hookd.git.patterns import late_pattern
from gms_hookd.git.url import GitUrl

_CLIENT_CERTIFICATE = late_pattern(
    r"alert (certificate|handshake|bad cert)|tls fatal alert has been received"
    r"|gnutls\S* (handshake )?failed: handshake failed|x\.509 (key|pot)"
    r"|returned error: (400|495|496)\b|private key file|client cert",
    re.IGNORECASE,
)
_AUTHORITY = late_pattern(
    r"certificate|\bca cert|unknown ca|server cert|trust anchors", re.IGNORECASE
)
_EXPIRED = re.compile(r"certificate has expired|expiration date", re.IGNORECASE)
# As index-pack and fetch have it; what a target's unpacker finds begins with "remote:".
_FSCK = late_pattern(r"^(?:error|fatal): (?:object )?[0-9a-f]+: ([a-zA-Z]+): ", re.M)
_FORMATS = late_pattern(
    r"hash algorithm|unexpected capabilities|mismatched algorithms|object format"
)
# As ssh says it; what begins with these is no algorithm (RFC 8308; OpenSSH's PROTOCOL).
_NO_MATCH = late_pattern(
    r"no matching (host key type|key exchange method|cipher|mac) found\."
    r" Their offer: (\S+)",
    re.IGNORECASE,
)
_NO_SIGNATURE = late_pattern(r"no mutual signature (algorithm|supported)")
_MARKS = ("kex-strict-", "ext-info-")
# Four characters are all that git tells of what is not its protocol.
_TEXT = re.compile(r"protocol error: bad line length character: ([!-~]{1,4})$", re.M)
_OPTION_OF = {
    "host key type": "HostKeyAlgorithms",
    "key exchange method": "KexAlgorithms",
    "cipher": "Ciphers",
    "mac": "MACs",
}
OTHER_HASH = (
    "source and target have different hash algorithms, sha1 and sha256: make the"
    " target again with git init --object-format"
)
_BY_WORDS = (
    (_FORMATS, OTHER_HASH),
    (late_pattern(r"from promisor remote"),
     "it is a partial clone, which cannot serve: clone it again without --filter"),
    (late_pattern(r"lock ref 'refs/src/(.{,60}).*File name too long"),
     r"leave that out, by a refspec more: ^refs/\1*"),
)  # fmt: skip
_SPOKEN = frozenset({"basic", "bearer"})


class Way(NamedTuple):
    """How a host is reached; challenges are what it asks for, by http."""

    url: GitUrl
    tls: Tls
    challenges: Collection[str] = ()
    key: Path | None = None  # by ssh


def advice(error: GitError, way: Way) -> str:
    """Return what to do, or an empty text."""
    if error.kind is ErrorKind.UNSAFE:
        return _of_fsck(error.stderr, way.url)
    if error.kind is ErrorKind.PROXY:
        return _of_proxy(way.url)
    for words, remedy in _BY_WORDS:
        if found := words.search(error.stderr):
            return found.expand(remedy)
    if way.url.scheme == "ssh":
        text = _of_text(error.stderr, way)
        return text or _of_algorithms(error.stderr, way.url)
    return _of_login(error, way)


def _of_login(error: GitError, way: Way) -> str:
    if way.url.scheme == "https" and _CLIENT_CERTIFICATE.search(error.stderr):
        return _of_certificate(way)
    if error.kind is ErrorKind.TRUST and way.url.scheme == "https":
        return _of_authority(error.stderr, way)
    if error.kind is ErrorKind.AUTH and set(way.challenges) - _SPOKEN == set(
        way.challenges
    ):
        return _of_challenge(way)
    return ""


def _of_proxy(url: GitUrl) -> str:
    if url.scheme == "ssh":
        table = f'[credentials."{url.origin}"]'
        return f"put user:password@ into the ssh_proxy of {table}"
    return (
        f"put USER:PASSWORD@ into the daemon's {url.scheme}_proxy (systemctl edit"
        " gms-hookd, Environment=)"
    )


def _of_text(stderr: str, way: Way) -> str:
    """Return how to see the text that a host sends where git should speak."""
    found = _TEXT.search(stderr)
    if not found:
        return ""
    url = way.url
    name = f"{url.user}@{url.host}" if url.user else url.host
    port = ("-p", str(url.port)) if url.port else ()
    key = ("-i", str(way.key)) if way.key else ()
    return (
        f"the host sends a text instead, which begins with {found[1]!r}: an account"
        " without a shell, or a start-up file of it that prints something; see"
        f" sudo {shlex.join(('ssh', *port, *key, name, 'true'))}"
    )


def _of_algorithms(stderr: str, url: GitUrl) -> str:
    """Return the setting that allows what an old host offers, if that is missing."""
    found = _NO_MATCH.search(stderr)
    if found:
        offered = [name for name in found[2].split(",") if not name.startswith(_MARKS)]
        option = f"{_OPTION_OF[found[1].lower()]}=+{offered[0] if offered else '...'}"
    elif _NO_SIGNATURE.search(stderr):
        option = "PubkeyAcceptedAlgorithms=+ssh-rsa"
    else:
        return ""
    table = f'[credentials."{url.origin}"]'
    return f'if that is good enough for you: {table} ssh_options = ["{option}"]'


def _of_fsck(stderr: str, url: GitUrl) -> str:
    kinds = ", ".join(f'"{kind}"' for kind in sorted(set(_FSCK.findall(stderr))))
    if not kinds:
        return ""
    prefix = url.path if url.local else url.text
    return (
        "if its history is to stay as it is:"
        f' [credentials."{prefix}"] allow_fsck = [{kinds}]'
    )


def _of_certificate(way: Way) -> str:
    if way.tls.cert:
        files = (f"{name} was {path}" for name, path in way.tls.files.items())
        return f"the host takes no such client certificate: {', '.join(files)}"
    table = f'[credentials."{way.url.origin}"]'
    return (
        "the host seems to ask for a client certificate: set tls_cert_file and"
        f" tls_key_file in {table}"
    )


def _of_authority(stderr: str, way: Way) -> str:
    if _EXPIRED.search(stderr):
        return "the host has to renew it, unless the clock here is wrong (date)"
    place = shlex.quote(f"{way.url.host}:{way.url.port or 443}")
    dates = (
        f"it may have expired: openssl s_client -connect {place} </dev/null |"
        " openssl x509 -noout -dates"
    )
    if way.tls.ca:
        return f"{dates}; ca_file was {way.tls.ca}"
    table = f'[credentials."{way.url.origin}"]'
    return (
        f"{dates}; if an authority of your own vouches for it, set ca_file in {table}"
    )


def _of_challenge(way: Way) -> str:
    asked = " or ".join(sorted(each.capitalize() for each in way.challenges))
    if not asked:
        return ""
    return (
        f"the host asks for {asked} authentication, which is not spoken here: let"
        f" {way.url.origin} take Basic, or use ssh"
    )
