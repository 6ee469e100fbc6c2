"""git/: one git process, one repository, one cache. Knows refs and refspecs, no task.

Names: Git, Cache, Remote, GitUrl, GitError, Limits, Stop, Credential, Selection.
Owns subprocess (process.py). Runs work on a cache together, one of them fetching, and
maintenance alone (cache_lock.py). What a killed git left is removed (recovery.py).

May import: auth, errors, files, runlog, safetext, units.
"""
