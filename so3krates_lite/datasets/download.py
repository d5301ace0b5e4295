"""Downloads that end in a whole, checked file or in none.

A file grows under a hidden name beside its destination and is renamed only when it is complete and
has passed every check there is: its length, its published checksum, and whether its first bytes and
its inner checksums fit its kind. An interrupted download is resumed where it stopped, if the server
can (Range) and the file there is still the same (its ETag or date). Mirrors are tried in turn.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from so3krates_lite.datasets.places import cache_folder, card
from so3krates_lite.errors import UserError

CHUNK = 1 << 16
SLOWEST = 1024  # bytes per stall time-out; less counts as a stall

_MAGIC = {".npz": b"PK", ".zip": b"PK", ".xz": b"\xfd7zXZ", ".hdf5": b"\x89HDF"}


class _Transient(Exception):
    """A failure after which the same address may be tried again."""


class _PartTooLong(_Transient):
    """What is there is longer than the file: it must be thrown away."""


class _Final(Exception):
    """A failure after which only another address may help."""


class _Offline(_Final):
    """No connection could be made at all."""


def fetch(
    name: str, *, progress: bool = True, timeout: float = 30.0, force: bool = False
) -> tuple[Path, ...]:
    """Download the files of a registered data set to the cache; what is there is kept.

    Args:
        name: a key of `REGISTRY`.
        progress: show a progress bar.
        timeout: seconds without data after which an address is given up.
        force: download anew even what is there.

    Returns:
        Paths of the files, under SO3KRATES_CACHE or the user's cache folder.

    Raises:
        UserError: nothing to download, no address answers, or what came is not the file.
    """
    known = card(name)
    if known.bundled:
        raise UserError(f"{name} comes with the package: load it, there is nothing to fetch")
    if not known.files:
        where = f"https://doi.org/{known.doi}" if known.doi else "its authors"
        raise UserError(
            f"no address of single files is known for {name}: get it from {where} and name its "
            f"folder in SO3KRATES_DATA"
        )
    paths = []
    for file in known.files:
        target = cache_folder() / name / file.name
        if force or not target.is_file():
            download(
                file.urls,
                target,
                checksum=file.checksum,
                size=file.size,
                progress=progress,
                timeout=timeout,
            )
        paths.append(target)
    return tuple(paths)


def download(
    urls: Sequence[str],
    target: str | os.PathLike[str],
    *,
    checksum: str | None = None,
    size: int | None = None,
    progress: bool = True,
    timeout: float = 30.0,
    attempts: int = 3,
    pause: float = 1.0,
) -> Path:
    """Download one file from the first of several addresses that delivers it whole.

    Args:
        urls: http or https addresses of the same file, tried in order.
        target: where the file shall stand.
        checksum: "sha256:...", "md5:..." or "gitblob:..." (git's hash of a file), if published.
        size: length in bytes, if published.
        progress: show a progress bar.
        timeout: seconds without (noteworthy) data after which a connection is given up.
        attempts: how often each address is tried; an attempt that brought data is free.
        pause: seconds before the second attempt, doubled for each further one.

    Raises:
        UserError: no address delivered; names each with its reason, and says what to do.
    """
    target = Path(target)
    if not urls:
        raise UserError(f"no address is known for {target.name}")
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise UserError(f"{url!r} is no http or https address")
    _parse(checksum)
    target.parent.mkdir(parents=True, exist_ok=True)
    failures: list[tuple[str, Exception]] = []
    with _alone(target):
        part = _Part(target)
        for url in urls:
            try:
                _from_one(url, part, checksum, size, progress, timeout, attempts, pause)
            except (_Final, _Transient) as error:
                failures.append((url, error))
                continue
            part.finish()
            return target
    told = "; ".join(f"{url}: {error}" for url, error in failures)
    offline = all(isinstance(error, _Offline) for _, error in failures)
    advice = (
        "this machine seems to be offline: connect it"
        if offline
        else "try again later (what arrived is kept and resumed)"
    )
    raise UserError(
        f"{target.name} could not be downloaded ({told}); {advice}, or put the file into a folder "
        f"named by SO3KRATES_DATA"
    )


# -- one address ----------------------------------------------------------------------------------


def _from_one(
    url: str,
    part: _Part,
    checksum: str | None,
    size: int | None,
    progress: bool,
    timeout: float,
    attempts: int,
    pause: float,
) -> None:
    """Fill `part` from one address and check it, or raise."""
    if not part.may_resume(url, checksum is not None):
        part.clear()
    failed, restarted = 0, False
    for _ in range(20 * attempts):
        before = part.size
        try:
            total = _receive(url, part, progress, timeout)
            wrong = _wrongness(part.path, part.target.name, checksum, size, total)
        except _Transient as error:
            if isinstance(error, _PartTooLong):
                part.clear()
            failed = 1 if part.size > before else failed + 1
            if failed >= attempts:
                raise
            time.sleep(pause * 2 ** (failed - 1))
            continue
        if wrong is None:
            return
        part.clear()
        if before == 0 or restarted:
            raise _Final(wrong)
        restarted = True  # a resumed file may have been joined from two: once more from the start
    raise _Final("the connection broke too often")


def _receive(url: str, part: _Part, progress: bool, timeout: float) -> int | None:
    """One request; appends to `part`. Returns the whole length if the server stated it."""
    have = part.size
    request = urllib.request.Request(url, headers={"User-Agent": "so3krates-lite"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if part.validator:
            request.add_header("If-Range", part.validator)
    with _network_errors(), urllib.request.urlopen(request, timeout=timeout) as answer:
        start, total = _extent(answer, have)
        if answer.status == 206 and start != have:
            part.clear()
            raise _Transient(f"the server resumed at byte {start} instead of {have}")
        if answer.status != 206 and have:
            part.clear()  # Range was ignored, or the file has changed: from the start
        part.remember(url, answer.headers.get("ETag") or answer.headers.get("Last-Modified"))
        _pour(answer, part, total, progress, timeout)
    if total is not None and part.size < total:
        raise _Transient(f"the connection ended after {part.size} of {total} bytes")
    return total


def _extent(answer: Any, have: int) -> tuple[int, int | None]:
    """First byte and whole length of what an answer brings."""
    if answer.status == 206:
        try:  # "bytes 100-999/1000"
            span, _, whole = answer.headers["Content-Range"].removeprefix("bytes ").partition("/")
            return int(span.split("-")[0]), None if whole == "*" else int(whole)
        except (AttributeError, TypeError, ValueError):
            return -1, None
    length = answer.headers.get("Content-Length")
    return 0, int(length) if length and length.isdigit() else None


def _pour(answer: Any, part: _Part, total: int | None, progress: bool, timeout: float) -> None:
    from tqdm.auto import tqdm

    window_start, window_bytes = time.monotonic(), 0
    bar = tqdm(
        total=total,
        initial=part.size,
        desc=part.target.name,
        unit="B",
        unit_scale=True,
        disable=not progress,
    )
    with bar, part.path.open("ab") as stream:
        while data := answer.read1(CHUNK):
            try:
                stream.write(data)
            except OSError as error:
                raise UserError(f"{part.path} cannot be written: {error.strerror}") from error
            bar.update(len(data))
            window_bytes += len(data)
            if (now := time.monotonic()) - window_start > timeout:
                if window_bytes < SLOWEST:
                    raise _Transient(f"less than {SLOWEST} bytes in {timeout:g} s")
                window_start, window_bytes = now, 0
        stream.flush()
        os.fsync(stream.fileno())


@contextlib.contextmanager
def _network_errors() -> Iterator[None]:
    """Sort the many failures of a connection into those worth another try and the others."""
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            text = f"the server answered {error.code} {error.reason}"
        if error.code == 416:
            raise _PartTooLong("the server's file ends before the part at hand") from error
        if error.code in (408, 425, 429) or error.code >= 500:
            raise _Transient(text) from error
        raise _Final(text) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _Transient("no answer in time") from error
        raise _Offline(f"no connection ({error.reason})") from error
    except TimeoutError as error:
        raise _Transient("no data in time") from error
    except (http.client.HTTPException, ConnectionError) as error:
        raise _Transient(f"the connection broke ({type(error).__name__})") from error


# -- the growing file -----------------------------------------------------------------------------


class _Part:
    """The growing file, and a note of where it comes from."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f".{target.name}.part")
        self._note = target.with_name(f".{target.name}.part.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def validator(self) -> str | None:
        validator = self._read().get("validator")
        # If-Range allows no weak ETag
        return None if validator is None or validator.startswith("W/") else validator

    def _read(self) -> dict[str, Any]:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    def may_resume(self, url: str, checked: bool) -> bool:
        """Whether what is there may be continued from `url` without joining two files unseen."""
        return self._read().get("url") == url and (checked or self.validator is not None)

    def remember(self, url: str, validator: str | None) -> None:
        note = json.dumps({"url": url, "validator": validator})
        self._note.write_text(note, encoding="utf-8")

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        self.path.replace(self.target)
        self.clear()


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Only one process at a time downloads a file (where the system has file locks)."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"another process is downloading {target.name}: wait for it") from error
        try:
            yield
        finally:
            Path(lock.name).unlink(missing_ok=True)


# -- checks ---------------------------------------------------------------------------------------


def _parse(checksum: str | None) -> tuple[str, str] | None:
    if checksum is None:
        return None
    kind, _, digest = checksum.partition(":")
    if kind not in ("sha256", "md5", "gitblob") or not digest:
        raise UserError(f"checksum {checksum!r} must be sha256:..., md5:... or gitblob:...")
    return kind, digest.lower()


def matches(path: Path, checksum: str) -> bool:
    """Whether a file has a checksum, given as "sha256:...", "md5:..." or "gitblob:..."."""
    kind, wanted = _parse(checksum) or ("", "")
    if kind == "gitblob":  # git hashes a header before the content
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as stream:
        while data := stream.read(1 << 20):
            digest.update(data)
    return digest.hexdigest() == wanted


def _wrongness(
    path: Path, name: str, checksum: str | None, size: int | None, total: int | None
) -> str | None:
    """What is wrong with a complete download, or None."""
    found = path.stat().st_size
    expected = size if size is not None else total
    if found == 0:
        return "the file that came is empty"
    if expected is not None and found != expected:
        return f"the file that came has {found} bytes instead of {expected}"
    if checksum is not None and not matches(path, checksum):
        return f"the file that came has another {checksum.partition(':')[0]} checksum"
    suffix = Path(name).suffix.lower()
    with path.open("rb") as stream:
        start = stream.read(16)
    if suffix in _MAGIC and not start.startswith(_MAGIC[suffix]):
        return f"what came is not a {suffix[1:]} file (perhaps a page that reports an error)"
    if suffix in (".npz", ".zip"):
        try:
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()
        except (zipfile.BadZipFile, EOFError) as error:
            return f"the archive that came is damaged ({error})"
        if broken is not None:
            return f"the archive that came is damaged (in {broken})"
    return None
