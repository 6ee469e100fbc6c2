"""A Git LFS server for tests, in front of a host's repositories.

By the batch API (git-lfs: docs/api/batch.md); what it is to do wrong is set on it.
"""

import contextlib
import hashlib
import json
from urllib.parse import parse_qs, urlsplit

from tests.support.hosts import HttpHost

TYPE = {"Content-Type": "application/vnd.git-lfs+json"}
BATCH = "/info/lfs/objects/batch"
STORAGE = "/storage/"


class LfsServer:
    """Answers for LFS at an HttpHost, as one of its faults.

    `objects` are those of all repositories. `own` is an Authorization that the server
    names for its own storage; `signed` a signature in the storage's URLs.
    """

    def __init__(self, host: HttpHost, *, own: str = "", signed: str = "") -> None:
        self.host = host
        self.own = own
        self.signed = signed
        self.objects: dict[str, bytes] = {}
        self.refusals: dict[str, list[tuple[int, str]]] = {}
        self.batches: list[str] = []
        self.storage: list[tuple[str, dict[str, str]]] = []
        host.faults.append(self)

    def put(self, data: bytes) -> str:
        oid = hashlib.sha256(data).hexdigest()
        self.objects[oid] = data
        return oid

    def refuse(self, what: str, status: int, message: str = "", times: int = 1000):
        """Refuse `upload`, `download` or `storage` with a status."""
        self.refusals[what] = [(status, message)] * times

    def __call__(self, handler) -> bool:
        path = urlsplit(handler.path)
        if path.path.startswith(STORAGE):
            self._stored(handler, path.path.removeprefix(STORAGE), path.query)
        elif path.path.endswith(BATCH):
            self._batch(handler)
        elif "/info/lfs" in path.path:
            self._say(handler, 404, {"message": "not here"})
        else:
            return False
        return True

    def _batch(self, handler) -> None:
        if self.host.accounts and (
            handler.headers.get("Authorization") not in self.host.accounts
        ):
            headers = {"LFS-Authenticate": 'Basic realm="lfs"', **TYPE}
            handler.answer(401, headers, b'{"message": "who are you?"}')
            return
        asked = json.loads(handler.body)
        verb = asked["operation"]
        self.batches.append(verb)
        if self._refused(handler, verb):
            return
        objects = [self._action(verb, each) for each in asked["objects"]]
        self._say(handler, 200, {"transfer": "basic", "objects": objects})

    def _action(self, verb: str, each: dict) -> dict:
        oid = each["oid"]
        found = {"oid": oid, "size": each["size"]}
        if verb == "download" and oid not in self.objects:
            return found | {"error": {"code": 404, "message": "no such object"}}
        if verb == "upload" and oid in self.objects:
            return found
        query = f"?X-Amz-Signature={self.signed}" if self.signed else ""
        action: dict = {"href": f"{self.host.base}{STORAGE}{oid}{query}"}
        if self.own:
            action["header"] = {"Authorization": self.own}
        return found | {"authenticated": True, "actions": {verb: action}}

    def _stored(self, handler, oid: str, query: str) -> None:
        self.storage.append((handler.command, dict(handler.headers)))
        if self._refused(handler, "storage"):
            return
        given = handler.headers.get_all("Authorization") or []
        if given != ([self.own] if self.own else []):
            handler.answer(400, body=b"InvalidArgument: one authorization only")
            return
        if self.signed and parse_qs(query).get("X-Amz-Signature") != [self.signed]:
            handler.answer(403, body=b"SignatureDoesNotMatch")
            return
        if handler.command == "PUT":
            self.objects[oid] = handler.body
            handler.answer(200)
        else:
            handler.answer(200, body=self.objects[oid])

    def _refused(self, handler, what: str) -> bool:
        left = self.refusals.get(what)
        if not left:
            return False
        status, message = left.pop()
        if status == 0:  # the line is cut
            with contextlib.suppress(OSError):
                handler.connection.shutdown(2)
            handler.close_connection = True
            return True
        self._say(handler, status, {"message": message} if message else None)
        return True

    def _say(self, handler, status: int, told) -> None:
        handler.answer(status, TYPE, b"" if told is None else json.dumps(told).encode())
