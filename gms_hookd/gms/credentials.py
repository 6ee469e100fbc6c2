"""The tables of credentials that are to be filled in: GMS's secrets are not read."""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gms_hookd.git.url import SPOKEN, GitUrl, parse
from gms_hookd.gms.meaning import Login
from gms_hookd.safetext import hidden

FOLDER = "/etc/gms-hookd/"
OWN_KEY = "# GMS used the key of the user that it ran as"


class _Entry(NamedTuple):
    """Who we are at a host: the lines of its table."""

    prefix: str
    lines: tuple[str, ...]


def tables(logins: Iterable[Login]) -> list[str]:
    """Return the tables of TOML, one a host, or one a repository where users differ."""
    found: dict[str, dict[tuple[str, ...], list[_Entry]]] = {}
    for login in logins:
        for host, entry in _entries(login):
            found.setdefault(host, {}).setdefault(entry.lines, []).append(entry)
    return [text for host, by in found.items() for text in _of_host(host, by)]


def _of_host(host: str, by: dict[tuple[str, ...], list[_Entry]]) -> Sequence[str]:
    if len(by) == 1:
        return [_table(host, next(iter(by)))]
    named = {each.prefix: each.lines for group in by.values() for each in group}
    return [_table(prefix, lines) for prefix, lines in named.items()]


def _table(prefix: str, lines: tuple[str, ...]) -> str:
    return "\n".join([f"[credentials.{_quoted(prefix)}]", *lines])


def _entries(login: Login) -> Sequence[tuple[str, _Entry]]:
    """Return the host and the table of a login, none where none is needed."""
    try:
        url = parse(login.url, SPOKEN)
    except ValueError:
        return []
    if url.scheme == "ssh":
        return [_ssh(url, login)]
    return [] if url.local or login.auth.kind in ("", "none") else [_http(url, login)]


def _ssh(url: GitUrl, login: Login) -> tuple[str, _Entry]:
    user = f"{url.user}@" if url.user else ""
    host = url.origin.replace("://", f"://{user}") + "/"
    known = login.auth.kind == "ssh" and login.auth.user_or_key
    file = login.auth.user_or_key if known else f"{FOLDER}{url.host}-key"
    lines = (*(() if known else (OWN_KEY,)), f"ssh_key_file = {_quoted(file)}")
    return host, _Entry(host + url.path.strip("/"), lines)


def _http(url: GitUrl, login: Login) -> tuple[str, _Entry]:
    host = url.origin + "/"
    user = login.auth.user_or_key
    prefix = host + url.path.strip("/")
    if login.auth.kind == "token":
        file = f"{FOLDER}{url.host}-token"
        return host, _Entry(prefix, (f"token_file = {_quoted(file)}",))
    named = f"username = {_quoted(hidden(user) if user else '...')}"
    file = f"{FOLDER}{url.host}-password"
    return host, _Entry(prefix, (named, f"password_file = {_quoted(file)}"))


def _quoted(text: str) -> str:
    return json.dumps(text)
