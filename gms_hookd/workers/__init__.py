"""workers/: the threads that carry out runs and look after sources and callbacks.

Names: Worker, Reconciler, Context (what every handler has at hand), RunningRuns.

    queued -> claim -> running -> success | conflict | failed | cancelled
                 ^         |
                 +- retry -+ (transient, attempts left; or the daemon stopped)

May import: errors, futures, git, http, log, model, notify, payload, runlog, safetext,
store, sync, threads, units.
"""
