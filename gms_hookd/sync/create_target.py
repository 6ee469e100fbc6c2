"""A target that does not exist yet: made here, by its host, or by who reads how."""

import shlex
from collections.abc import Mapping

from gms_hookd.git.credentials import with_remedy
from gms_hookd.git.errors import ErrorKind, GitError
from gms_hookd.git.remote import Listing, Remote
from gms_hookd.model import Task

AT_HOST = (
    "make the repository at its host, or correct the address, or give the account the"
    " right to see it; GitLab and Gitea make it themselves for who may push there"
)
HOPE = "the target is not there yet: pushing to it, as some hosts make it then"


class Absence:
    """What is done about one task's target that is not there."""

    def __init__(self, task: Task, target: Remote, known: Mapping[str, str]) -> None:
        self._task = task
        self._target = target
        self._known = known
        self.error: GitError | None = None  # of who looked for it, with a remedy

    def empty(self, error: GitError, object_format: str | None) -> Listing:
        """Return what such a target has; make it, unless there is no object format.

        Raises the error where there is to be a target, and one was there before: a disk
        may not be mounted.
        """
        if error.kind is not ErrorKind.MISSING:
            raise error
        self.error = with_remedy(error, {error.kind: self._remedy()})
        if self._known or not self._is_to_be():
            raise self.error from None
        if self._target.access.url.local:
            if object_format:
                self._target.make(object_format)
        else:
            self._target.git.limits.log.line(HOPE)
        return Listing({})

    def _is_to_be(self) -> bool:
        task, local = self._task, self._target.access.url.local
        return task.create if local else task.pattern_id is not None

    def _remedy(self) -> str:
        url, name = self._target.access.url, shlex.quote(self._task.name)
        if not url.local:
            return AT_HOST
        make = f"`git init --bare {shlex.quote(url.path)}`"
        if self._task.create:
            return f"it was there before: if its disk is mounted, {make}"
        return (
            f"{make} as the service's user, or `gms-hookd task set {name} create=true`"
        )
