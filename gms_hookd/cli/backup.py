"""The command that copies the store."""

import os
import secrets
import shlex
import shutil
from contextlib import suppress
from pathlib import Path

from gms_hookd.cli.api_client import ApiError, post
from gms_hookd.cli.session import SLOW, Args, Session, api_of, ready_to_act
from gms_hookd.errors import Failure
from gms_hookd.files import check_replaceable, leads_to
from gms_hookd.service.identity import acting
from gms_hookd.service.state_dir import is_ours


def backup(session: Session, args: Args) -> int:
    """Copy the store to a file, replaced at once or not at all.

    The application writes into the state directory, where a confined daemon may write
    and the operator may read; the file is the operator's own.
    """
    file = Path(args.file).absolute()
    state = Path(session.state)
    _refuse(file, state)
    between = state / f"backup-{secrets.token_hex(8)}"
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        _have_written(session, between)
        _copy(between, fresh)
        fresh.replace(file)
    finally:
        _remove(fresh, between)
    return 0


def _have_written(session: Session, file: Path) -> None:
    ready_to_act(session)
    with acting(session.state), api_of(session) as api:
        try:
            post(api, "backup", {"path": str(file)}, SLOW)
        except ApiError as error:
            if error.status != 503:
                raise
            place = shlex.quote(session.state)
            raise Failure(f"{error}: it is made there first: df -h {place}") from None


def _refuse(file: Path, state: Path) -> None:
    if file.is_dir():
        raise Failure(f"{file}: is a directory")
    if not file.parent.is_dir():
        folder = shlex.quote(str(file.parent))
        raise Failure(f"{file.parent}: is no directory: mkdir -p {folder}")
    check_replaceable(file)
    if state.exists() and leads_to(file, state, is_ours):
        raise Failure(f"{file}: is the store itself, or leads to it: name another file")


def _remove(*leftovers: Path) -> None:
    for leftover in leftovers:
        with suppress(OSError):
            leftover.unlink()


def _copy(old: Path, new: Path) -> None:
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with old.open("rb") as source, os.fdopen(descriptor, "wb") as target:
        shutil.copyfileobj(source, target)
        target.flush()
        os.fsync(target.fileno())
