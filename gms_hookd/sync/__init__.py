"""sync/: one attempt of one task. Knows no queue and no HTTP.

Fetch the source into the cache (fetch), class each ref (plan, pure), push under leases
(push), and sum up (job). Names: Engine, EngineSettings, SyncJob, SyncResult.

    noop? -> fetch -> read target -> plan -> guard -> push -> default branch -> result

May import: files, git, model, runlog, safetext.
"""
