"""All that a daemon loads late, loaded before it is wanted.

An upgrade may put another archive in the place of the one that we run from; what we
have not loaded by then we could not load any more.
"""

from gms_hookd import client, forgehook, miniyaml, sync
from gms_hookd.forges.table import FORGES

__all__ = ["client", "forgehook", "forges", "miniyaml", "sync"]

forges = tuple(FORGES.values())
