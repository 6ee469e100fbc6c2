"""A service: the store, the engine and the workers of one state directory.

The daemon is a service with listeners; a command opens one in its own process when no
daemon runs. Everything is wired together here, by constructors.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from gms_hookd.auth.api_tokens import Tokens
from gms_hookd.auth.ratelimit import Buckets
from gms_hookd.auth.signature import hub_keys
from gms_hookd.auth.whitelist import Whitelist
from gms_hookd.config.load import faults
from gms_hookd.config.records import Config, HookConfig, NotifyConfig
from gms_hookd.config.secrets import secrets_of
from gms_hookd.config.sources import Name
from gms_hookd.forges.registry import FORGES, scheme_of
from gms_hookd.futures import Future, apply, done
from gms_hookd.git.process import Stop
from gms_hookd.http.descriptors import attainable_descriptors, descriptors
from gms_hookd.notify import dockerhub
from gms_hookd.notify.base import Target
from gms_hookd.notify.policy import Subscriber
from gms_hookd.safetext import reason
from gms_hookd.safetext.mask import Mask
from gms_hookd.service import systemd
from gms_hookd.service.engines import Engines
from gms_hookd.service.findings import Environment
from gms_hookd.service.health import Health
from gms_hookd.service.hook_facts import described
from gms_hookd.service.housekeeping import Housekeeping
from gms_hookd.service.inspection import findings
from gms_hookd.service.pools import Pools
from gms_hookd.service.reachability import reach
from gms_hookd.service.state_dir import StateDirectory
from gms_hookd.service.usage import usage
from gms_hookd.store import Store, runs
from gms_hookd.store.notices import NOBODY
from gms_hookd.store.refusals import Refusals
from gms_hookd.threads import Supervised, Threads
from gms_hookd.web import views
from gms_hookd.web.forge_hook import ForgeHook, HookOptions, Verifier
from gms_hookd.web.gms_hook import GmsHook
from gms_hookd.web.guard import Forwarders, Guard
from gms_hookd.web.routes import App, Policy, templates
from gms_hookd.workers.conditions import Conditions, Senses
from gms_hookd.workers.counters import Counters
from gms_hookd.workers.notifier import Notifier, Recipient
from gms_hookd.workers.reconciler import Reconciler
from gms_hookd.workers.retry import RetryPolicy
from gms_hookd.workers.running import (
    Context,
    DaemonState,
    Inspected,
    RunningRuns,
    no_daemon,
)
from gms_hookd.workers.scheduler import Scheduler
from gms_hookd.workers.worker import Rules, Worker


def _free(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _size(database: Path) -> int | None:
    """Return the bytes of the store with its -wal."""
    wal = database.with_name(f"{database.name}-wal")
    try:
        return database.stat().st_size + (wal.stat().st_size if wal.exists() else 0)
    except OSError:
        return None


log = logging.getLogger(__name__)
LONGEST_END = 30.0  # seconds that a thread gets to end once its run has


class Service:
    """The store, the engine and the workers of one state directory."""

    def __init__(
        self,
        state: StateDirectory,
        config: Config,
        store: Store,
        environ: Mapping[str, str],
        threads: Threads,
        *,
        reload: Callable[[], Future[list[str]]],
    ) -> None:
        self.state, self.config, self.threads = state, config, threads
        self.pools = Pools(threads)
        self.running = RunningRuns(threads=threads)
        self.counters = _counters()
        self.mask = Mask()
        self.written: Callable[[Collection[Name]], Config] | None = None
        self.condition = DaemonState()
        self._environ = environ
        self._stopping, self._ending = threading.Event(), Stop()
        self._working: list[Supervised] = []
        self._buckets: dict[str, Buckets] = {}
        self._engines = self._make_engines()
        self._rules = self._make_rules(config)
        self.context = self._make_context(store, reload)
        self._notifier = self._make_notifier()
        self.context = replace(self.context, test_notice=self._notifier.test)
        self.housekeeping = self._make_housekeeping()
        watched = self.context, threads, state.path, self._stopping
        self.health = Health(*watched, state.is_held)
        self._conditions = self._make_conditions()
        self.app = App(self._context(config), self._policy(config))

    def _make_engines(self) -> Engines:
        count = self.counters.git.add
        return Engines(
            self.state, self.pools.checks, fetched=self.running.fetched, count=count
        )

    def _make_context(
        self, store: Store, reload: Callable[[], Future[list[str]]]
    ) -> Context:
        return Context(
            store,
            Refusals(store),
            self.running,
            self.pools.plans,
            self.pools.copies,
            self.pools.looks,
            self._rules.engine,
            ending=self._ending,
            reload=reload,
            condition=self._look,
            inspect=self._inspect,
            counters=self.counters,
        )

    def _make_notifier(self) -> Notifier:
        return Notifier(
            lambda: self.context,
            lambda: self._recipients,
            self.pools.notices,
            lambda run, task: views.subject(run, task, self.config.sync.attempts),
            self._stopping,
            pages=self._pages,
        )

    def _make_housekeeping(self) -> Housekeeping:
        return Housekeeping(
            lambda: self.context,
            lambda: self.config.retention,
            lambda: self._rules.engine,
            caches=self.state.caches,
            environ=self._environ,
            stopping=self._stopping,
        )

    def _make_conditions(self) -> Conditions:
        senses = Senses(
            lambda: self.config.stalled,
            lambda: _free(self.state.path),
            lambda: self.health.found,
            self._listening,
            self._notifier.tell_now,
        )
        return Conditions(lambda: self.context, senses, self._stopping)

    @classmethod
    def open(
        cls,
        config: Config,
        state: StateDirectory,
        environ: Mapping[str, str],
        reload: Callable[[], Future[list[str]]] = no_daemon,
    ) -> "Service":
        """Open the store and give back what a dead process was running.

        `reload` is how a daemon is asked to read its configuration again. StoreError
        if the store cannot be opened.
        """
        threads = Threads()
        store = Store.open(state.database, threads)
        service = cls(state, config, store, environ, threads, reload=reload)
        now, listening = service.context.now(), service.running.subscribers
        recovered = store.write(runs.recover, now, subscribers=listening)
        again, ended = recovered.result()
        for run_id in again:
            log.warning("run recovered run=%d", run_id)
        for run_id in ended:
            run = store.read(runs.get, run_id).result()
            line = "run ended at the start run=%d status=%s error=%s"
            log.error(line, run_id, run.status.value, reason(run.error_message))
            service.context.tell_ended([run])
        return service

    def adopt(self, config: Config) -> None:
        """Use another configuration from now on; what is under way keeps the old."""
        self._rules = self._make_rules(config)
        self.app.adopt(self._context(config), self._policy(config))
        self.config = config
        self._share()

    def _share(self) -> None:
        """Tell how many runs each host gets; the number of workers stays."""
        self.running.hosts.share(self.health.workers, self.config.sync.per_host)

    def _make_rules(self, config: Config) -> Rules:
        environ = systemd.scrubbed(self._environ)
        # The old ones too: what is under way may know them yet.
        self.mask = self.mask.plus(secrets_of(config, environ))
        engine = self._engines.exchange(config, environ, self.mask)
        retry = RetryPolicy(attempts=config.sync.attempts)
        named = [_recipient(each) for each in config.notify]
        senders = [_sender(hook) for hook in config.hooks if hook.callback]
        self._recipients = {each.target.name: each for each in (*named, *senders)}
        self.running.subscribers = tuple(each.subscriber for each in named)
        return Rules(engine, retry, config.sync.timeout, config.sync.trust)

    def _context(self, config: Config) -> Context:
        self.context = replace(
            self.context,
            engine=self._rules.engine,
            timeout=config.sync.timeout,
            attempts=config.sync.attempts,
            backups=config.retention.backups,
            protocols=config.sync.allow_protocols,
            trust_owners=config.sync.trust_owners,
            shard=config.server.shard,
            hooks=(config.webhook.name, *(hook.name for hook in config.hooks)),
            mask=self.mask,
            targets=tuple(self._recipients),
        )
        return self.context

    def _policy(self, config: Config) -> Policy:
        self._proxies = Whitelist(config.server.trusted_proxies)
        self._forwarders = Forwarders()
        own = GmsHook(self._guard(config, config.webhook), self.context)
        forges = {
            hook.name: self._forge(config, hook)
            for hook in config.hooks
            if hook.secrets
        }
        self.counters.expect([own.guard.hook, *forges], self._recipients)
        reading = (config.api.read_token,) if config.api.read_token else ()
        return Policy(
            {own.guard.hook: own},
            Tokens(config.api.tokens, reading),
            self.health.ask,
            forges,
            anonymous=self._guard(config, replace(config.webhook, name="")),
            described={each.name: each for each in described(config)},
        )

    def _listening(self, condition: str) -> tuple[str, ...]:
        """Name the targets that are told of a trouble of the daemon."""
        every = self.running.subscribers
        return tuple(each.name for each in every if condition in each.events)

    def _pages(self) -> str:
        """Return the address of the status pages, "" while they are not shown."""
        shown = self.config.server.public_url and self.config.api.read_token
        return f"{self.config.server.public_url}/status" if shown else ""

    def _look(self) -> Future[DaemonState]:
        """Return how the process fares now; without workers nobody looks for it."""
        works = self.health.workers > 0
        problems = self.health.ask() if works else done(self._lost())
        return apply(problems, self._as_found)

    def _inspect(self, known: Inspected) -> Future[list[dict[str, Any]]]:
        """Judge as this process all that `check` looks at; in a thread of its own."""
        return self.pools.inspections.do(partial(self._findings, known))

    def _findings(self, known: Inspected) -> list[dict[str, Any]]:
        load = self.written
        config, wrong = faults(load) if load else (self.config, [])
        condition = known.condition
        running = condition.since is not None
        place = Environment(
            self._environ,
            self.state.path,
            daemon=running,
            unready=condition.problems,
            warnings=condition.warnings,
            listeners=condition.listeners,
            descriptors=descriptors() if running else attainable_descriptors(),
            config=config,
            used=self.config if load else None,
            tasks=[asdict(task) for task in known.tasks],
            problem=known.problem or None,
            faults=wrong,
            restart_for=condition.restart_for,
            reach=partial(reach, engine=self._rules.engine, pool=self.pools.reach),
            refusal=condition.refusal,
            latest={h.name: known.latest.get(h.name) for h in config.hooks},
            told={name: known.notices.get(name, NOBODY) for name in self._recipients},
        )
        return [asdict(each) for each in findings(place)]

    def _lost(self) -> list[str]:
        lost = self.context.store.lost
        return [f"store: {lost}"] if lost else []

    def _as_found(self, problems: list[str]) -> DaemonState:
        caches, git = self.housekeeping.measured
        return replace(
            self.condition,
            caches=caches,
            git=git,
            workers=self.health.workers,
            problems=tuple(problems),
            warnings=tuple(self._forwarders.warnings),
            disk_free=_free(self.state.path),
            database=_size(self.state.database),
            usage=usage(),
        )

    def _forge(self, config: Config, hook: HookConfig) -> ForgeHook:
        scheme = scheme_of(hook.provider, hook.scheme, hook.secrets, hook.options)
        verifier = Verifier(FORGES[hook.provider], scheme, hook.secrets)
        options = HookOptions(
            tasks=hook.tasks,
            aliases=config.aliases,
            limited=hook.rate_limit is not None,
            bodies=config.retention.bodies is not None,
            callback=hook.callback,
            when=hook.when,
            subscribers=self.running.subscribers,
            shard=config.server.shard,
        )
        return ForgeHook(self._guard(config, hook), verifier, options, self.context)

    def _guard(self, config: Config, hook: HookConfig) -> Guard:
        rate = hook.rate_limit
        if rate is None:
            rate = config.webhook.rate_limit or 0
        buckets = self._buckets.get(hook.name)
        if buckets is None or buckets.per_minute != rate:
            buckets = self._buckets[hook.name] = Buckets(rate)
        return Guard(
            hook=hook.name,
            provider=hook.provider,
            keys=hub_keys(hook.secrets),
            whitelist=Whitelist(hook.ip_whitelist),
            proxies=self._proxies,
            buckets=buckets,
            forwarders=self._forwarders,
        )

    def trusts(self, peer: str) -> bool:
        """Tell whether the peer is one of our own proxies."""
        return self._proxies.covers(peer)

    def start(self, count: int) -> None:
        """Start so many workers, and what looks after sources, store and caches.

        Raises ThreadError.
        """
        self.health.workers = count
        self._share()
        for number in range(count):
            worker = Worker(self.context, lambda: self._rules, self._stopping)
            self._start(f"worker-{number}", worker.run_forever)
        reconciler = Reconciler(
            self.context,
            self.pools.checks,
            lambda: self._rules.engine,
            lambda: self.config.sync.reconcile,
            self._stopping,
        )
        self._start("reconcile", reconciler.run_forever)
        self._start("scheduler", Scheduler(self.context, self._stopping).run_forever)
        self._start("notices", self._notifier.run_forever)
        self._start("conditions", self._conditions.run_forever)
        self._start("upkeep", self.housekeeping.run_forever)
        self._start("health", self.health.run_forever)

    def _start(self, name: str, work: Callable[[Supervised], None]) -> None:
        self._working.append(self.threads.start(name, work))

    def carry_out(self, run_id: int) -> Supervised:
        """Carry out one queued run in a thread of its own."""
        worker = Worker(self.context, lambda: self._rules, self._stopping)
        return self.threads.start(f"run-{run_id}", lambda _: worker.run_only(run_id))

    def stop(self, grace: float, hurry: Callable[[], bool] = lambda: False) -> None:
        """End the workers: running syncs get `grace` seconds, then go back."""
        self._stopping.set()
        self.threads.close()
        self._ending.set("shutdown")
        self.running.wake_all()
        self.health.end()
        self._notifier.end()
        until = time.monotonic() + grace
        while self.running.under_way and time.monotonic() < until and not hurry():
            self._stop_turn(until)
        self.running.stop_all("shutdown")
        for thread in self._working:
            thread.join(LONGEST_END)

    def _stop_turn(self, until: float) -> None:
        wakes = self.running.wakes
        if self.running.under_way:
            self.running.await_wake(wakes, min(0.5, max(until - time.monotonic(), 0)))

    def close(self) -> None:
        """Close what `open` opened; the state directory stays locked."""
        self._stopping.set()
        self.threads.close()
        self.running.close()
        self._ending.set("shutdown")
        self.pools.close(LONGEST_END)
        self._engines.close()
        self.context.store.close()


def _counters() -> Counters:
    counters = Counters()
    counters.requests.expect_all(templates(), ["200"])
    return counters


def _sender(hook: HookConfig) -> Recipient:
    """Return who sent the deliveries of a hook, as one who hears how they ended."""
    name = dockerhub.target_name(hook.name)
    target = Target(name, dockerhub.NAME, url="")
    return Recipient(target, Subscriber(name, frozenset()))


def _recipient(config: NotifyConfig) -> Recipient:
    """Return a target as the notifier knows it."""
    target = Target(
        config.name, config.kind, config.url, config.secrets, config.options
    )
    subscriber = Subscriber(
        config.name,
        config.events,
        config.tasks or (),
        heartbeat=config.kind == "ping",
        remind=int(config.remind * 1000),
    )
    return Recipient(
        target,
        subscriber,
        language=config.language,
        fallback=config.fallback,
        proxy=config.proxy,
        ca_file=config.ca_file,
        insecure=config.insecure,
    )
