"""cli/: the commands. One module a command group; only the chosen one's is loaded.

`main` has the table of commands, `arguments` (owns argparse) what they take,
`session` what they have at hand, `api_client` the API over the control socket,
`in_process` the same where no daemon runs, `terminal` and `render` how answers look.
A command that asks the daemon loads nothing of what the daemon is made of.

May import: auth, config, contract, cron, errors, files, forges, futures, git, gms,
http, log, model, pyz, safetext, service, threads, units.
"""
