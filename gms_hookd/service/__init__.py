"""service/: one state directory in use. Wires everything together, by constructors.

`state_dir` holds the lock, `service` the store, engine and workers, `daemon` adds the
listeners and waits for signals, `systemd` speaks sd_notify.
Names: Service, serve, StateDirectory, state_dir.

May import: auth, config, contract, cron, errors, files, forges, futures, git, http,
log, model, notify, pages, safetext, store, sync, threads, web, workers.
"""
