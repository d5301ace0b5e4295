"""What the commands share: how one is declared, how data are read, and which arguments are refused.

An argument's type is also its check. What can be refused before the work, such as a place that may
not be written to, is refused while the arguments are read.
"""

from __future__ import annotations

import argparse
import inspect
import math
import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from so3krates_lite.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms

    from so3krates_lite.datasets.on_disk import FramesOnDisk
    from so3krates_lite.datasets.splits import Split
    from so3krates_lite.potential import Potential
    from so3krates_lite.structures.frames import Frames

MODEL_HELP = (
    "a .safetensors file, a run folder, a bundled model such as ethanol-gfn2, or the published "
    "so3lr (see `data fetch`)"
)
DATA_HELP = (
    "a data set's name (see `data list`), or a file: npz, extxyz, db, n2p2 input.data, …; "
    "FILE@0:10 is its first ten structures"
)


def command(commands, name: str, run, summary: str, more: str = "") -> argparse.ArgumentParser:
    """Declare a command that calls ``run`` with the parsed arguments."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. {more}".strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_model_and_data(parser: argparse.ArgumentParser) -> None:
    """The arguments of every command that uses a model."""
    parser.add_argument("model", help=MODEL_HELP)
    parser.add_argument("data", help=DATA_HELP)
    parser.add_argument(
        "--long-cutoff",
        type=length,
        help="reach of electrostatics and dispersion in Å, for models that have them; cells need "
        "one, such as 12 [the model's; so3lr: all pairs]",
    )
    parser.add_argument(
        "--ewald",
        action="store_true",
        help="sum electrostatics over all images of a cell instead of cutting it off",
    )


def load_model(options: argparse.Namespace) -> Potential:
    """The potential that the arguments of `add_model_and_data` name."""
    from so3krates_lite.ensemble import load_potential

    reach = {"long_cutoff": options.long_cutoff, "ewald": options.ewald or None}
    return load_potential(options.model, **reach)


def documented(cls: type) -> dict[str, str]:
    """What the section Args of a docstring says of each name, as help.

    What None or () means stands last there; it is the default, which help has in brackets.
    """
    section = (inspect.getdoc(cls) or "").partition("Args:\n")[2]
    texts = {}
    for names, text in re.findall(r"^ {4}(\w[\w, ]*): (.*(?:\n {5,}.*)*)", section, re.MULTILINE):
        plain = " ".join(text.replace("`", "").replace("%", "%%").split())
        plain = re.sub(r"; (?:None|\(\)): (.*)", r" [\1]", plain)
        texts |= dict.fromkeys(names.split(", "), plain)
    return texts


def add_loading(parser: argparse.ArgumentParser) -> None:
    """The options of every command that reads data, see :func:`load_data`."""
    group = parser.add_argument_group("reading the data")
    group.add_argument("--part", default="all", help="train or test, where the authors divided it")
    group.add_argument("--labels", help="original or revised, where a file holds both")
    group.add_argument("--energy-unit", help="of the file, where it does not say (eV, kcal/mol, …)")
    group.add_argument("--length-unit", help="of the file, where it does not say (Å, bohr, …)")
    group.add_argument(
        "--energy-key", metavar="NAME", help="name of the energies in the file, if an unusual one"
    )
    group.add_argument("--forces-key", metavar="NAME", help="likewise of the forces")
    group.add_argument("--limit", type=positive, help="read only so many frames")
    group.add_argument(
        "--charge", type=float, help="total charge of every structure in e, where none is stated"
    )
    group.add_argument(
        "--multiplicity", type=positive, help="likewise the spin multiplicity, 1 for a singlet"
    )
    group.add_argument(
        "--no-check", action="store_true", help="read on even if units look implausible"
    )


def load_data(options: argparse.Namespace) -> Frames:
    """Read what the argument ``data`` and the options of :func:`add_loading` name."""
    return load_data_with_structures(options)[0]


def bundled_split_of(
    options: argparse.Namespace, potential: Potential, frames: Frames
) -> Split | None:
    """The split of a bundled model, if the frames that were read are those it was trained on."""
    from so3krates_lite.datasets.bundled import split_of_model

    # a part that was asked for by name is no mistake
    whole = options.data if options.part == "all" else ""
    try:
        return split_of_model(options.model, whole, frames, potential.card)
    except UserError as error:
        if "split" not in options:
            raise
        raise UserError(f"{error} Or: --split gives another split, --set all takes all.") from None


def first_structure(frames: Frames) -> Atoms:
    """The first one, without its labels."""
    (atoms,) = frames[:1].to_atoms()
    atoms.calc = None
    return atoms


def load_data_with_structures(
    options: argparse.Namespace,
) -> tuple[Frames, list[Atoms] | None]:
    """The same, and the structures as ASE reads them, if it does."""
    from so3krates_lite.datasets.loaders import load_with_structures

    frames, structures = load_with_structures(
        options.data,
        part=options.part,
        labels=options.labels,
        energy_unit=options.energy_unit,
        length_unit=options.length_unit,
        energy_key=options.energy_key,
        forces_key=options.forces_key,
        limit=options.limit,
        check=not options.no_check,
    )
    given = {"total_charge": options.charge, "spin_multiplicity": options.multiplicity}
    for name, value in given.items():
        if value is not None and getattr(frames, name) is None:
            frames = frames.replace(**{name: np.full(len(frames), value)})
    return frames, structures


def load_data_or_stream(
    options: argparse.Namespace, *, folders_only: bool = False
) -> Frames | FramesOnDisk:
    """Frames that stay on disk, where ``data`` names a folder of files (or, if wished, any file),
    else what `load_data` reads.

    Of the options of :func:`add_loading` those apply to them that say what a file's numbers are.
    """
    from so3krates_lite.datasets.on_disk import FramesOnDisk

    place = Path(options.data).expanduser()
    if options.limit or not (place.is_dir() or (place.is_file() and not folders_only)):
        return load_data(options)
    others = ("charge", "multiplicity", "labels")
    others = [name for name in others if getattr(options, name)]
    if options.part != "all" or others:
        name = (others[0] if others else "part").replace("_", "-")
        raise UserError(f"--{name} is not for frames that stay on disk: leave it out.")
    names = ("energy_unit", "length_unit", "energy_key", "forces_key")
    return FramesOnDisk(
        place,
        skip_damaged=getattr(options, "skip_damaged", False),
        check=not options.no_check,
        scratch=getattr(options, "scratch", None),
        **{name: getattr(options, name) for name in names},
    )


def above_zero(text: str, what: str = "number") -> float:
    """A number above 0, or ``what`` it is."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a {what} above 0")
    return value


length = partial(above_zero, what="length")  # in Å


def positive(text: str) -> int:
    """A whole number from 1 upwards."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return int(text)


def devices(text: str) -> int | str:
    """How many devices, or all of them."""
    return text if text == "all" else positive(text)


def add_precision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", choices=("float32", "float64"), default="float64", help="[float64]"
    )


def seed_number(text: str) -> int:
    """A whole number from 0 upwards."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 upwards")
    return int(text)


def folder_to_write(text: str | Path) -> Path:
    """A folder to write in, refused before the work rather than after it."""
    path = Path(text)
    standing = next(place for place in (path, *path.parents) if place.exists())
    if not standing.is_dir():
        raise argparse.ArgumentTypeError(f"{standing} is a file, a folder is needed there")
    if not os.access(standing, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"the folder {standing} may not be written to")
    return path


def file_to_write(text: str) -> Path:
    """A file to write, refused before the work rather than after it."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder, name a file in it")
    folder_to_write(path.parent)
    return path
