"""A Hugging Face Hub on loopback, in memory: what the real client asks for when it pushes, lists and downloads.

Written from the requests of huggingface_hub 2.4: create repo, branch, preupload, commit (ndjson), LFS batch and upload,
resolve with ETag and commit headers and a redirect for LFS files, tree in pages, info, list by tag, whoami; Xet in
place of LFS if `hub.xet` is set; errors with the Hub's headers.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import yaml
from xet_storage import XET_TOKEN, XetContent

ROUTE = re.compile(
    r"/api/(models|datasets)/([^/]+/[^/]+)/(preupload|commit|branch|revision|tree|paths-info)/([^/]+)(?:/(.*))?"
)
DATE = "2026-01-01T00:00:00.000Z"
LARGE = 10_000  # bytes; larger files, and pictures and parquet files of any size, go by LFS


class Refused(Exception):
    def __init__(self, status, code="", message="", body=""):
        self.status, self.code, self.message, self.body = status, code, message, body or message


@dataclass
class Repo:
    kind: str
    name: str
    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)  # commit -> path -> content
    branches: dict[str, str] = field(default_factory=dict)
    likes: int = 0
    downloads: int = 0

    def commit(self, files, branch="main"):
        """A new commit with exactly these files."""
        sha = hashlib.sha1(f"{self.name}{branch}{len(self.commits)}".encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        return sha

    def find(self, revision):
        sha = self.branches.get(revision, revision)
        if sha not in self.commits:
            raise Refused(404, "RevisionNotFound", "Invalid rev id")
        return sha


def by_lfs(path, size):
    return size > LARGE or path.endswith((".png", ".parquet", ".safetensors"))


def sha256(content):
    return content.oid if isinstance(content, XetContent) else hashlib.sha256(content).hexdigest()


def git_oid(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub:
    """The state of the server, and what it was asked."""

    def __init__(self, tokens=None, page=1000):
        self.tokens = tokens or {}  # token -> (user, may write)
        self.page = page
        self.repos = {}
        self.blobs = {}
        self.requests = []
        self.full = False
        self.xet = None  # an XetStorage, or LFS alone

    def add(self, name, files, *, private=False, kind="models"):
        """A repository as if somebody had pushed it; the commit."""
        repo = self.repos[kind, name] = Repo(kind, name, private)
        return repo.commit({path: c.encode() if isinstance(c, str) else c for path, c in files.items()})

    def downloads(self):
        """Paths of the files that were fetched."""
        route = r"/(?:datasets/)?[^/]+/[^/]+/resolve/[^/]+/(.*)"
        found = [re.fullmatch(route, path) for method, path in self.requests if method == "GET"]
        return [unquote(hit[1]) for hit in found if hit]

    @contextlib.contextmanager
    def serve(self):
        """Answer on loopback; gives the endpoint."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args):
        pass

    def handle_any(self):
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.requests.append((self.command, url.path))
        try:
            if url.path.startswith("/cas/"):
                return self.xet_storage(url.path)
            self.authenticate()
            self.dispatch(url.path)
        except Refused as refused:
            headers = {"X-Error-Code": refused.code, "X-Error-Message": refused.message}
            self.answer(refused.status, {"error": refused.body}, {k: v for k, v in headers.items() if v})

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def answer(self, status, content=b"", headers=None):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
            headers = {"Content-Type": "application/json"} | (headers or {})
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def authenticate(self):
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if given and given not in self.hub.tokens:
            # A careless server: it says back what it was given.
            raise Refused(401, "", "Invalid credentials in Authorization header", f"unknown token {given}")
        self.user, self.writes = self.hub.tokens.get(given, (None, False))

    def repo(self, kind, name, write=False):
        found = self.hub.repos.get((kind, name))
        if found is None or (found.private and name.split("/")[0] != self.user):
            raise Refused(404 if self.user else 401, "RepoNotFound", "Repository not found")
        if write:
            self.may_write(name)
        return found

    def may_write(self, name):
        if self.user is None:
            raise Refused(401, "", "Invalid username or password.")
        if not self.writes or name.split("/")[0] != self.user:
            raise Refused(403, "", "You don't have the rights to write there")

    def dispatch(self, path):
        if path == "/api/whoami-v2":
            if self.user is None:
                raise Refused(401, "", "Invalid username or password.")
            return self.answer(200, {"name": self.user, "type": "user"})
        if path == "/api/validate-yaml":
            return self.validate(json.loads(self.body)["content"])
        if path == "/api/repos/create":
            return self.create(json.loads(self.body))
        if path == "/api/models":
            return self.list_models()
        if hit := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/xet-(read|write)-token/([^/]+)", path):
            self.repo(hit[1], hit[2], write=hit[3] == "write")
            return self.answer(200, *self.hub.xet.connection(self.headers["Host"]))
        if hit := ROUTE.fullmatch(path):
            kind, name, verb, revision, rest = hit.groups()
            return getattr(self, verb.replace("-", "_"))(kind, name, unquote(revision), unquote(rest or ""))
        if hit := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)", path):
            return self.revision(*hit.groups(), "main", "")
        if hit := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return self.batch("datasets" if hit[1] else "models", hit[2])
        if hit := re.fullmatch(r"/lfs/([0-9a-f]{64})", path):
            return self.lfs(hit[1])
        if hit := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.*)", path):
            return self.resolve("datasets" if hit[1] else "models", hit[2], unquote(hit[3]), unquote(hit[4]))
        raise Refused(404, "", f"no route {path}")

    def validate(self, card):
        hit = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
        try:
            good = hit is not None and isinstance(yaml.safe_load(hit[1]), dict)
        except yaml.YAMLError:
            good = False
        self.answer(200 if good else 400, {"errors": [] if good else [{"message": "bad metadata"}], "warnings": []})

    def create(self, wanted):
        name, kind = f"{wanted.get('organization') or self.user}/{wanted['name']}", wanted.get("type", "model") + "s"
        self.may_write(name)
        base = "" if kind == "models" else f"{kind}/"
        url = {"url": f"http://{self.headers['Host']}/{base}{name}"}
        if (kind, name) in self.hub.repos:
            return self.answer(409, url | {"error": "You already created this model repo"})
        repo = self.hub.repos[kind, name] = Repo(kind, name, wanted.get("visibility") == "private")
        repo.commit({".gitattributes": b"*.parquet filter=lfs\n"})
        return self.answer(200, url)

    def branch(self, kind, name, revision, _):
        repo = self.repo(kind, name, write=True)
        if revision in repo.branches:
            raise Refused(409, "", "Reference already exists")
        repo.branches[revision] = repo.branches["main"]
        self.answer(200, {})

    def preupload(self, kind, name, revision, _):
        repo = self.repo(kind, name, write=True)
        present, files = repo.commits[repo.find(revision)], []
        for file in json.loads(self.body)["files"]:
            mode = "lfs" if by_lfs(file["path"], file["size"]) else "regular"
            old = present.get(file["path"])
            oid = None if old is None else sha256(old) if mode == "lfs" else git_oid(old)
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.answer(200, {"files": files})

    def commit(self, kind, name, revision, _):
        repo = self.repo(kind, name, write=True)
        files = dict(repo.commits[repo.find(revision)])
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            match item["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    known = self.hub.blobs.get(value["oid"])
                    files[value["path"]] = known or self.hub.xet.content(value["oid"], value["size"])
                case "deletedFile":
                    del files[value["path"]]
        sha = repo.commit(files, revision)
        self.answer(200, {"commitUrl": f"http://{self.headers['Host']}/{name}/commit/{sha}", "commitOid": sha})

    def batch(self, kind, name):
        self.repo(kind, name, write=True)
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            upload = {"upload": {"href": f"http://{self.headers['Host']}/lfs/{wanted['oid']}"}}
            objects.append(wanted | ({} if wanted["oid"] in self.hub.blobs else {"actions": upload}))
        self.answer(200, {"transfer": "basic", "objects": objects})

    def lfs(self, oid):
        if self.command == "PUT":
            if self.hub.full:
                raise Refused(403, "", "Storage is full")
            assert hashlib.sha256(self.body).hexdigest() == oid
            self.hub.blobs[oid] = self.body
            return self.answer(200)
        assert self.user is None, "the token went to the storage"
        return self.answer(200, self.hub.blobs[oid])

    def xet_storage(self, path):
        url_only = self.command == "GET" and "/xorbs/" in path  # of a reconstruction: whoever has it may read
        if not url_only and self.headers.get("Authorization") != f"Bearer {XET_TOKEN}":
            raise Refused(401, "", "not the token of the storage")
        if self.hub.full:
            raise Refused(403, "", "Storage is full")
        found = self.hub.xet.answer(self.command, path, self.body, self.headers["Host"])
        if found is None:
            raise Refused(404, "", "not here")
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked and isinstance(found, bytes):
            start, stop = int(asked[1]), int(asked[2]) + 1
            where = {"Content-Range": f"bytes {start}-{stop - 1}/{len(found)}"}
            return self.answer(206, found[start:stop], where)
        self.answer(200, found)

    def revision(self, kind, name, revision, _):
        repo = self.repo(kind, name)
        self.answer(200, self.info(repo, repo.find(revision)))

    def info(self, repo, sha):
        siblings = [{"rfilename": path} for path in repo.commits[sha]]
        if "blobs" in self.query:
            siblings = [s | {"size": len(repo.commits[sha][s["rfilename"]])} for s in siblings]
        card = re.match(r"---\n(.*?)\n---\n", repo.commits[sha].get("README.md", b"").decode(), re.DOTALL)
        about = (yaml.safe_load(card[1]) if card else None) or {}
        return {
            "id": repo.name, "modelId": repo.name, "sha": sha, "private": repo.private, "siblings": siblings,
            "tags": about.get("tags", []), "createdAt": DATE, "lastModified": DATE, "cardData": about,
            "downloads": repo.downloads, "likes": repo.likes,
        }  # fmt: skip

    def list_models(self):
        wanted, author = set(self.query.get("filter", [])), self.query.get("author", [""])[0]
        shown = [
            repo
            for (kind, name), repo in self.hub.repos.items()
            if kind == "models" and name.startswith(author) and (not repo.private or name.split("/")[0] == self.user)
        ]
        found = [self.info(repo, repo.branches["main"]) for repo in shown]
        found = [info for info in found if wanted <= set(info["tags"])]
        if (by := self.query.get("sort", [""])[0]) in ("likes", "downloads"):
            found.sort(key=lambda info: -info[by])
        self.answer_page(found)

    def tree(self, kind, name, revision, under):
        repo = self.repo(kind, name)
        files = repo.commits[repo.find(revision)]
        entries, folders = [], set()
        for path, content in sorted(files.items()):
            if under and not path.startswith(f"{under}/"):
                continue
            folders |= {path.rsplit("/", n)[0] for n in range(1, path.count("/") + 1)}
            entries.append(self.entry(path, content))
        if under and not entries:
            raise Refused(404, "EntryNotFound", f"{under} does not exist")
        entries += [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in sorted(folders)]
        self.answer_page(entries)

    def answer_page(self, entries):
        start = int(self.query.get("cursor", ["0"])[0])
        page, headers = entries[start : start + self.hub.page], {}
        if start + self.hub.page < len(entries):
            base = self.path.split("?")[0]
            query = urlencode(self.query | {"cursor": [start + self.hub.page]}, doseq=True)
            headers["Link"] = f'<http://{self.headers["Host"]}{base}?{query}>; rel="next"'
        self.answer(200, page, headers)

    def paths_info(self, kind, name, revision, _):
        files = (repo := self.repo(kind, name)).commits[repo.find(revision)]
        wanted = parse_qs(self.body.decode()).get("paths", [])
        self.answer(200, [self.entry(path, files[path]) for path in wanted if path in files])

    def entry(self, path, content):
        entry = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
        if by_lfs(path, len(content)):
            oid = sha256(content)
            entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 130}
        return entry

    def resolve(self, kind, name, revision, path):
        repo = self.repo(kind, name)
        sha = repo.find(revision)
        headers = {"X-Repo-Commit": sha}
        content = repo.commits[sha].get(path)
        if content is None:
            return self.answer(404, b"", headers | {"X-Error-Code": "EntryNotFound", "X-Error-Message": "no such file"})
        if not by_lfs(path, len(content)):
            return self.answer(200, content, headers | {"ETag": f'"{git_oid(content)}"'})
        oid = sha256(content)
        self.hub.blobs[oid] = content
        linked = {"X-Linked-ETag": f'"{oid}"', "X-Linked-Size": str(len(content))}
        if isinstance(content, XetContent):
            token = f"http://{self.headers['Host']}/api/{kind}/{name}/xet-read-token/{sha}"
            linked |= {"X-Xet-Hash": content.xet_hash, "Link": f'<{token}>; rel="xet-auth"'}
        # Under another name, as the real one is: the client must not send its token there.
        elsewhere = self.headers["Host"].replace("127.0.0.1", "localhost")
        return self.answer(302, b"", headers | linked | {"Location": f"http://{elsewhere}/lfs/{oid}"})
