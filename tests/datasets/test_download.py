"""Downloads against a local server that misbehaves in every way it can."""

import hashlib
import io
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from so3krates_lite.datasets import download as module
from so3krates_lite.datasets.download import download, fetch
from so3krates_lite.datasets.registry import REGISTRY, DataFile, DatasetCard
from so3krates_lite.errors import UserError


def npz_bytes(seed=0, n=20000):
    stream = io.BytesIO()
    np.savez(stream, R=np.random.default_rng(seed).standard_normal(n))
    return stream.getvalue()


FILE = npz_bytes()
SHA = "sha256:" + hashlib.sha256(FILE).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Each path is a way to answer; the server remembers what was asked."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.seen.append(self.path)
        getattr(self, "on_" + self.path.strip("/").split(".")[0])()

    def send(self, body, status=200, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def first(self):
        return self.server.seen.count(self.path) == 1

    def on_good(self):
        self.send(FILE)

    def on_missing(self):
        self.send(b"gone", 404)

    def on_busy(self):
        self.send(b"", 503) if self.first() else self.send(FILE)

    def on_truncates(self):  # states the whole length, sends half, then closes
        self.send(FILE[: len(FILE) // 2] if self.first() else FILE, length=len(FILE))

    def on_always_truncates(self):
        self.send(FILE[:1000], length=len(FILE))

    def on_stalls(self):
        self.send(FILE[: len(FILE) // 2], length=len(FILE))
        self.wfile.flush()
        self.server.let_go.wait(20)

    def on_says_less(self):  # a Content-Length shorter than the file
        self.send(FILE, length=len(FILE) - 500)

    def on_says_nothing(self):  # no Content-Length at all
        self.send_response(200)
        self.end_headers()
        self.wfile.write(FILE)

    def on_empty(self):
        self.send(b"")

    def on_page(self):
        self.send(b"<html>Please log in</html>")

    def on_other(self):
        self.send(npz_bytes(seed=7))


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self):  # the inherited one looks up a host name, which may take seconds
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address


@pytest.fixture
def server():
    server = Server(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *args: None  # clients hang up on purpose
    server.seen, server.let_go = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.url = lambda path: f"http://127.0.0.1:{server.server_address[1]}/{path}"
    yield server
    server.let_go.set()
    server.shutdown()
    thread.join()
    server.server_close()


def get(server, tmp_path, *paths, **options):
    settings = {"progress": False, "timeout": 5, "pause": 0.0} | options
    return download([server.url(p) for p in paths], tmp_path / "data.npz", **settings)


def leftovers(tmp_path):
    return sorted(p.name for p in tmp_path.iterdir())


def test_download_brings_the_file_and_leaves_nothing_else(server, tmp_path):
    path = get(server, tmp_path, "good", checksum=SHA, size=len(FILE))
    assert path.read_bytes() == FILE
    assert leftovers(tmp_path) == ["data.npz"]


def test_broken_connection_is_tried_again_from_the_start(server, tmp_path):
    assert get(server, tmp_path, "truncates").read_bytes() == FILE
    assert len(server.seen) == 2


def test_server_that_never_completes_is_given_up(server, tmp_path):
    with pytest.raises(UserError, match="the connection broke"):
        get(server, tmp_path, "always_truncates")
    assert len(server.seen) == 3
    assert leftovers(tmp_path) == []


def test_stall_ends_in_an_error_and_a_mirror_helps(server, tmp_path):
    start = time.monotonic()
    with pytest.raises(UserError, match="no data in time"):
        get(server, tmp_path, "stalls", timeout=0.3, attempts=1)
    assert time.monotonic() - start < 5
    path = get(server, tmp_path, "stalls", "good", timeout=0.3, attempts=1)
    assert path.read_bytes() == FILE


def test_understated_length_is_noticed_by_checksum_or_by_the_archive(server, tmp_path):
    with pytest.raises(UserError, match="sha256"):
        get(server, tmp_path, "says_less", checksum=SHA)
    with pytest.raises(UserError, match="damaged"):
        get(server, tmp_path, "says_less")
    with pytest.raises(UserError, match=f"instead of {len(FILE)}"):
        get(server, tmp_path, "says_less", size=len(FILE))
    assert leftovers(tmp_path) == []


def test_length_need_not_be_stated(server, tmp_path):
    path = get(server, tmp_path, "says_nothing", checksum=SHA, progress=True)
    assert path.read_bytes() == FILE


@pytest.mark.parametrize(
    ("path", "message"),
    [("empty", "empty"), ("page", "not a npz file"), ("other", "another sha256 checksum")],
)
def test_wrong_file_is_refused_and_removed(server, tmp_path, path, message):
    checksum = SHA if path == "other" else None
    with pytest.raises(UserError, match=message):
        get(server, tmp_path, path, checksum=checksum)
    assert leftovers(tmp_path) == []


def test_next_mirror_is_tried_after_404_and_after_a_wrong_file(server, tmp_path):
    path = get(server, tmp_path, "missing", "other", "good", checksum=SHA)
    assert path.read_bytes() == FILE
    assert server.seen == ["/missing", "/other", "/good"]


def test_busy_server_is_asked_again(server, tmp_path):
    assert get(server, tmp_path, "busy").read_bytes() == FILE


def test_all_failures_are_told_in_one_sentence(server, tmp_path):
    with pytest.raises(UserError) as caught:
        get(server, tmp_path, "missing", "page")
    text = str(caught.value)
    assert "404" in text and "not a npz" in text and "SO3KRATES_DATA" in text
    assert "\n" not in text


def test_offline_is_said_in_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"\(.*refused.*seems to be offline") as caught:
        download(["http://127.0.0.1:9/x.npz"], tmp_path / "x.npz", progress=False, pause=0)
    assert "\n" not in str(caught.value)


def test_existing_file_survives_a_failed_replacement(server, tmp_path):
    (tmp_path / "data.npz").write_bytes(b"old")
    with pytest.raises(UserError):
        get(server, tmp_path, "page")
    assert (tmp_path / "data.npz").read_bytes() == b"old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_full_disk_is_said_in_one_sentence(server, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "builtins.open", lambda path, mode="r", _open=open: _open("/dev/full", mode)
    )
    with pytest.raises(UserError, match=r"data.npz cannot be written \(No space left"):
        get(server, tmp_path, "good")
    assert leftovers(tmp_path) == []


def test_progress_is_shown_under_the_name_of_the_file(server, tmp_path, capsys):
    get(server, tmp_path, "busy", progress=True)
    assert "data.npz: 100%" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://x/y"])
def test_only_web_addresses_are_opened(tmp_path, url):
    with pytest.raises(UserError, match="no http"):
        download([url], tmp_path / "x.npz")


def test_git_and_md5_checksums_are_known(tmp_path):
    path = tmp_path / "hello"
    path.write_bytes(b"hello\n")
    assert module.matches(path, "gitblob:ce013625030ba8dba906f756967f9e9ca394464a")
    assert module.matches(path, "md5:b1946ac92492d2347c6235b4d2611184")
    assert not module.matches(path, SHA)
    with pytest.raises(UserError, match="checksum"):
        download(["http://x"], path, checksum="crc:1")


def test_fetch_fills_the_cache_once(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SO3KRATES_CACHE", str(tmp_path))
    file = DataFile("a.npz", (server.url("missing"), server.url("good")), SHA)
    card = DatasetCard("toy", "Toy", "-", "-", "-", "eV", "Angstrom", (file,))
    monkeypatch.setitem(REGISTRY, "toy", card)
    assert fetch("toy", progress=False) == (tmp_path / "toy" / "a.npz",)
    assert fetch("toy", progress=False)[0].read_bytes() == FILE
    assert len(server.seen) == 2


def test_fetch_says_what_cannot_be_fetched():
    with pytest.raises(UserError, match="comes with the package"):
        fetch("ethanol-gfn2")
    with pytest.raises(UserError, match="https://doi"):
        fetch("nacl-clusters")
    with pytest.raises(UserError, match="did you mean"):
        fetch("md17-etanol")
