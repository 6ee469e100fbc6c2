"""The upkeep of a service: what is too old or too much goes, the rest stays."""

import pytest

from gms_hookd.config.load import load_config
from gms_hookd.service.service import Service
from gms_hookd.service.state_dir import StateDirectory
from gms_hookd.store import deliveries, maintenance
from gms_hookd.store.deliveries import NewDelivery
from tests.support.repositories import ENVIRON


@pytest.fixture
def service(tmp_path):
    state = StateDirectory.open(tmp_path / "state")
    service = Service.open(load_config({}, state=state.path), state, ENVIRON)
    yield service
    service.close()
    state.close()


def test_the_upkeep_deletes_all_that_is_too_old_or_too_much(service, monkeypatch):
    for name, value in (("BATCH", 2), ("REFUSED", 3), ("IDLE", 4)):
        monkeypatch.setattr(maintenance, name, value)
    old, now = 0, service.context.now()
    came = [(old, 200)] * 5 + [(now, 401)] * 9 + [(now, 200)] * 9
    for moment, status in came:
        new_delivery = NewDelivery("task-sync", "gms", "192.0.2.1", moment)
        service.context.store.write(
            deliveries.record, new_delivery, status, "so"
        ).result()
    service.keep_up()
    left = service.context.store.read(deliveries.latest, None, 99).result()
    assert [each.id for each in left] == [23, 22, 21, 20, 14, 13, 12]
