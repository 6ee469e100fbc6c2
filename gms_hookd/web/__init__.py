"""web/: what a request means. Knows hooks, tasks and runs, no socket.

`guard` checks address, rate and signature for every hook, in the order of the contract;
`gms_hook` and `forge_hook` turn a delivery into runs; `api` has the calls of
/api/v1/sync, `calls` their table, by which requests are checked and `openapi` makes the
document; `status_page` finds what the pages for people show; `routes` leads a
request to one of them. Names: App, Policy, Guard.

May import: auth, contract, cron, errors, forges, futures, git, http, log, model,
notify, pages, payload, runlog, safetext, store, sync, threads, units, workers.
"""
