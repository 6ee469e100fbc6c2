"""How a delivery ended, told to Docker Hub: what, when, how often; to nobody else."""

import json
import sqlite3
from contextlib import closing

import pytest

from gms_hookd.errors import Conflict
from gms_hookd.forges import dockerhub
from gms_hookd.model import RunStatus
from gms_hookd.notify.base import Target
from gms_hookd.notify.policy import Subscriber
from gms_hookd.store import Store, deliveries, notices
from gms_hookd.web.forge_hook import HookOptions
from gms_hookd.workers.notifier import Recipient
from tests.support import older
from tests.support.deliveries import SENT
from tests.support.vendor import Vendor
from tests.web.test_forge_hook import Forge
from tests.workers.test_notifier import office

__all__ = ["office"]  # fixtures
IMAGE = next(s for s in SENT if s.provider == "dockerhub").payload
URL = IMAGE["callback_url"]
NAME = "dockerhub:in"
HUB = Recipient(Target(NAME, "dockerhub", ""), Subscriber(NAME, frozenset()))


class Hub:
    """A hook of Docker Hub; who takes its outcomes stands in Docker Hub's place."""

    def __init__(self, context, office, vendor, **terms):
        terms = HookOptions(tasks=("app",), **{"callback": True, **terms})
        self.office, self.vendor = office(HUB), vendor
        self.hook = Forge(context, "dockerhub", terms=terms)

    def deliver(self, status=None, url=None):
        """Deliver, and have the run end; the outcome goes to the vendor."""
        _, told = self.hook.send({}, IMAGE)
        wanted = url or self.vendor.url
        query = "UPDATE notices SET url=? WHERE status='waiting'"
        self.do(lambda db: db.execute(query, (wanted,)))
        if status:
            self.hook.end(told["run_ids"][0], status)
        return told

    def do(self, operation):
        return self.office.context.store.write(operation).result()

    def told(self):
        return [json.loads(got.body) for got in self.vendor.got]


@pytest.fixture
def hub(context, office, vendor):
    return Hub(context, office, vendor)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (RunStatus.SUCCESS, "success"),
        (RunStatus.CONFLICT, "failure"),
        (RunStatus.FAILED, "failure"),
    ],
)
def test_the_outcome_is_told_once_and_its_address_forgotten(hub, status, state):
    hub.deliver(status)
    hub.office.send()
    hub.office.send(60)
    told = {"state": state, "description": status.value, "context": "gms-hookd"}
    assert hub.told() == [told]
    (row,) = hub.office.outbox.listed()
    assert (row.target, row.event, row.status) == (NAME, "ended", "sent")
    assert row.url is None
    with pytest.raises(Conflict, match="was taken"):
        hub.do(lambda db: notices.resend(db, row.key, (NAME,), 1))


def test_nothing_is_told_while_a_run_has_not_ended(hub):
    told = hub.deliver()
    hub.office.send()
    assert hub.told() == []
    hub.hook.end(told["run_ids"][0], RunStatus.SUCCESS)
    hub.office.send()
    assert len(hub.told()) == 1


def test_the_address_is_the_deliverys_own(context, office, vendor):
    hub = Hub(context, office, vendor)
    hub.hook.send({}, IMAGE)
    (row,) = hub.office.outbox.listed()
    assert (row.url, row.delivery_id, row.task_id) == (URL, 1, None)


def test_nothing_is_told_unless_the_hook_says_so(context, office, vendor):
    hub = Hub(context, office, vendor, callback=False)
    hub.deliver(RunStatus.SUCCESS)
    assert hub.office.outbox.listed() == []


@pytest.mark.parametrize(("answer", "status"), [(500, "waiting"), (302, "dead")])
def test_an_answer_is_judged_as_everywhere_and_hides_the_address(
    hub, vendor, answer, status, caplog
):
    vendor.answer = answer, b"no such hook: /hook/T0K3N-of-vendor"
    hub.deliver(RunStatus.SUCCESS)
    hub.office.send()
    (row,) = hub.office.outbox.listed()
    assert (row.status, "no such hook" in row.error) == (status, True)
    assert "T0K3N" not in row.error + caplog.text
    if status == "waiting":
        vendor.answer = 200, b""
        hub.office.send(60)
        assert hub.office.statuses() == ["sent"]


def test_each_delivery_that_one_run_serves_is_answered(hub, vendor):
    other = Vendor()
    first = hub.deliver()
    hub.deliver(url=other.url)
    hub.do(lambda db: db.execute("UPDATE notices SET url=? WHERE number=1", (URL,)))
    query = "UPDATE notices SET url=? WHERE number=1"
    hub.do(lambda db: db.execute(query, (vendor.url,)))
    hub.hook.end(first["run_ids"][0], RunStatus.SUCCESS)
    hub.office.send()
    hub.office.send(1)
    other.stop()
    assert (len(vendor.got), len(other.got)) == (1, 1)


def test_a_hook_that_wants_no_outcome_any_more_drops_what_waits(hub):
    hub.deliver(RunStatus.SUCCESS)
    hub.office.recipients = {}
    hub.office.send()
    (row,) = hub.office.outbox.listed()
    assert (row.status, row.error) == ("dropped", "no hooks.in.callback is configured")


def test_it_cannot_be_tried_out(hub):
    with pytest.raises(Conflict, match="each delivery"):
        hub.office.notifier.test(NAME).result()


def test_what_waits_in_an_older_store_is_carried_over(tmp_path):
    path = tmp_path / "gms-hookd.db"
    with older.opened(path, 8) as store:
        new = deliveries.NewDelivery("hub", "dockerhub", "", 7)
        store.write(deliveries.record, new, 200, "", run_ids=(9,)).result()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO callbacks VALUES(1,?,3,90)", (URL,))
    with closing(Store.open(path)) as store:
        assert store.read(notices.due, 100).result() == ["dockerhub:hub"]
        (row,) = store.read(notices.latest, notices.Which(), 9).result()
        names = "SELECT name FROM sqlite_master WHERE name='callbacks'"
        gone = store.read(lambda db: db.execute(names).fetchall()).result()
    assert (row.url, row.attempts, row.delivery_id, row.run_id) == (URL, 3, 1, 9)
    assert (row.status, row.event, row.created_at) == ("waiting", "ended", 7)
    assert row.key.startswith("msg_")
    assert gone == []


@pytest.mark.parametrize(
    "url",
    [
        "http://registry.hub.docker.com/u/x/",
        "https://registry.hub.docker.com",
        "https://registry.hub.docker.com.example.org/",
        "https://registry.hub.docker.com:444/",
        "https://registry.hub.docker.com@example.org/",
        "https://user@registry.hub.docker.com/",
        "https://example.org/registry.hub.docker.com/",
        "https://registry.hub.docker.com\\@example.org/",
        "https://127.0.0.1/",
        "https://registry.hub.docker.com/ x",
        "https://registry.hub.docker.com/\r\nX: y",
        "file:///etc/passwd",
        "",
        None,
        7,
        ["https://registry.hub.docker.com/"],
    ],
)
def test_only_the_one_host_is_ever_called(url):
    assert dockerhub.callback_url({"callback_url": url}) is None
    assert dockerhub.callback_url({"callback_url": URL}) == URL
