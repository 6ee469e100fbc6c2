"""gms/: what Git Manage Service and its successors store, and what a task means there.

`records` reads their sqlite3 file, or the JSON of a running one; `meaning` makes of
each record what `task/import` takes, or says why there is no such task here. Secrets
are never read.
Names: read_file, read_documents, Records, GmsError, meaning, ImportedTask, Skipped,
tables.

May import: cron, errors, git, model, payload, safetext, store.
"""
