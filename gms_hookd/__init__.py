"""A signed webhook becomes a finished git sync: durable queue, git, one daemon.

The house, from the roof to the ground; each package imports only from those below it,
and its own first lines say which:

    cli        one module a command group; the terminal, the client of the API
    service    one state directory in use: wiring, daemon, systemd
    web        what a request means: hooks, API calls, the routes to them
    pages      what people see in a browser: values in, HTML out
    workers    threads that carry out runs and look after sources
    gms        what Git Manage Service stores, and what its tasks mean here
    config     the configuration: where values come from, what each may be
    sync       one attempt of one task: fetch, plan, push
    store      one sqlite3 file: tasks, runs, deliveries
    forges     what each provider sends: one module a provider
    git        one git process, one repository, one cache
    http       HTTP/1.1 over TCP, TLS and unix sockets; the client
    notify     whom to tell: one module a kind of target
    auth       signatures, schemes, addresses, rates
    safetext   text that is safe to log, to store and to show
    (modules)  errors contract model units payload files futures threads log runlog
               cron

The words are those of the contract: hook, delivery, task, run, attempt, source, target,
cache. A trigger's way: http.server -> web.routes -> web.gms_hook or web.forge_hook ->
store.runs (committed, then answered) -> workers.worker -> sync.engine -> git.
"""

__version__ = "1.0.0"
