"""git/: one git process, one repository, one cache. Knows refs and refspecs, no task.

Names: Git, Cache, Remote, GitUrl, GitError, Limits, Stop, Credential, Selection.
Owns subprocess (process.py). One owner at a time locks a cache; what a killed git
left behind is removed by the next one (recovery.py).

May import: errors, files, runlog, safetext.
"""
