"""The run folder: everything a training run is, on disk, consistent at any moment.

    config.json         model and training settings
    split.npz           which frames train, validate, test
    metrics.csv         one row per epoch
    start.safetensors   the potential it began from, if it was given one
    best.safetensors    the potential of the best validation so far
    state.safetensors   weights, optimiser and counters after the last finished epoch

Each file is replaced as a whole, `state.safetensors` last, so a run that is killed loses at most
the epoch it was in.
"""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from so3krates_lite.config import ModelConfig
from so3krates_lite.datasets.splits import Split
from so3krates_lite.ensemble import load_potential
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.runtime import files
from so3krates_lite.training.config import TrainConfig

STATE_KIND = "so3krates-lite training state"
STATE_VERSION = 2
CONFIG_VERSION = 1


class RunFolder:
    """Reads and writes one run folder.

    Args:
        path: of the folder
        writes: False: what would be written is left to another process that does the same
    """

    def __init__(self, path: str | Path, writes: bool = True) -> None:
        self.path, self.writes = Path(path), writes

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def state(self) -> Path:
        return self.path / "state.safetensors"

    def create(
        self,
        model: ModelConfig,
        settings: TrainConfig,
        split: Split,
        facts: dict[str, Any],
        start: Potential | None = None,
    ) -> None:
        """Start a new run; a folder that already holds one is refused."""
        if not self.writes:
            return
        if (self.path / "config.json").exists():
            raise UserError(
                f"{self.path} already holds a training run: "
                "resume it (--resume), or name another folder."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        split.save(self.path / "split.npz")
        if start is not None:
            start.save(self.path / "start.safetensors")
        content = {
            "format_version": CONFIG_VERSION,
            "model": model.to_dict(),
            "training": settings.to_dict(),
            "facts": facts,
        }
        files.write_atomically(self.path / "config.json", json.dumps(content, indent=2).encode())

    def configuration(self) -> tuple[ModelConfig, TrainConfig, dict[str, Any]]:
        """Model settings, training settings and stated facts of the run."""
        path = self.path / "config.json"
        if not path.is_file():
            raise UserError(f"{self.path} holds no training run: there is no {path.name} in it.")
        try:
            content = json.loads(path.read_bytes())
            files.check_version("it", content["format_version"], CONFIG_VERSION)
            model = ModelConfig.from_dict(content["model"])
            # runs from before there was a choice are Adam's
            training = TrainConfig.from_dict({"optimiser": "adam", **content["training"]})
            return model, training, content["facts"]
        except UserError as error:
            raise UserError(f"{path} cannot be used: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, error) from None

    def start(self) -> Potential | None:
        """The potential that the run began from, if it was not a random one."""
        path = self.path / "start.safetensors"
        return load_potential(path) if path.is_file() else None

    def split(self) -> Split:
        return Split.load(self.path / "split.npz")

    def read_metrics(self) -> list[dict[str, float]]:
        """One row per epoch, as numbers."""
        path = self.path / "metrics.csv"
        return read_metrics(path) if path.is_file() else []

    def write_metrics(self, rows: list[dict[str, float]]) -> None:
        if not self.writes:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else ["epoch"])
        writer.writeheader()
        writer.writerows(rows)
        files.write_atomically(self.path / "metrics.csv", text.getvalue().encode())

    def save_state(self, state: Any, counters: dict[str, Any]) -> None:
        """The device state (a pytree) and the host's counters after an epoch."""
        if not self.writes:
            return
        leaves = jax.tree.leaves(jax.device_get(state))
        arrays = {f"{k:04d}": np.asarray(leaf) for k, leaf in enumerate(leaves)}
        files.save_arrays(self.state, STATE_KIND, STATE_VERSION, arrays, counters)

    def load_state(self, like: Any) -> tuple[Any, dict[str, Any]]:
        """State and counters in the structure of ``like``."""
        arrays, counters = files.load_arrays(self.state, STATE_KIND, STATE_VERSION)
        wanted = self.configuration()[1].optimiser
        made = counters.get("optimiser", wanted)
        if made != wanted:
            raise UserError(
                f"{self.state} is the state of a run by {made}, but {self.path / 'config.json'} "
                f"says {wanted}: put {made} back there, or start a new run."
            )
        expected, structure = jax.tree.flatten(like)
        found = [arrays[name] for name in sorted(arrays)]
        shapes = [[np.shape(leaf) for leaf in leaves] for leaves in (found, expected)]
        if shapes[0] != shapes[1]:
            numbers = [sum(math.prod(shape) for shape in one) for one in shapes]
            raise UserError(
                f"{self.state} does not fit the run's settings: it holds {len(found)} arrays with "
                f"{numbers[0]} numbers, {len(expected)} with {numbers[1]} are expected, as if of "
                f"another network or optimiser. Put {self.path / 'config.json'} back as it was, or "
                f"start a new run."
            )
        rows = len(self.read_metrics())
        if rows < counters["epoch"]:
            raise UserError(
                f"{self.path / 'metrics.csv'} holds {rows} epochs, but the run had finished "
                f"{counters['epoch']}: put the whole file back, or start a new run."
            )
        return jax.tree.unflatten(structure, found), counters

    def save_best(self, potential: Potential) -> None:
        if self.writes:
            potential.save(self.best)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics file, as numbers."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    except (TypeError, ValueError, csv.Error) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    reason = str(error).splitlines()[0]
    return UserError(f"{path} is damaged ({reason}): put a copy back, or start a new run.")
