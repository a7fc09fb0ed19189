"""A Hub on the loopback interface: enough of its HTTP interface for the real client to create, push and fetch.

    with LoopbackHub() as hub:
        subprocess.run(["dailymae", "push", ...], env=os.environ | hub.environment(cache, token=hub.token))
        hub.files("tester/model")

Repositories live in memory; a commit replaces the whole view of one at once. `hub.fail("PUT", "/objects/", 503, 2)`
lets the next two such requests fail. `make demo-downstream` pushes to it as well.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

USER, TOKEN = "tester", "hf_loopbackonly"
_LARGE = (".safetensors", ".beton", ".png")  # what the Hub keeps in LFS by default, as far as we push it


@dataclass
class Repository:
    """Its commits, newest last: (oid, message, name -> content)."""

    private: bool
    commits: list[tuple[str, str, dict[str, bytes]]] = field(default_factory=list)

    def add(self, message: str, files: dict[str, bytes]) -> str:
        oid = hashlib.sha1(f"{len(self.commits)} {message}".encode()).hexdigest()
        self.commits.append((oid, message, files))
        return oid

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        for oid, _, files in reversed(self.commits):
            if revision in ("main", oid):
                return oid, files
        return None


class LoopbackHub:
    """The server; use it as a context manager. `token` is the one that is accepted, `user` its owner."""

    token, user = TOKEN, USER

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}  # "models/tester/x" or "datasets/tester/x"
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self._faults: list[list[Any]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> "LoopbackHub":
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home: Path, *, token: str | None = None) -> dict[str, str]:
        """Variables for a process whose Hub this is; `home` gets its cache."""
        values = {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        values |= dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"), "0")
        return values | {"HF_TOKEN": token or ""}

    def fail(self, method: str, path: str, status: int, times: int = 1) -> None:
        """Answer the next `times` requests of this method whose path contains `path` with `status`."""
        self._faults.append([method, path, status, times])

    def fault(self, method: str, path: str) -> int | None:
        with self._lock:
            self.requests.append((method, path))
            for entry in self._faults:
                if entry[0] == method and entry[1] in path and entry[3] > 0:
                    entry[3] -= 1
                    return entry[2]
        return None

    def files(self, name: str, kind: str = "models") -> dict[str, bytes]:
        """What a reader of the main branch sees."""
        return self.repositories[f"{kind}/{name}"].commits[-1][2]

    def messages(self, name: str, kind: str = "models") -> list[str]:
        """The commit messages, oldest first."""
        return [message for _, message, _ in self.repositories[f"{kind}/{name}"].commits]


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: Any = b"", **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def handle_request(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status = self.hub.fault(self.command, path)
        if status is not None:
            return self.answer(status, {"error": "this fault was asked for"})
        known = self.headers.get("Authorization") == f"Bearer {self.hub.token}"
        for method, pattern, action, writes in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and self.command in method.split():
                if writes and not known:
                    return self.answer(401, {"error": "Invalid username or password."})
                return action(self, known, **match.groupdict())
        return self.answer(404, {"error": f"no such place: {self.command} {path}"})

    do_GET = do_HEAD = do_POST = do_PUT = handle_request

    # ---- writing

    def create(self, known: bool) -> None:
        given = json.loads(self.body)
        kind = f"{given.get('type', 'model')}s"
        owner = given.get("organization") or self.hub.user
        name = f"{owner}/{given['name']}"
        address = f"{self.hub.endpoint}/{'' if kind == 'models' else kind + '/'}{name}"
        if owner != self.hub.user:
            return self.answer(403, {"error": f"You don't have the rights to create a model under {owner}"})
        if f"{kind}/{name}" in self.hub.repositories:
            return self.answer(409, {"url": address, "error": "You already created this repo"})
        repository = Repository(given.get("visibility") == "private" or bool(given.get("private")))
        repository.add("initial commit", {".gitattributes": b""})
        self.hub.repositories[f"{kind}/{name}"] = repository
        return self.answer(200, {"url": address})

    def validate(self, known: bool) -> None:
        self.answer(200, {"errors": [], "warnings": []})

    def preupload(self, known: bool, kind: str, name: str) -> None:
        found = self.find(kind, name, known)
        if found is None:
            return
        listed = []
        for file in json.loads(self.body)["files"]:
            large = file["path"].endswith(_LARGE)
            content = found.commits[-1][2].get(file["path"])
            oid = None
            if content is not None:
                git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
                oid = hashlib.sha256(content).hexdigest() if large else git
            mode = "lfs" if large else "regular"
            listed.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.answer(200, {"files": listed})

    def batch(self, known: bool, name: str) -> None:
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            upload = {"upload": {"href": f"{self.hub.endpoint}/objects/{wanted['oid']}"}}
            objects.append({**wanted, **({} if wanted["oid"] in self.hub.objects else {"actions": upload})})
        self.answer(200, {"transfer": "basic", "objects": objects})

    def put(self, known: bool, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self.answer(400, {"error": "another content than announced"})
        self.hub.objects[oid] = self.body
        return self.answer(200)

    def commit(self, known: bool, kind: str, name: str) -> None:
        found = self.find(kind, name, known)
        if found is None:
            return
        files, message = dict(found.commits[-1][2]), ""
        for line in self.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                message = value["summary"]
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        oid = found.add(message, files)
        prefix = "" if kind == "models" else f"{kind}/"
        address = f"{self.hub.endpoint}/{prefix}{name}/commit/{oid}"
        self.answer(200, {"success": True, "commitOid": oid, "commitUrl": address})

    # ---- reading

    def find(self, kind: str, name: str, known: bool) -> Repository | None:
        """The repository; None, and an answer as the Hub's, where it is not there or not this reader's to see."""
        found = self.hub.repositories.get(f"{kind}/{name}")
        if found is None or (found.private and not known):
            self.answer(404 if known else 401, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
            return None
        return found

    def info(self, known: bool, kind: str, name: str, revision: str = "main") -> None:
        found = self.find(kind, name, known)
        if found is None:
            return
        at = found.at(revision)
        if at is None:
            return self.answer(404, {"error": "no such revision"}, X_Error_Code="RevisionNotFound")
        siblings = [{"rfilename": file} for file in at[1]]
        facts = {"_id": "0", "id": name, "sha": at[0], "private": found.private, "tags": [], "siblings": siblings}
        return self.answer(200, {**facts, "downloads": 0, "likes": 0})

    def tree(self, known: bool, kind: str, name: str, revision: str, folder: str | None = None) -> None:
        found = self.find(kind, name, known)
        at = found.at(revision) if found else None
        if found is None:
            return
        if at is None:
            return self.answer(404, {"error": "no such revision"}, X_Error_Code="RevisionNotFound")
        inside = {f: c for f, c in at[1].items() if f.startswith(f"{folder}/" if folder else "")}
        if folder and not inside:
            return self.answer(404, {"error": "no such folder"}, X_Error_Code="EntryNotFound")
        sizes = [{"type": "file", "path": f, "size": len(c), "oid": "0" * 40} for f, c in inside.items()]
        return self.answer(200, sizes)

    def resolve(self, known: bool, name: str, revision: str, file: str, kind: str | None = None) -> None:
        found = self.find(kind or "models", name, known)
        if found is None:
            return
        at = found.at(revision)
        if at is None:
            return self.answer(404, b"", X_Error_Code="RevisionNotFound")
        if file not in at[1]:
            return self.answer(404, b"", X_Error_Code="EntryNotFound", X_Repo_Commit=at[0])
        content = at[1][file]
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        return self.answer(200, content, ETag=etag, X_Repo_Commit=at[0])


_NAME = r"(?P<name>[\w.-]+/[\w.-]+)"
_KIND = r"(?P<kind>models|datasets)"
_ROUTES: list[tuple[str, str, Any, bool]] = [  # methods, path, action, needs the token
    ("POST", "/api/repos/create", _Handler.create, True),
    ("POST", "/api/validate-yaml", _Handler.validate, False),
    ("POST", f"/api/{_KIND}/{_NAME}/preupload/main", _Handler.preupload, True),
    ("POST", f"/(?:datasets/)?{_NAME}.git/info/lfs/objects/batch", _Handler.batch, True),
    ("PUT", r"/objects/(?P<oid>\w+)", _Handler.put, False),  # the Hub signs these addresses
    ("POST", f"/api/{_KIND}/{_NAME}/commit/main", _Handler.commit, True),
    ("GET", f"/api/{_KIND}/{_NAME}", _Handler.info, False),
    ("GET", f"/api/{_KIND}/{_NAME}/revision/(?P<revision>.+)", _Handler.info, False),
    ("GET", f"/api/{_KIND}/{_NAME}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?", _Handler.tree, False),
    ("GET HEAD", f"/(?:(?P<kind>datasets)/)?{_NAME}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", _Handler.resolve, False),
]
