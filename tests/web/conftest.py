"""A task that a test's App holds."""

import pytest

from tests.support.wiring import call


@pytest.fixture
def task(app):
    wanted = {"name": "one", "source": "/srv/a", "target": "/srv/b"}
    wanted["source_branch"], wanted["target_branch"] = "main", "release"
    status, shown = call(app, "POST", "task/create", wanted)
    assert status == 200, shown
    return shown["data"]
