"""What each forge sends is read: events, refs and addresses, or refused in one line."""

import base64
import csv
import json
import random
from inspect import signature
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from gms_hookd.auth.schemes import Scheme
from gms_hookd.forges.base import Event, Forge
from gms_hookd.forges.registry import FORGES
from gms_hookd.payload import PayloadError, decode
from gms_hookd.web.matching import places
from tests.support.deliveries import (
    HTTPS,
    MAIN,
    OTHERS,
    PAGE,
    SENT,
    SSH,
    TAG,
    A,
    B,
    changed,
    github_like,
    mutants,
    paths,
    push,
)
from tests.support.proofs import BODY, PAYLOADS, PROVIDERS, SECRET, hexed, verify


def test_every_provider_of_the_contract_is_there_under_its_own_name():
    assert set(FORGES) == PROVIDERS
    assert all(name == forge.NAME for name, forge in FORGES.items())


@pytest.mark.parametrize("provider", FORGES)
def test_every_provider_has_the_shape_of_a_forge(provider):
    forge = FORGES[provider]
    assert all(isinstance(scheme, Scheme) for scheme in forge.SCHEMES.values())
    assert isinstance(forge.EVENTS, str)
    for name in ("parse", "sample"):
        own, wanted = signature(getattr(forge, name)), signature(getattr(Forge, name))
        assert list(own.parameters.values()) == list(wanted.parameters.values())[1:]
        assert own.return_annotation is wanted.return_annotation


def test_a_provider_that_is_not_there_is_no_module():
    assert "base" not in FORGES
    with pytest.raises(KeyError):
        FORGES["base"]


def test_github_signs_the_form_and_gitea_the_json_inside_it():
    body = b"payload=" + quote_plus(BODY).encode()
    form = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    outer = {**form, "x-hub-signature-256": "sha256=" + hexed(SECRET, body)}
    assert verify("github", None, [SECRET], outer, body)
    for provider in ("gitea", "forgejo", "gogs"):
        header = f"x-{provider}-signature"
        inner = {**form, header: hexed(SECRET, BODY)}
        assert verify(provider, None, [SECRET], inner, body)
        assert not verify(
            provider, None, [SECRET], {**form, header: hexed(SECRET, body)}, body
        )
        assert not verify(provider, None, [SECRET], inner, body + b"&payload=%7B%7D")
    assert decode(form, body) == json.loads(BODY)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x=1",
        b"payload",
        b"payload={}&x=1",
        b"x=1&payload={}",
        b"payload=%ff",
        b'{"message": "&payload=%7B%7D"}',
    ],
)
def test_a_form_of_anything_but_the_one_field_is_refused(body):
    with pytest.raises(PayloadError):
        decode({"content-type": "application/x-www-form-urlencoded"}, body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"NaN",
        b'{"a": Infinity}',
        b"\xff\xfe{}",
        b'"\xff"',
        b"[" * 500_000,
        b"1" * 5000,
        '{"a":1}'.encode("utf-16"),
    ],
)
def test_what_is_no_strict_json_is_refused_in_one_line(body):
    with pytest.raises(PayloadError) as refused:
        decode({}, body)
    assert "\n" not in str(refused.value)


def test_duplicate_keys_are_tolerated_and_the_last_one_wins():
    assert decode({"content-type": "application/json"}, b'{"a":1,"a":2}') == {"a": 2}


def understood(event):
    return {change.ref: change.kind.value for change in event.changes}


@pytest.mark.parametrize("sent", SENT, ids=lambda s: f"{s.provider}-{s.name}")
def test_each_delivery_is_understood(sent):
    event = FORGES[sent.provider].parse(sent.headers, sent.payload)
    assert understood(event) == sent.changes
    assert event.everything is sent.everything
    assert (sent.ignored or "None") in str(event.ignored)
    if "ref" in sent.payload and sent.changes:
        assert HTTPS in event.urls


def test_ids_and_force_are_read_where_they_are_told():
    event = FORGES["github"].parse(
        {"x-github-event": "push", "x-github-delivery": "guid"},
        github_like(**push(MAIN, forced=True)),
    )
    (change,) = event.changes
    assert (change.before, change.after, change.forced) == (A, B, True)
    assert event.delivery_key == "guid"
    assert event.urls == (HTTPS, SSH, PAGE)


def test_ids_of_sha256_repositories_are_ids():
    old, new = "a" * 64, "0" * 64
    event = FORGES["gitea"].parse({"x-gitea-event": "push"}, push(MAIN, old, new))
    (change,) = event.changes
    assert (change.kind.value, change.before, change.after) == ("deleted", old, None)


def test_the_website_that_a_github_repository_names_is_not_its_address():
    payload = github_like(**push(MAIN))
    payload["repository"]["homepage"] = "https://github.com/victim/app"
    event = FORGES["github"].parse({"x-github-event": "push"}, payload)
    assert not any("victim" in url for url in event.urls)


def test_bitbucket_server_without_addresses_is_known_by_its_path():
    repository = {"slug": "app", "project": {"key": "TEAM"}}
    old = {"repository": repository, "changes": []}
    headers = {"x-event-key": "repo:refs_changed"}
    event = FORGES["bitbucket-server"].parse(headers, old)
    assert event.urls == ("*:TEAM/app", "*:scm/TEAM/app")
    page = "https://git.example.org/ctx/projects/TEAM/repos/app/browse"
    repository["links"] = {"self": [{"href": page}]}
    event = FORGES["bitbucket-server"].parse(headers, old)
    assert event.urls[0] == "https://git.example.org/ctx/scm/TEAM/app.git"


@pytest.mark.parametrize(
    "url",
    [
        "https://ann@dev.azure.com/org/Proj/_git/app",
        "https://org.visualstudio.com/DefaultCollection/Proj/_git/app",
    ],
)
def test_azure_repositories_are_known_by_all_their_addresses(url):
    resource = {"repository": {"remoteUrl": url}, "refUpdates": []}
    event = FORGES["azuredevops"].parse(
        {}, {"eventType": "git.push", "resource": resource}
    )
    assert places(event.urls) == places(["git@ssh.dev.azure.com:v3/org/Proj/app"])


RENAMES = [
    (
        "github",
        {"x-github-event": "repository"},
        github_like(
            action="renamed", changes={"repository": {"name": {"from": "old"}}}
        ),
        "https://forge.example.org/team/old.git",
    ),
    (
        "github",
        {"x-github-event": "repository"},
        github_like(
            action="transferred",
            changes={"owner": {"from": {"user": {"login": "ann"}}}},
        ),
        "https://forge.example.org/ann/app.git",
    ),
    (
        "github",
        {"x-github-event": "repository"},
        github_like(action="edited", changes={"default_branch": {"from": "master"}}),
        HTTPS,
    ),
    (
        "gitlab",
        {"x-gitlab-event": "System Hook", "x-gitlab-instance": "https://g.example.org"},
        {
            "event_name": "project_rename",
            "path_with_namespace": "team/app",
            "old_path_with_namespace": "team/old",
        },
        "https://g.example.org/team/old",
    ),
    (
        "gitlab",
        {"x-gitlab-event": "System Hook"},
        {
            "event_name": "project_transfer",
            "path_with_namespace": "team/app",
            "old_path_with_namespace": "ann/app",
        },
        "*:ann/app",
    ),
    (
        "bitbucket-cloud",
        {"x-event-key": "repo:updated"},
        {
            "repository": {"full_name": "team/app"},
            "changes": {"full_name": {"old": "team/old", "new": "team/app"}},
        },
        "https://bitbucket.org/team/old",
    ),
    (
        "bitbucket-server",
        {"x-event-key": "repo:modified"},
        {
            "old": {"slug": "old", "project": {"key": "T"}},
            "new": {"slug": "app", "project": {"key": "T"}},
        },
        "*:scm/T/old",
    ),
]


@pytest.mark.parametrize(("provider", "headers", "payload", "former"), RENAMES)
def test_a_repository_that_moves_says_where_it_was(provider, headers, payload, former):
    event = FORGES[provider].parse(headers, payload)
    assert former in event.former
    assert " is now " in event.warning
    assert event.ignored
    assert not event.changes
    assert not event.everything


@pytest.mark.parametrize(
    ("payload", "tasks"),
    [
        ({"task_id": 7}, (7,)),
        ({"task": "app"}, ("app",)),
        ({"task": 7}, (7,)),
        ({"data": {"task_id": 7}}, (7,)),
        ({"task_id": True}, ()),
        ({"task_id": 0}, ()),
        ({"task_id": 1 << 70}, ()),
        ({"task_id": 1.0}, ()),
        ({"task": "\ud800"}, ()),
        ({}, ()),
    ],
)
def test_a_generic_payload_may_name_the_task(payload, tasks):
    event = FORGES["generic"].parse({}, payload)
    assert event.tasks == tasks


def test_docker_hub_names_image_and_callback():
    sent = next(s for s in SENT if s.provider == "dockerhub")
    event = FORGES["dockerhub"].parse({}, sent.payload)
    assert event.name == "push team/app:latest"
    assert event.callback.startswith("https://registry.hub.docker.com/")


def test_an_envelope_may_carry_its_body_as_text():
    inner = json.dumps({"repository": HTTPS, "ref": TAG})
    for body in (inner, base64.b64encode(inner.encode()).decode()):
        event = FORGES["argo-events"].parse(
            {}, {"context": {"id": "1"}, "data": {"body": body}}
        )
        assert understood(event) == {TAG: "updated"}
        assert event.delivery_key == "1"


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_the_sample_of_each_forge_is_understood_as_its_push(provider):
    for ref in (MAIN, TAG):
        sample = FORGES[provider].sample(HTTPS, ref)
        event = FORGES[provider].parse(
            sample.headers, json.loads(json.dumps(sample.payload))
        )
        image = provider in {"dockerhub", "msr"}
        assert event.everything if image else list(understood(event)) == [ref]
        assert image or HTTPS in event.urls


def assert_storable(event):
    assert isinstance(event, Event)
    texts = [
        event.name,
        event.delivery_key,
        event.ignored,
        event.warning,
        event.callback,
    ]
    texts += [*event.urls, *event.former, *(c.ref for c in event.changes)]
    for text in filter(None, [*texts, *(t for t in event.tasks if isinstance(t, str))]):
        assert text.encode().splitlines() == [text.encode()]
        assert len(text) < 5000
    assert len(event.changes) <= 1000
    assert len(event.urls) <= 50


@pytest.mark.parametrize("sent", SENT, ids=lambda s: f"{s.provider}-{s.name}")
def test_no_mutated_payload_raises_or_names_a_ref_that_was_not_there(sent):
    forge = FORGES[sent.provider]
    for payload in mutants(sent.payload):
        event = forge.parse(sent.headers, payload)
        assert_storable(event)
        allowed = {*sent.changes, MAIN, "refs/heads/x", "refs/tags/x"}
        assert set(understood(event)) <= allowed | {"refs/heads/v1.0", "refs/tags/main"}


def test_no_payload_at_all_raises_with_any_headers():
    random.seed(7)
    events = sorted({v for s in SENT for v in s.headers.values()})
    names = sorted({k for s in SENT for k in s.headers})
    values = [*events, "", "x" * 5000, "\x00", "é"]
    for forge in FORGES.values():
        for other in OTHERS:
            headers = {n: random.choice(values) for n in names if random.random() < 0.5}
            assert_storable(forge.parse(headers, other))


def recorded():
    if not PAYLOADS:
        return []
    with Path(PAYLOADS, "INDEX.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [row for row in rows if row["provider"] in FORGES]


@pytest.mark.skipif(not PAYLOADS, reason="GMS_HOOKD_PAYLOADS names no folder")
@pytest.mark.parametrize("row", recorded(), ids=lambda r: r["file"])
def test_every_body_of_the_folder_is_understood(row):
    headers = {
        k.lower(): v for k, v in json.loads(row["headers"]).items() if k[0] != "_"
    }
    payload = decode(headers, Path(PAYLOADS, row["file"]).read_bytes())
    event = FORGES[row["provider"]].parse(headers, payload)
    assert_storable(event)
    assert event.ignored or event.everything or event.changes


@pytest.mark.skipif(not PAYLOADS, reason="GMS_HOOKD_PAYLOADS names no folder")
def test_no_mutant_of_a_recorded_body_raises():
    random.seed(3)
    for row in recorded():
        payload = decode({}, Path(PAYLOADS, row["file"]).read_bytes())
        headers = {k.lower(): v for k, v in json.loads(row["headers"]).items()}
        for path in random.sample(
            list(paths(payload)), min(40, len(list(paths(payload))))
        ):
            for other in OTHERS:
                mutant = changed(payload, path, other)
                assert_storable(FORGES[row["provider"]].parse(headers, mutant))


ODD = [
    "功能/登录", "新\u3000功能", "a\u00a0b", "👨\u200d💻", "\U00031350", "\ue5e5",
    "a\u0085b", "a\u2028b", "a\u202eb", "\u00adx",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_a_ref_may_have_any_name_that_git_takes(name):
    ref = f"refs/heads/{name}"
    bitbucket = {"type": "branch", "name": name, "target": {"hash": B}}
    sent = [
        ("github", {"x-github-event": "push"}, push(ref)),
        ("gitea", {"x-gitea-event": "push"}, push(ref)),
        ("gogs", {"x-gogs-event": "delete"}, {"ref": name, "ref_type": "branch"}),
        ("gitlab", {"x-gitlab-event": "Push Hook"}, push(ref)),
        ("generic", {}, {"ref": name}),
        ("coding", {"x-coding-event": "push"}, push(name)),
        ("bitbucket-cloud", {"x-event-key": "repo:push"},
         {"push": {"changes": [{"old": None, "new": bitbucket}]}}),
        ("bitbucket-server", {"x-event-key": "repo:refs_changed"},
         {"changes": [{"refId": ref, "fromHash": A, "toHash": B}]}),
        ("azuredevops", {}, {"eventType": "git.push", "resource": {"repository": {},
         "refUpdates": [{"name": ref, "oldObjectId": A, "newObjectId": B}]}}),
    ]  # fmt: skip
    for provider, headers, payload in sent:
        event = FORGES[provider].parse(headers, json.loads(json.dumps(payload)))
        assert list(understood(event)) == [ref], provider


@pytest.mark.parametrize("told", [
    push("feature/x"), push("heads/x"), push(None), push(7), push([MAIN]), push(""),
    push("\ud83d"), push("x" * 3000), {}, {"before": A, "after": B},
], ids=lambda told: ascii(str(told.get("ref")))[:20])  # fmt: skip
def test_a_push_whose_ref_cannot_be_read_may_have_changed_anything(told):
    for provider, header in (("github", "github"), ("gitea", "gitea")):
        event = FORGES[provider].parse({f"x-{header}-event": "push"}, told)
        assert event.everything
        assert not event.ignored


@pytest.mark.parametrize("ids", [
    (None, None), ("", ""), (1, 2), (A, None), (None, B), ("x", "y"), (A[:7], B[:7]),
    (A.upper(), B.upper()), ("sha1:" + A, B), ([], {}),
], ids=str)  # fmt: skip
def test_a_push_with_odd_ids_is_a_push_of_its_ref(ids):
    event = FORGES["github"].parse({"x-github-event": "push"}, push(MAIN, *ids))
    assert list(understood(event)) == [MAIN]
    assert event.changes[0].after in (None, B.lower())


@pytest.mark.parametrize(
    "listed", [None, {}, "x", [], [None], [{"name": 7}], [{}] * 1001]
)
def test_a_list_of_changes_that_cannot_be_read_may_be_anything(listed):
    cloud = {"x-event-key": "repo:push"}, {"push": {"changes": listed}}
    server = {"x-event-key": "repo:refs_changed"}, {"changes": listed}
    resource = {"repository": {"remoteUrl": HTTPS}, "refUpdates": listed}
    azure = {}, {"eventType": "git.push", "resource": resource}
    several = {
        "bitbucket-cloud": cloud,
        "bitbucket-server": server,
        "azuredevops": azure,
    }
    for provider, sent in several.items():
        assert FORGES[provider].parse(*sent).everything, provider
