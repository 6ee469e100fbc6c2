"""Fixtures: a clock of our own, a real store, real repositories."""

import pytest

from gms_hookd.store import Store


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path / "gms-hookd.db")
    yield opened
    opened.close()
