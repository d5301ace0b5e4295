"""Downloads that end in a whole, checked file or in none.

pooch fetches; here stands what it leaves to us: mirrors tried in turn, git's checksum, a look into
archives whose checksum nobody published, and one sentence for everything that may go wrong. What is
interrupted starts again from the beginning.
"""

from __future__ import annotations

import hashlib
import time
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from so3krates_lite.datasets.places import cache_folder, card
from so3krates_lite.errors import UserError
from so3krates_lite.runtime.files import replacing

_MAGIC = {".npz": b"PK", ".zip": b"PK", ".xz": b"\xfd7zXZ", ".hdf5": b"\x89HDF"}


class _Failure(Exception):
    """Why an address did not deliver; `again`: it may the next time, `offline`: none would."""

    def __init__(self, reason: str, *, again: bool = False, offline: bool = False) -> None:
        super().__init__(reason)
        self.again, self.offline = again, offline


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
                file.urls, target, file.checksum, file.size, progress=progress, timeout=timeout
            )
        paths.append(target)
    return tuple(paths)


def download(
    urls: Sequence[str],
    target: Path,
    checksum: str | None = None,
    size: int | None = None,
    *,
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
        timeout: seconds without data after which a connection is given up.
        attempts: how often an address is tried that is busy or breaks off.
        pause: seconds before the second attempt, doubled for each further one.

    Raises:
        UserError: no address delivered; names each with its reason, and says what to do.
    """
    if not urls:
        raise UserError(f"no address is known for {target.name}")
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise UserError(f"{url!r} is no http or https address")
    _parse(checksum)
    failures: list[tuple[str, _Failure]] = []
    with replacing(target) as part:
        for url in urls:
            for attempt in range(attempts):
                try:
                    _receive(url, part, target.name, progress, timeout)
                    _check(part, checksum, size)
                    return target
                except _Failure as failure:
                    last = failure
                if not last.again:
                    break
                if attempt + 1 < attempts:
                    time.sleep(pause * 2**attempt)
            failures.append((url, last))
        told = "; ".join(f"{url}: {failure}" for url, failure in failures)
        offline = all(failure.offline for _, failure in failures)
        advice = "this machine seems to be offline: connect it" if offline else "try again later"
        raise UserError(
            f"{target.name} could not be downloaded ({told}); {advice}, or put the file into a "
            f"folder named by SO3KRATES_DATA"
        )


def _receive(url: str, part: Path, name: str, progress: bool, timeout: float) -> None:
    """One request; `part` then holds what came.

    Not pooch.retrieve: it keeps an old file of an unknown checksum, and it makes files that only
    their owner may read.
    """
    import pooch
    import requests
    from tqdm.auto import tqdm
    from urllib3.exceptions import MaxRetryError

    # pooch asks whether the bar is true, which one without a total does not answer
    bar = tqdm(desc=name, total=1, unit="B", unit_scale=True, disable=not progress)
    answers: list[requests.Response] = []  # pooch leaves the failed ones open
    load = pooch.HTTPDownloader(
        bar,
        chunk_size=1 << 16,
        timeout=timeout,
        # requests would unpack what a server packs on the way, and the bar would count wrongly
        headers={"User-Agent": "so3krates-lite", "Accept-Encoding": "identity"},
        hooks={"response": lambda answer, **_: answers.append(answer)},
    )
    try:
        with bar:
            load(url, part, None)
    except requests.HTTPError as error:
        code = error.response.status_code
        again = code in (408, 425, 429) or code >= 500
        told = f"the server answered {code} {error.response.reason}"
        raise _Failure(told, again=again) from error
    except requests.RequestException as error:
        cause = error.args[0] if error.args else None
        if isinstance(error, requests.Timeout) or "timed out" in str(error):
            raise _Failure("no data in time", again=True) from error
        if isinstance(cause, MaxRetryError):  # the connection was never made
            reason = str(cause.reason).rpartition(": ")[2]
            raise _Failure(f"no connection ({reason})", offline=True) from error
        raise _Failure(f"the connection broke ({type(error).__name__})", again=True) from error
    finally:
        for answer in answers:
            answer.close()


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
    import pooch

    kind, wanted = _parse(checksum) or ("", "")
    if kind != "gitblob":
        return pooch.file_hash(path, kind) == wanted
    content = path.read_bytes()  # git hashes a header before the content
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest() == wanted


def _check(path: Path, checksum: str | None, size: int | None) -> None:
    """Raise if a download that seems complete is not the file."""
    found = path.stat().st_size
    if found == 0:
        raise _Failure("the file that came is empty")
    if size is not None and found != size:
        raise _Failure(f"the file that came has {found} bytes instead of {size}")
    if checksum is not None and not matches(path, checksum):
        raise _Failure(f"the file that came has another {checksum.partition(':')[0]} checksum")
    suffix = path.suffix.lower()
    with path.open("rb") as stream:
        start = stream.read(16)
    if suffix in _MAGIC and not start.startswith(_MAGIC[suffix]):
        raise _Failure(
            f"what came is not a {suffix[1:]} file (perhaps a page that reports an error)"
        )
    if suffix in (".npz", ".zip"):
        try:
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise _Failure(f"the archive that came is damaged ({error})") from error
        if broken is not None:
            raise _Failure(f"the archive that came is damaged (in {broken})")
