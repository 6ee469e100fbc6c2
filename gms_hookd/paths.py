"""The paths that the server and its clients must spell alike, as the contract has them.

Webhooks are posted below `HOOKS`; what became of their runs is read below `RUNS`. The
calls of the API are below `API`.
"""

HOOKS = "/api/webhooks/"
RUNS = f"{HOOKS}runs/"
API = "/api/v1/sync/"
