"""A hub on loopback that serves folders as model repositories, with as much of the protocol as a download needs."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

Repositories = dict[str, dict[str, Path]]
"""name -> revision -> folder."""


def commit_of(folder: Path) -> str:
    return hashlib.sha1(str(folder).encode()).hexdigest()


@contextmanager
def serving(repositories: Repositories) -> Iterator[str]:
    """The address of a hub with these models; it ends with the block."""

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlparse(self.path)
            words = address.path.strip("/").split("/")
            if words[:2] == ["api", "models"] and len(words) == 2:
                wanted = parse_qs(address.query)["search"][0]
                found = [name for name in repositories if wanted in name]
                return self.answer([{"id": name, "sha": commit_of(repositories[name]["main"])} for name in found])
            name = "/".join(words[2:4] if words[0] == "api" else words[:2])
            revisions = repositories.get(name)
            if revisions is None:
                return self.answer({"error": "no such model"}, 404, {"X-Error-Code": "RepoNotFound"})
            if words[0] == "api" and words[4] == "refs":
                return self.answer(
                    {
                        "branches": [
                            {"name": key, "ref": f"refs/heads/{key}", "targetCommit": commit_of(folder)}
                            for key, folder in revisions.items()
                        ],
                        "tags": [],
                        "converts": [],
                    }
                )
            by_commit = revisions | {commit_of(folder): folder for folder in revisions.values()}
            folder = by_commit[words[5] if words[0] == "api" else words[3]]
            if words[0] == "api" and words[4] == "tree":
                files = [
                    {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": commit_of(file)}
                    for file in sorted(folder.iterdir())
                ]
                return self.answer(files)
            if words[0] == "api":
                files = [{"rfilename": file.name} for file in sorted(folder.iterdir())]
                return self.answer({"id": name, "sha": commit_of(folder), "siblings": files})
            content = (folder / words[4]).read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            self.answer(content, headers={"ETag": f'"{digest}"', "X-Repo-Commit": commit_of(folder)})

        do_HEAD = do_GET

        def answer(self, what: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
            content = what if isinstance(what, bytes) else json.dumps(what).encode()
            self.send_response(status)
            for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
