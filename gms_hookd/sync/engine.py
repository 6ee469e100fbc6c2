"""Carries out one sync: fetch the source, class each ref, push under leases."""

import errno
import os
import shlex
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

from gms_hookd.files import user_name
from gms_hookd.git import refspec
from gms_hookd.git import url as giturl
from gms_hookd.git.access import AccessFactory, SafeDirectories, SshConnections
from gms_hookd.git.cache import Cache
from gms_hookd.git.cache_lock import Hold, Holds
from gms_hookd.git.command import SETTINGS, Git, configured, environment, uncounted
from gms_hookd.git.credentials import Credential, CredentialStore
from gms_hookd.git.errors import UNREACHED, ErrorKind, GitError, classify
from gms_hookd.git.maintenance import CacheMaintenance
from gms_hookd.git.ownership import untrusted
from gms_hookd.git.process import Limits, Stop
from gms_hookd.git.recovery import Journal
from gms_hookd.git.refspec import Selection
from gms_hookd.git.remote import Remote
from gms_hookd.git.url import GitUrl
from gms_hookd.runlog import RunLog
from gms_hookd.safetext import one_line
from gms_hookd.safetext.mask import Mask
from gms_hookd.sync.attempt import Attempt, run_attempt
from gms_hookd.sync.context import SyncContext
from gms_hookd.sync.fetch import RecentFetches
from gms_hookd.sync.job import (
    MESSAGE,
    SyncJob,
    SyncResult,
    Unreadable,
    failure,
    without_secrets,
)
from gms_hookd.sync.noop import nothing_to_do
from gms_hookd.sync.pushlog import PushLog
from gms_hookd.sync.undo import selection_of

Act = Callable[[Attempt], SyncResult]
# Of what holds the caches, and may recover.
OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What holds for all runs."""

    home: Path
    timeout: float = 600.0
    stall: float = 60.0
    lfs: str = "warn"  # or "strict" or "off", see sync.lfs
    allow_protocols: tuple[str, ...] = ("https", "ssh", "file")
    credentials: Sequence[Credential] = ()
    ssh_key_file: Path | None = None
    ssh_known_hosts: Path | None = None
    backups: float = 30 * 86400.0
    file_size: int | None = 64 * 2**30
    memory: int | None = 4 * 2**30  # of one git
    binary: str = "git"
    grace: float = 5.0
    trust_owners: Collection[int] = ()
    mask: Mask = field(default_factory=Mask)
    count: Callable[[str, str], None] = uncounted  # is told each command of git


class _Selected(NamedTuple):
    """What a task is about."""

    selection: Selection
    source: GitUrl
    target: GitUrl


def _key(source: str) -> str | None:
    try:
        return giturl.cache_key(source)
    except ValueError:
        return None


class Engine:
    """Syncs tasks; any number of threads may use it at once.

    A reload replaces it, not its runs: once it is retired it ends with its last use.
    """

    def __init__(
        self,
        caches: Path,
        settings: EngineSettings,
        environ: Mapping[str, str],
        *,
        holds: Holds | None = None,
        fetched: Callable[[int], None] = lambda run_id: None,
    ) -> None:
        """Make it; `fetched` is told each run that needs its source no more.

        Engines of one state directory share the holds.
        """
        self._holds = holds or Holds()
        self._fetched = fetched
        self._caches = caches
        self._settings = settings
        own = environment(
            environ,
            settings.home,
            f"{os.getpid()}-{id(self):x}",
            settings.allow_protocols,
        )
        keys = _credential_store(settings)
        trust = SafeDirectories(Path(own["GIT_CONFIG_GLOBAL"]))
        self._access_factory = AccessFactory(keys, SshConnections(own), trust)
        self._environ = configured(own, SETTINGS)
        self._maintenance = CacheMaintenance(caches, self._holds, self._git)
        self._fetches = RecentFetches()
        self._lock = threading.Lock()
        self._users = 0
        self._retired = False

    @property
    def closed(self) -> bool:
        """Tell whether it is retired and nobody uses it."""
        return self._retired and not self._users

    def retire(self) -> None:
        """Close it now, or when its last use ends."""
        with self._lock:
            self._retired = True
        self._close_if_idle()

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        # Who still had it at hand when it was retired opens it again, and closes it.
        if self.closed:
            self.close()

    def sync(self, job: SyncJob, log: RunLog, stop: Stop) -> SyncResult:
        """Do it; never raises for what git or the disk does."""
        if job.undo is not None:
            log.line(f"undoes run {job.undo.run}")
            return self._attempt(job, log, stop, Attempt.undo)
        return self._answered(job, log, lambda: self._sync(job, log, stop))

    def dropped(self, job: SyncJob, log: RunLog, stop: Stop) -> SyncResult:
        """Look whether the cache has what an undo needs: `held` is what it has not."""
        return self._attempt(job, log, stop, Attempt.dropped)

    def plan(self, job: SyncJob, log: RunLog, stop: Stop) -> SyncResult:
        """Say what sync would do to each ref, and change nothing at the target."""
        return self._attempt(job, log, stop, Attempt.plan)

    def probe(self, job: SyncJob, log: RunLog, stop: Stop) -> SyncResult:
        """Ask both sides: `known` is what the target should be, `there` what it is."""
        return self._attempt(job, log, stop, Attempt.probe)

    def _answered(
        self, job: SyncJob, log: RunLog, act: Callable[[], SyncResult]
    ) -> SyncResult:
        """Act; return the result or the failure, without secrets that hosts repeat."""
        log.use(self._settings.mask)
        try:
            with self._in_use():
                result = act()
        except ValueError as error:
            result = failure(job, log, GitError(ErrorKind.CONFIG, str(error)))
        except (GitError, OSError) as error:
            result = failure(job, log, as_git_error(error))
        return without_secrets(result, log)

    def _sync(self, job: SyncJob, log: RunLog, stop: Stop) -> SyncResult:
        selected = self._select(job)
        if same := nothing_to_do(job, *selected):
            log.line("all is as after the last sync: nothing to do")
            return same
        return self._attempted(
            job, selected, self._limits(job, log, stop), Attempt.sync
        )

    def _attempt(self, job: SyncJob, log: RunLog, stop: Stop, act: Act) -> SyncResult:
        def attempt() -> SyncResult:
            limits = self._limits(job, log, stop)
            return self._attempted(job, self._select(job), limits, act)

        return self._answered(job, log, attempt)

    def _select(self, job: SyncJob) -> _Selected:
        """Return what a task is about. Raises ValueError."""
        selection, task = _selection(job), job.task
        source = self._url("source", task.source)
        return _Selected(selection, source, self._url("target", task.target))

    def _attempted(
        self, job: SyncJob, selected: _Selected, limits: Limits, act: Act
    ) -> SyncResult:
        self._access_factory.trust.ready()
        path = self._caches / selected.source.key
        make_way = partial(self._maintenance.make_way, path)
        with ExitStack() as stack:
            hold = stack.enter_context(self._holds.run(path, limits, make_way))
            run = Attempt(self._context(job, selected, hold, limits, stack))
            try:
                return run_attempt(run, act)
            except (GitError, OSError) as error:
                return run.failed(as_git_error(error))

    def _context(
        self,
        job: SyncJob,
        selected: _Selected,
        hold: Hold,
        limits: Limits,
        stack: ExitStack,
    ) -> SyncContext:
        path = self._caches / selected.source.key
        git = self._git(path, hold.journal, limits)
        access, task = self._access_factory.access, job.task
        return SyncContext(
            job,
            selected.selection,
            Cache(git, hold),
            Remote(git, access(selected.source, limits, stack)),
            Remote(git, access(selected.target, limits, stack), task.push_options),
            hold,
            PushLog(path.with_name(f"{path.name}.push-{task.id}"), job),
            self._fetches,
            partial(self._fetched, job.run),
            self._settings.lfs,
        )

    def _limits(self, job: SyncJob, log: RunLog, stop: Stop) -> Limits:
        settings = self._settings
        deadline = time.monotonic() + (job.task.timeout or settings.timeout)
        caps = (settings.file_size, settings.memory)
        return Limits(deadline, stop, log, settings.grace, *caps, stall=settings.stall)

    def _git(self, path: Path, journal: Journal, limits: Limits) -> Git:
        binary, count = self._settings.binary, self._settings.count
        environ = {**self._environ, **journal.environ}
        return Git(path, environ, limits, journal, binary, count)

    def reach(self, repository: str, within: float) -> Unreadable | None:
        """Return why a repository afar cannot be read in so many seconds, if so."""
        log = RunLog()
        log.use(self._settings.mask)
        allowed = self._settings.allow_protocols
        try:
            with self._in_use():
                self._ask(giturl.parse(repository, allowed), log, within)
        except (GitError, ValueError, OSError) as error:
            return _unreadable(error, log)
        finally:
            log.close()
        return None

    def _ask(self, url: GitUrl, log: RunLog, within: float) -> None:
        """Have a host name its default branch. Raises GitError."""
        limits = Limits(time.monotonic() + within, Stop(), log, self._settings.grace)
        self._access_factory.trust.ready()
        with TemporaryFile(dir=self._settings.home) as noted, ExitStack() as stack:
            git = self._git(self._settings.home, Journal(noted.fileno()), limits)
            Remote(git, self._access_factory.access(url, limits, stack)).head()

    def maintain(self, sources: Collection[str], *, delete: bool = True) -> None:
        """Maintain the caches of these sources, remove all others; runs go first.

        Without delete neither they nor any backup is removed.
        """
        used = {key for source in sources if (key := _key(source))}
        with self._in_use():
            self._access_factory.trust.ready()
            self._maintenance.turn(used, self._settings.backups if delete else None)

    def _url(self, side: str, text: str) -> GitUrl:
        try:
            url = giturl.parse(text, self._settings.allow_protocols)
        except ValueError as error:
            raise ValueError(f"{side}: {error}") from None
        why = untrusted(url.path, self._settings.trust_owners) if url.local else ""
        if why:
            raise ValueError(f"{side}: {why}")
        return url

    def close(self) -> None:
        """End the connections that were kept open."""
        self._maintenance.end()
        self._access_factory.masters.close()
        self._access_factory.trust.close()


def _selection(job: SyncJob) -> Selection:
    if job.undo is not None:
        return selection_of(job.undo)
    return refspec.select(job.task.refspecs, force=job.task.force)


def _credential_store(settings: EngineSettings) -> CredentialStore:
    return CredentialStore(
        settings.home,
        settings.credentials,
        settings.ssh_key_file,
        settings.ssh_known_hosts,
    )


def _unreadable(error: GitError | ValueError | OSError, log: RunLog) -> Unreadable:
    """Tell our own remedy from what may be the host's words."""
    remedy = getattr(error, "remedy", "")
    said = str(error).removesuffix(f"; {remedy}")
    if isinstance(error, OSError):
        remedy = "df -h  # make room on this machine" if error.errno in OF_DISKS else ""
        said = f"cannot be asked from here: {error.strerror}"
    answered = getattr(error, "kind", ErrorKind.CONFIG) not in UNREACHED
    return Unreadable(log.clean(one_line(said, MESSAGE)), log.clean(remedy), answered)


def as_git_error(error: GitError | OSError) -> GitError:
    """Return what ended a run as an error of git's, with its class."""
    if isinstance(error, GitError):
        return error
    # Of what is ours nothing is missing unless somebody has cleared it away.
    gone = error.errno == errno.ENOENT
    kind = classify(f"error: write: {error.strerror}")
    said = str(error)
    if isinstance(error, PermissionError) and error.filename:
        give = f"chown -R {user_name()}: {shlex.quote(os.path.dirname(error.filename))}"
        said = f"{error.filename}: {error.strerror}: {give}"
    return GitError(ErrorKind.CORRUPT if gone else kind, said)
