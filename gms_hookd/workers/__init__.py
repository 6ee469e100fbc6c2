"""workers/: the threads that carry out runs and look after sources and notices.

Names: Worker, Reconciler, Scheduler, Context (what every handler has at hand),
RunningRuns.

    queued -> claim -> running -> success | conflict | failed | cancelled
                 ^         |
                 +- retry -+ (transient, attempts left; or the daemon stopped)

May import: cron, errors, futures, git, http, log, model, notify, payload,
runlog, safetext, store, sync, threads, units.
"""
