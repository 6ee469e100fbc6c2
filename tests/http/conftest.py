"""A server, and what it asks."""

import pytest

from tests.support.serving import Application, serving


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def server(application):
    with serving("127.0.0.1:0", application=application) as server:
        yield server
