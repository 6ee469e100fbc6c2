"""A store as an older version has left it."""

from contextlib import contextmanager

import pytest

from gms_hookd.store import Store, schema


@contextmanager
def opened(path, steps):
    """Open a store that has so many steps of the schema, and close it."""
    with pytest.MonkeyPatch.context() as before:
        before.setattr(schema, "STEPS", schema.STEPS[:steps])
        store = Store.open(path)
        try:
            yield store
        finally:
            store.close()


def made(path, steps):
    """Leave a new store of an older version; return its path."""
    with opened(path, steps):
        return path
