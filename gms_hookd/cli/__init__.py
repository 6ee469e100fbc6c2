"""cli/: the commands. One module a command group; only the chosen one's is loaded.

`main` has the table of commands, `arguments` (owns argparse) what they take,
`session` what they have at hand, `api_client` the API over the control socket or in
this process, `terminal` and `render` how answers look.

May import: auth, config, cron, errors, files, forges, futures, git, gms, http, log,
model, paths, pyz, runlog, safetext, service, store, threads, units.
"""
