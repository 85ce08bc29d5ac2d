"""A store on this machine: a web server, which also answers as the Hugging Face hub does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

REPO = "datasets/owner/corpus"  # on the hub; its files are those of the served folder


class Handler(SimpleHTTPRequestHandler):
    """Serves the files of a folder with tags and ranges. `broken`: where the connection is cut in a file."""

    protocol_version = "HTTP/1.1"
    broken: int | None = None
    asked: list[str]

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self._json([e for p in asked["paths"] if (e := self._entry(Path(self.directory) / p))])

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.asked.append(f"{self.command} {path}")
        if path.startswith(f"/api/{REPO}/tree/main"):
            folder = Path(self.directory) / path.removeprefix(f"/api/{REPO}/tree/main").strip("/")
            self._json([self._entry(p) for p in sorted(folder.rglob("*"))])
        elif path.startswith(f"/api/{REPO}"):
            self._json({"id": "owner/corpus", "sha": "0" * 40, "siblings": [], "private": False})
        elif path.startswith("/api/"):
            self._error()
        else:
            self._file(Path(self.directory) / path.removeprefix(f"/{REPO}/resolve/main").strip("/"))

    def _entry(self, path: Path) -> dict[str, object] | None:
        kind = {"path": str(path.relative_to(self.directory))}
        if path.is_dir():
            return kind | {"type": "directory", "oid": "0" * 40}
        if path.is_file():
            data = path.read_bytes()
            return kind | {"type": "file", "oid": sha1(data).hexdigest(), "size": len(data)}
        return None

    def _file(self, path: Path) -> None:
        if path.is_dir():
            return super().do_GET()
        if not path.is_file():
            return self._error()
        data = path.read_bytes()
        tag, start, end = f'"{sha1(data).hexdigest()}"', 0, len(data)
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1 if last else end, end)
        self.send_response(206 if asked else 200)
        self.send_header("ETag", tag)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return None
        if self.broken is not None and end > self.broken:
            self.wfile.write(data[start : max(self.broken, start)])
            self.close_connection = True
        else:
            self.wfile.write(data[start:end])
        return None

    def _json(self, found: object) -> None:
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _error(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, type[Handler]]]:
    """The address of a server of this folder, and its handler."""
    own = type("Own", (Handler,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: own(*a, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", own
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
