"""Deliveries of the shape that each forge documents, written for these tests."""

import json
from dataclasses import dataclass, field

A, B, Z = "a" * 40, "b" * 40, "0" * 40
HTTPS = "https://forge.example.org/team/app.git"
SSH = "git@forge.example.org:team/app.git"
PAGE = "https://forge.example.org/team/app"
MAIN, TAG = "refs/heads/main", "refs/tags/v1.0"


@dataclass(frozen=True)
class Sent:
    """A delivery, and what it should be understood as: ref -> kind, or why not."""

    name: str
    provider: str
    headers: dict
    payload: object
    changes: dict = field(default_factory=dict)
    everything: bool = False
    ignored: str | None = None

    @property
    def body(self) -> bytes:
        return json.dumps(self.payload).encode()


def github_like(**fields):
    repository = {
        "id": 1,
        "name": "app",
        "full_name": "team/app",
        "clone_url": HTTPS,
        "ssh_url": SSH,
        "html_url": PAGE,
        "default_branch": "main",
        "created_at": 1700000000,
        "private": True,
    }
    return {"repository": repository, "sender": {"login": "ann"}, **fields}


def gitlab_like(**fields):
    project = {
        "id": 1,
        "path_with_namespace": "team/app",
        "git_http_url": HTTPS,
        "git_ssh_url": SSH,
        "web_url": PAGE,
        "default_branch": "main",
    }
    legacy = {
        "name": "app",
        "git_http_url": HTTPS,
        "git_ssh_url": SSH,
        "homepage": PAGE,
    }
    return {"project": project, "repository": legacy, "user_name": "Ann", **fields}


def push(ref, before=A, after=B, **fields):
    return {"ref": ref, "before": before, "after": after, "commits": [], **fields}


def short(name, kind):
    return {"ref": name, "ref_type": kind, "pusher_type": "user", "sha": A}


MERGED = {
    "action": "closed",
    "pull_request": {
        "merged": True,
        "base": {"ref": "main"},
        "merge_commit_sha": B,
        "head": {"repo": {"clone_url": PAGE + "-fork"}},
    },
}
GITLAB_MERGED = {
    "object_kind": "merge_request",
    "object_attributes": {
        "action": "merge",
        "target_branch": "main",
        "merge_commit_sha": B,
    },
}
UPDATED, CREATED, DELETED = "updated", "created", "deleted"
COMES_WITH = "the push that comes with"


def github():
    def sent(name, event, payload, **wanted):
        headers = {"x-github-event": event, "x-github-delivery": f"guid-{name}"}
        return Sent(name, "github", headers, github_like(**payload), **wanted)

    yield sent("branch", "push", push(MAIN, forced=True), changes={MAIN: UPDATED})
    yield sent("created", "push", push(MAIN, Z, created=True), changes={MAIN: CREATED})
    gone = push(MAIN, A, Z, deleted=True, head_commit=None)
    yield sent("deleted", "push", gone, changes={MAIN: DELETED})
    yield sent("tag", "push", push(TAG, Z), changes={TAG: CREATED})
    yield sent("tag-deleted", "push", push(TAG, A, Z), changes={TAG: DELETED})
    yield sent("create", "create", short("v1.0", "tag"), ignored=COMES_WITH)
    yield sent("delete", "delete", short("main", "branch"), ignored=COMES_WITH)
    yield sent("merge", "pull_request", MERGED, ignored=COMES_WITH)
    synchronize = {"action": "synchronize", "before": A, "after": B, "ref": MAIN}
    yield sent("synchronize", "pull_request", synchronize, ignored=COMES_WITH)
    yield sent("ping", "ping", {"zen": "Calm.", "hook_id": 1}, ignored="ping")
    yield sent("star", "star", {"action": "created"}, ignored="no ref")
    app_ping = {"zen": "Calm.", "hook": {"type": "App"}}
    headers = {"x-github-event": "ping"}
    yield Sent("app-ping", "github", headers, app_ping, ignored="ping")


def gitea_like(provider):
    def sent(name, event, payload, **wanted):
        headers = {
            f"x-{provider}-event": event,
            f"x-{provider}-delivery": f"id-{name}",
            "x-github-event": event,
            "x-gogs-event": event,
        }
        return Sent(name, provider, headers, github_like(**payload), **wanted)

    gogs = provider == "gogs"
    yield sent("branch", "push", push(MAIN), changes={MAIN: UPDATED})
    yield sent("created", "push", push(MAIN, Z), changes={MAIN: CREATED})
    yield sent("create", "create", short("main", "branch"), ignored=COMES_WITH)
    yield sent("deleted", "delete", short("main", "branch"), changes={MAIN: DELETED})
    if not gogs:
        yield sent("tag", "push", push(TAG, Z), changes={TAG: CREATED})
    told = {"changes": {TAG: CREATED}} if gogs else {"ignored": COMES_WITH}
    yield sent("create-tag", "create", short("v1.0", "tag"), **told)
    yield sent("full", "delete", short(MAIN, "branch"), changes={MAIN: DELETED})
    yield sent("tag-deleted", "delete", short("v1.0", "tag"), changes={TAG: DELETED})
    yield sent("test", "push", push(MAIN, A, A), ignored="test delivery")
    yield sent("test-empty", "push", push(MAIN, Z, Z), ignored="test delivery")
    yield sent("merge", "pull_request", MERGED, ignored=COMES_WITH)


def gitlab_clone(provider, header):
    def sent(name, event, payload, **wanted):
        return Sent(name, provider, {header: event}, gitlab_like(**payload), **wanted)

    yield sent("branch", "Push Hook", push(MAIN), changes={MAIN: UPDATED})
    gone = push(MAIN, A, Z, checkout_sha=None)
    yield sent("deleted", "Push Hook", gone, changes={MAIN: DELETED})
    yield sent("tag", "Tag Push Hook", push(TAG, Z), changes={TAG: CREATED})
    yield sent("tag-deleted", "Tag Push Hook", push(TAG, A, Z), changes={TAG: DELETED})
    yield sent("merge", "Merge Request Hook", GITLAB_MERGED, ignored=COMES_WITH)
    yield sent("note", "Note Hook", {"object_kind": "note"}, ignored="no ref")


def gitlab_system():
    def sent(name, payload, **wanted):
        headers = {"x-gitlab-event": "System Hook", "idempotency-key": f"id-{name}"}
        return Sent(
            f"system-{name}", "gitlab", headers, gitlab_like(**payload), **wanted
        )

    pushed = {"event_name": "push", **push(MAIN)}
    yield sent("push", pushed, changes={MAIN: UPDATED})
    changes = [
        {"ref": MAIN, "before": A, "after": B},
        {"ref": TAG, "before": Z, "after": B},
    ]
    bulk = {"event_name": "repository_update", "changes": changes, "refs": [MAIN, TAG]}
    yield sent("update", bulk, changes={MAIN: UPDATED, TAG: CREATED})
    none = {"event_name": "repository_update", "changes": [], "refs": []}
    yield sent("update-empty", none, everything=True)
    yield sent("key", {"event_name": "key_create"}, ignored="no ref")


def gitee():
    def sent(name, event, payload, ping="false", **wanted):
        headers = {
            "x-gitee-event": event,
            "x-git-oschina-event": event,
            "x-gitee-timestamp": "1700000000000",
            "x-gitee-ping": ping,
        }
        return Sent(name, "gitee", headers, github_like(**payload), **wanted)

    yield sent("branch", "Push Hook", push(MAIN), changes={MAIN: UPDATED})
    yield sent("newer-name", "push_hooks", push(MAIN), changes={MAIN: UPDATED})
    gone = push(MAIN, A, Z, deleted=True, total_commits_count=None)
    yield sent("deleted", "Push Hook", gone, changes={MAIN: DELETED})
    yield sent("tag", "Tag Push Hook", push(TAG, Z), changes={TAG: CREATED})
    yield sent("merge", "Merge Request Hook", {"action": "merge"}, ignored=COMES_WITH)
    yield sent("test", "push_hooks", push(MAIN), ping="true", ignored="test delivery")


def bitbucket_cloud():
    def sent(name, event, payload, **wanted):
        repository = {"full_name": "team/app", "links": {"html": {"href": PAGE}}}
        headers = {"x-event-key": event, "x-request-uuid": f"id-{name}"}
        body = {"repository": repository, **payload}
        return Sent(name, "bitbucket-cloud", headers, body, **wanted)

    def end(kind, name, oid):
        return {"type": kind, "name": name, "target": {"hash": oid, "type": "commit"}}

    def changed(*pairs):
        return {"push": {"changes": [{"old": old, "new": new} for old, new in pairs]}}

    one = changed((end("branch", "main", A), end("branch", "main", B)))
    yield sent("branch", "repo:push", one, changes={MAIN: UPDATED})
    three = changed(
        (end("branch", "main", A), end("branch", "main", B)),
        (None, end("branch", "x/y", B)),
        (end("annotated_tag", "v1.0", A), None),
    )
    wanted = {MAIN: UPDATED, "refs/heads/x/y": CREATED, TAG: DELETED}
    yield sent("several", "repo:push", three, changes=wanted)
    tag = changed((None, end("tag", "v1.0", B)))
    yield sent("tag", "repo:push", tag, changes={TAG: CREATED})
    gone = changed((end("branch", "main", A), None))
    yield sent("deleted", "repo:push", gone, changes={MAIN: DELETED})
    yield sent("none", "repo:push", changed(), everything=True)
    yield sent(
        "merge", "pullrequest:fulfilled", {"pullrequest": {}}, ignored=COMES_WITH
    )


def bitbucket_server():
    def sent(name, event, payload, **wanted):
        clone = [{"href": HTTPS, "name": "http"}, {"href": SSH, "name": "ssh"}]
        repository = {
            "slug": "app",
            "project": {"key": "TEAM"},
            "links": {"clone": clone},
        }
        headers = {"x-event-key": event, "x-request-id": f"id-{name}"}
        body = {"repository": repository, **payload}
        return Sent(name, "bitbucket-server", headers, body, **wanted)

    def change(ref, before, after, kind):
        return {
            "refId": ref,
            "fromHash": before,
            "toHash": after,
            "type": kind,
            "ref": {"id": ref, "type": "BRANCH"},
        }

    pushed = "repo:refs_changed"
    both = {"changes": [change(MAIN, A, B, "UPDATE"), change(TAG, Z, B, "ADD")]}
    yield sent("several", pushed, both, changes={MAIN: UPDATED, TAG: CREATED})
    one = {"changes": [change(MAIN, A, B, "UPDATE")]}
    yield sent("branch", pushed, one, changes={MAIN: UPDATED})
    tag = {"changes": [change(TAG, Z, B, "ADD")]}
    yield sent("tag", pushed, tag, changes={TAG: CREATED})
    gone = {"changes": [change(MAIN, A, Z, "DELETE")]}
    yield sent("deleted", pushed, gone, changes={MAIN: DELETED})
    yield sent("none", pushed, {"changes": []}, everything=True)
    limit = {"refLimitExceeded": True, "changes": []}
    yield sent("limit", "mirror:repo_synchronized", limit, everything=True)
    yield sent("merge", "pr:merged", {"pullRequest": {}}, ignored=COMES_WITH)
    headers = {"x-event-key": "diagnostics:ping"}
    yield Sent("ping", "bitbucket-server", headers, {"test": True}, ignored="ping")


def coding():
    def sent(name, header, event, payload, **wanted):
        headers = {header: event, "x-coding-delivery": f"id-{name}"}
        return Sent(name, "coding", headers, github_like(**payload), **wanted)

    v2, service = "x-coding-event", "x-coding-service-hook-event"
    yield sent("branch", v2, "push", push(MAIN), changes={MAIN: UPDATED})
    yield sent("v1", v2, "push", push("main"), changes={MAIN: UPDATED})
    gone = push(MAIN, A, Z, deleted=True)
    yield sent("service", service, "GIT_PUSHED", gone, changes={MAIN: DELETED})
    yield sent("merge", v2, "merge request", {"action": "merge"}, ignored=COMES_WITH)
    yield sent("ping", v2, "ping", {"zen": "Calm."}, ignored="ping")


def azure():
    def sent(name, kind, resource, **wanted):
        repository = {"name": "app", "remoteUrl": HTTPS, "sshUrl": SSH}
        body = {
            "id": f"id-{name}",
            "eventType": kind,
            "publisherId": "tfs",
            "resource": {"repository": repository, **resource},
        }
        return Sent(name, "azuredevops", {}, body, **wanted)

    def update(ref, before, after):
        return {"name": ref, "oldObjectId": before, "newObjectId": after}

    both = {"refUpdates": [update(MAIN, A, B), update(TAG, A, Z)]}
    yield sent("several", "git.push", both, changes={MAIN: UPDATED, TAG: DELETED})
    done = {"status": "completed", "targetRefName": MAIN}
    yield sent("merge", "git.pullrequest.merged", done, ignored=COMES_WITH)


def images():
    hub = {
        "callback_url": "https://registry.hub.docker.com/u/team/app/hook/1/",
        "push_data": {"pushed_at": 1.417566161e9, "tag": "latest", "pusher": "ann"},
        "repository": {"repo_name": "team/app", "status": "Active"},
    }
    yield Sent("image", "dockerhub", {}, hub, everything=True)
    contents = {"imageName": "team/app:latest", "tag": "latest"}
    body = {"type": "TAG_PUSH", "contents": contents}
    yield Sent("image", "msr", {}, body, everything=True)
    gone = {"type": "TAG_DELETE", "contents": contents}
    yield Sent("gone", "msr", {}, gone, ignored="not the push")


def relays():
    for provider in ("generic", "standard-webhooks", "svix", "convoy", "hookdeck"):
        body = {"repository": HTTPS, "ref": MAIN}
        yield Sent("ref", provider, {}, body, changes={MAIN: UPDATED})
        body = {"type": "x.pushed", "data": {"repository": HTTPS, "ref": "main"}}
        yield Sent("inside", provider, {}, body, changes={MAIN: UPDATED})
        yield Sent("whole", provider, {}, {"repository": HTTPS}, everything=True)
        yield Sent("ping", provider, {}, {"type": "ping"}, ignored="ping")
    carried = next(github())
    yield Sent("forge", "hookdeck", carried.headers, carried.payload, carried.changes)
    envelope = {
        "context": {"id": "id-1", "subject": "push", "specversion": "1.0"},
        "data": {"header": {"X-Github-Event": ["push"]}, "body": carried.payload},
    }
    yield Sent("forge", "argo-events", {}, envelope, carried.changes)
    cloud_event = {
        "specversion": "1.0",
        "id": "id-2",
        "type": "git.push",
        "data": {"repository": HTTPS, "ref": MAIN},
    }
    yield Sent("cloud", "argo-events", {}, cloud_event, {MAIN: UPDATED})


SENT = (
    *github(),
    *(s for p in ("gitea", "forgejo", "gogs") for s in gitea_like(p)),
    *gitlab_clone("gitlab", "x-gitlab-event"),
    *gitlab_system(),
    *gitlab_clone("codeup", "x-codeup-event"),
    *gitlab_clone("tgit", "x-event"),
    *gitlab_clone("gitcode", "x-gitcode-event"),
    *gitee(),
    *bitbucket_cloud(),
    *bitbucket_server(),
    *coding(),
    *azure(),
    *images(),
    *relays(),
)


OTHERS = (
    None,
    True,
    0,
    -1,
    1.5,
    1 << 80,
    "",
    "x",
    "\ud800",
    "\x00\n",
    "x" * 5000,
    [],
    [None],
    {},
    {"": None},
    [[[[]]]],
    ["x"] * 3000,
)


def paths(value, at=()):
    yield at
    entries = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in entries:
        yield from paths(inner, (*at, key))


def changed(value, path, new, *, remove=False):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if remove and len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = changed(value[path[0]], path[1:], new, remove=remove)
    return copy


def mutants(payload):
    for path in paths(payload):
        if path:
            yield changed(payload, path, None, remove=True)
        for other in OTHERS:
            yield changed(payload, path, other)
