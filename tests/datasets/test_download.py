"""Downloads against a local server that misbehaves in every way it can."""

import hashlib
import io
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
    """Each path is a way to answer; the server counts requests and remembers ranges."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.seen.append((self.path, self.headers.get("Range")))
        getattr(self, "on_" + self.path.strip("/").split(".")[0])()

    def send(self, body, status=200, length=None, etag='"v1"', **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if etag:
            self.send_header("ETag", etag)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def first(self):
        return sum(path == self.path for path, _ in self.server.seen) == 1

    def start(self):
        return int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))

    def ranged(self, file=FILE, etag='"v1"'):
        start = self.start()
        if start >= len(file):
            return self.send(b"", 416)
        if not start or self.headers.get("If-Range", etag) != etag:
            return self.send(file, etag=etag)
        span = f"bytes {start}-{len(file) - 1}/{len(file)}"
        return self.send(file[start:], 206, etag=etag, Content_Range=span)

    def on_good(self):
        self.ranged()

    def on_missing(self):
        self.send(b"gone", 404)

    def on_busy(self):
        self.send(b"", 503) if self.first() else self.ranged()

    def on_truncates(self):  # states the whole length, sends half, then closes
        self.send(FILE[: len(FILE) // 2], length=len(FILE)) if self.first() else self.ranged()

    def on_always_truncates(self):
        self.send(FILE[:1000], length=len(FILE))

    def on_truncates_and_ignores_range(self):
        if self.first():
            self.send(FILE[: len(FILE) // 2], length=len(FILE))
        else:
            self.send(FILE)

    def on_wrong_offset(self):  # resumes somewhere else than asked
        if self.first():
            self.send(FILE[: len(FILE) // 2], length=len(FILE))
        elif self.start():
            span = f"bytes 10-{len(FILE) - 1}/{len(FILE)}"
            self.send(FILE[10:], 206, Content_Range=span)
        else:
            self.send(FILE)

    def on_changes(self):  # the file is replaced between two requests
        if self.first():
            old = npz_bytes(seed=1)
            self.send(old[: len(old) // 2], length=len(old), etag='"v0"')
        else:
            self.ranged()

    def on_stalls(self):
        self.send(FILE[: len(FILE) // 2], length=len(FILE))
        self.wfile.flush()
        self.server.let_go.wait(20)

    def on_drips(self):
        self.send(FILE[:100], length=len(FILE))
        while not self.server.let_go.wait(0.02):
            self.wfile.write(b"x")

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


@pytest.mark.parametrize("checksum", [None, SHA])
def test_download_resumes_after_a_truncated_answer(server, tmp_path, checksum):
    assert get(server, tmp_path, "truncates", checksum=checksum).read_bytes() == FILE
    assert server.seen[1] == ("/truncates", f"bytes={len(FILE) // 2}-")


def test_download_resumes_in_a_later_call(server, tmp_path):
    with pytest.raises(UserError, match="ended after"):
        get(server, tmp_path, "truncates", attempts=1)
    assert not (tmp_path / "data.npz").exists()
    assert get(server, tmp_path, "truncates").read_bytes() == FILE
    assert server.seen[1][1] == f"bytes={len(FILE) // 2}-"


def test_server_that_ignores_range_is_read_from_the_start(server, tmp_path):
    path = get(server, tmp_path, "truncates_and_ignores_range", checksum=SHA)
    assert path.read_bytes() == FILE


def test_server_that_resumes_elsewhere_is_not_believed(server, tmp_path):
    assert get(server, tmp_path, "wrong_offset").read_bytes() == FILE


def test_file_that_changed_meanwhile_is_not_joined_with_its_older_half(server, tmp_path):
    assert get(server, tmp_path, "changes").read_bytes() == FILE


def test_part_of_another_mirror_is_not_continued_without_a_checksum(server, tmp_path):
    get(server, tmp_path, "always_truncates", "good")
    assert ("/good", None) in server.seen


def test_server_that_never_completes_is_given_up(server, tmp_path):
    with pytest.raises(UserError, match=f"ended after 1000 of {len(FILE)} bytes"):
        get(server, tmp_path, "always_truncates")
    assert "data.npz" not in leftovers(tmp_path)
    assert len(server.seen) == 3


def test_complete_part_of_a_killed_download_heals(server, tmp_path):
    (tmp_path / ".data.npz.part").write_bytes(FILE)
    note = f'{{"url": "{server.url("good")}", "validator": "\\"v1\\""}}'
    (tmp_path / ".data.npz.part.json").write_text(note)
    assert get(server, tmp_path, "good").read_bytes() == FILE
    assert leftovers(tmp_path) == ["data.npz"]


@pytest.mark.parametrize("path", ["stalls", "drips"])
def test_stall_ends_in_an_error_and_a_mirror_helps(server, tmp_path, path):
    start = time.monotonic()
    with pytest.raises(UserError, match=r"no data in time|less than"):
        get(server, tmp_path, path, timeout=0.3, attempts=1)
    assert time.monotonic() - start < 5
    assert get(server, tmp_path, path, "good", timeout=0.3, attempts=1).read_bytes() == FILE


def test_understated_length_is_noticed_by_checksum_or_by_the_archive(server, tmp_path):
    with pytest.raises(UserError, match="sha256"):
        get(server, tmp_path, "says_less", checksum=SHA)
    with pytest.raises(UserError, match="damaged"):
        get(server, tmp_path, "says_less")
    with pytest.raises(UserError, match=f"instead of {len(FILE)}"):
        get(server, tmp_path, "says_less", size=len(FILE))
    assert leftovers(tmp_path) == []


def test_length_need_not_be_stated(server, tmp_path):
    assert get(server, tmp_path, "says_nothing", checksum=SHA).read_bytes() == FILE


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
    assert [p for p, _ in server.seen] == ["/missing", "/other", "/good"]


def test_busy_server_is_asked_again(server, tmp_path):
    assert get(server, tmp_path, "busy").read_bytes() == FILE


def test_all_failures_are_told_in_one_sentence(server, tmp_path):
    with pytest.raises(UserError) as caught:
        get(server, tmp_path, "missing", "page")
    text = str(caught.value)
    assert "404" in text and "not a npz" in text and "SO3KRATES_DATA" in text
    assert "\n" not in text


def test_offline_is_said_in_one_sentence(tmp_path):
    with pytest.raises(UserError, match="seems to be offline") as caught:
        download(["http://127.0.0.1:9/x.npz"], tmp_path / "x.npz", progress=False, pause=0)
    assert "\n" not in str(caught.value)


def test_existing_file_survives_a_failed_replacement(server, tmp_path):
    (tmp_path / "data.npz").write_bytes(b"old")
    with pytest.raises(UserError):
        get(server, tmp_path, "page")
    assert (tmp_path / "data.npz").read_bytes() == b"old"


def test_two_downloads_of_one_file_do_not_mix(server, tmp_path):
    pytest.importorskip("fcntl")
    with (
        module._alone(tmp_path / "data.npz"),
        pytest.raises(UserError, match="another process"),
    ):
        get(server, tmp_path, "good")


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
