"""Weights come whole or not at all, and no file that others wrote runs anything here."""

from __future__ import annotations

import pickle
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from so3krates_lite.datasets.bundled import bundled_model
from so3krates_lite.errors import UserError
from so3krates_lite.published import fetch, so3lr
from so3krates_lite.published.inert import Shell, read_numpy, read_torch


class Mischief:
    def __reduce__(self):
        return (Path.touch, (Path("mischief"),))


def stored(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", content)
    return path


@pytest.mark.parametrize("read", [read_numpy, lambda path: read_torch(path, ("torch.nn.",))])
def test_a_pickle_that_wants_to_run_something_is_refused(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content in (pickle.dumps(Mischief()), pickle.dumps({"a": [Mischief()]}, protocol=0)):
        (tmp_path / "numpy.pkl").write_bytes(content)
        path = tmp_path / "numpy.pkl"
        if read is not read_numpy:
            path = stored(tmp_path / "torch.zip", content)
        with pytest.raises(UserError, match=r"cannot be read as weights \(it asks for .*\): fetch"):
            read(path)
    assert not (tmp_path / "mischief").exists()


@pytest.mark.parametrize("name", ["system", "Popen", "eval"])
def test_functions_of_any_module_are_refused(name, tmp_path):
    module = {"system": "os", "Popen": "subprocess", "eval": "builtins"}[name]
    content = f"c{module}\n{name}\n(S'true'\ntR.".encode()
    (tmp_path / "w.pkl").write_bytes(content)
    with pytest.raises(UserError, match=f"it asks for {module}.{name}"):
        read_numpy(tmp_path / "w.pkl")


def test_arrays_are_read_and_their_objects_are_not(tmp_path):
    rng = np.random.default_rng(0)
    tree = {
        "params": {
            "a": rng.normal(size=(2, 3)).astype("f4"),
            "b": {"c": np.arange(4).reshape(2, 2).T},
        }
    }
    path = tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps(tree))
    found = read_numpy(path)
    np.testing.assert_array_equal(found["params"]["a"], tree["params"]["a"])
    np.testing.assert_array_equal(found["params"]["b"]["c"], tree["params"]["b"]["c"])
    for other in (np.array([Shell(), 1], object), [1, 2], "weights"):
        path.write_bytes(pickle.dumps({"a": other}))
        with pytest.raises(UserError, match="cannot be read as weights"):
            read_numpy(path)


def test_a_file_that_is_cut_short_or_no_archive_is_refused(tmp_path):
    path = tmp_path / "w.pkl"
    whole = pickle.dumps({"a": np.arange(1000.0)})
    for content in (whole[:300], b"", b"no pickle"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as weights"):
            read_numpy(path)
        with pytest.raises(UserError, match="cannot be read as weights"):
            read_torch(path, ())


def of_random_numbers() -> dict[str, np.ndarray]:
    """Weights of SO3LR's names and shapes, as `from_numpy` gives them."""
    from flax.traverse_util import flatten_dict

    params = so3lr.Potential.random(so3lr.CONFIG).params
    found = {}
    for name, leaf in flatten_dict(params, sep="/").items():
        leaf = np.asarray(leaf)
        if name.startswith("layers/"):
            for k in range(3):
                found[name.replace("layers", f"layers/{k}", 1)] = leaf[k]
        elif name in ("physics/repulsion/a", "physics/repulsion/c"):
            found |= {f"{name}{k + 1}": leaf[k : k + 1] for k in range(4)}
        else:
            found[name.replace("repulsion/D", "repulsion/d")] = np.atleast_1d(leaf)
    return found


def pickled(weights: dict[str, np.ndarray], path: Path) -> Path:
    """As in the authors' repository."""
    tree: dict = {}

    def put(place: str, value: np.ndarray) -> None:
        branch = tree
        *names, last = place.split("/")
        for name in names:
            branch = branch.setdefault(name, {})
        branch[last] = value

    for our, their, _ in so3lr._DENSE:
        for part in ("kernel", "bias"):
            if f"{our}/{part}" in weights:
                put(f"{their}/{part}", weights[f"{our}/{part}"])
    for our, their, _ in so3lr._ELEMENTS + so3lr._ARRAYS:
        put(their, weights[our])
    for our, their, _ in so3lr._HEADS:
        put(their, weights[our].swapaxes(-1, -2))
    path.write_bytes(pickle.dumps({"params": tree}))
    return path


def test_every_array_of_the_authors_file_finds_its_place(tmp_path):
    weights = of_random_numbers()
    found = so3lr.from_numpy(pickled(weights, tmp_path / "params.pkl"))
    assert set(found) == set(weights)
    for name, value in weights.items():
        np.testing.assert_array_equal(found[name], value)
    potential = so3lr.potential_of(found)
    kernel = potential.params["layers"]["exchange"]["gated"]["gates"]["kernel"]
    np.testing.assert_array_equal(kernel[1], weights["layers/1/exchange/gated/gates/kernel"])
    weights["energy_head/out/kernel"] = np.arange(3)  # whole numbers
    with pytest.raises(UserError, match="no array for energy_head/out/kernel"):
        so3lr.from_numpy(pickled(weights, tmp_path / "p.pkl"))


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """pip finds nothing, and the second place neither."""
    monkeypatch.setenv("SO3KRATES_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SO3KRATES_DATA", raising=False)

    def run(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution found")

    def download(*_, **__):
        raise UserError("params.pkl could not be downloaded")

    monkeypatch.setattr(so3lr.subprocess, "run", run)
    monkeypatch.setattr(so3lr, "download", download)
    return tmp_path


def test_without_a_network_one_sentence_names_both_places(offline):
    with pytest.raises(UserError, match=r"pip did not download .*No matching.*; params.pkl could"):
        fetch("so3lr")
    assert not (offline / "cache" / "so3lr").exists()
    with pytest.raises(UserError, match="so3lr is not on this machine yet: get it once with"):
        bundled_model("so3lr")


def test_the_second_place_serves_and_what_is_there_is_kept(offline, monkeypatch):
    weights = of_random_numbers()

    def download(urls, target, checksum, **_):
        assert checksum.startswith("sha256:")
        return pickled(weights, target)

    monkeypatch.setattr(so3lr, "download", download)
    (path,) = fetch("so3lr")
    assert path == bundled_model("so3lr")
    before = path.stat().st_mtime_ns
    assert fetch("so3lr") == (path,) and path.stat().st_mtime_ns == before

    def broken(urls, target, checksum, **_):
        target.write_bytes(b"altered")
        return target

    monkeypatch.setattr(so3lr, "download", broken)
    with pytest.raises(UserError, match="cannot be read as weights"):
        fetch("so3lr", force=True)
    assert path.stat().st_mtime_ns == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
