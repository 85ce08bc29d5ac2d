"""Infini-gram indexes for tests: a server of ours in place of the public ones, and local ones that the package itself
makes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from memlake.ingest.counting import infini_gram, lookup


class Server:
    """Answers what `answer(payload)` says: (status, body), and remembers what it was asked."""

    def __init__(self, answer: Callable[[dict], tuple[int, object]]):
        self.asked: list[list[int]] = []
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler):
                payload = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
                with lock:
                    self.asked.append(payload["query_ids"])
                    status, body = answer(payload)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                handler.send_response(status)
                handler.send_header("Retry-After", "0")
                handler.end_headers()
                handler.wfile.write(data)

            def log_message(handler, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve(monkeypatch) -> Iterator[Callable[..., Server]]:
    """Start a server in the API's place, with hardly a pause between tries."""
    started = []

    def start(answer) -> Server:
        started.append(Server(answer))
        monkeypatch.setattr(infini_gram, "API", started[-1].url)
        return started[-1]

    for name, value in (("FIRST_PAUSE", 0.001), ("PER_SECOND", 10_000), ("TRIES", 3)):
        monkeypatch.setattr(infini_gram, name, value)
    lookup._opened.cache_clear()
    yield start
    for server in started:
        server.close()


def exactly(n: int) -> tuple[int, dict]:
    return 200, {"count": n, "approx": False, "latency": 0.1, "token_ids": [], "tokens": []}


def build(folder: Path, documents: list[list[int]], width: int) -> Path:
    """An index of these documents: its text as the package writes it, its suffix array by the package's own tool. Of 4
    bytes a token the tool wants 32 GiB of memory, and it is sorted here."""
    pytest.importorskip("infini_gram")
    folder.mkdir()
    separator, dtype = (1 << 8 * width) - 1, f"<u{width}"
    texts = [np.array([separator, *document], dtype) for document in documents]
    np.concatenate(texts).tofile(folder / "tokenized.0")
    np.cumsum([0, *(text.nbytes for text in texts[:-1])]).astype("<u8").tofile(folder / "offset.0")
    if width == 4:
        text = (folder / "tokenized.0").read_bytes()
        places = sorted(range(0, len(text), width), key=lambda at: text[at:])
        (folder / "table.0").write_bytes(b"".join(place.to_bytes(2, "little") for place in places))
        return folder
    code = """if True:
        import argparse, sys
        from infini_gram.indexing import build_sa
        names = dict(worker_id=0, shards=1, workers=1, cpus=1, mem=1, save_dir=sys.argv[1], temp_dir=sys.argv[1])
        build_sa(argparse.Namespace(**names, token_width=int(sys.argv[2])))
    """
    done = subprocess.run([sys.executable, "-c", code, str(folder), str(width)], capture_output=True, text=True)
    assert done.returncode == 0 and (folder / "table.0").is_file(), done.stdout + done.stderr
    return folder
