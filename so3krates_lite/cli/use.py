"""The commands that use a trained model: evaluate, predict, attention, demo."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path

from so3krates_lite.cli.options import (
    add_loading,
    add_model_and_data,
    bundled_split_of,
    command,
    devices,
    file_to_write,
    folder_to_write,
    load_data,
    load_data_or_stream,
    load_data_with_structures,
    load_model,
    positive,
)
from so3krates_lite.errors import UserError

PREFIX = "so3krates_"  # of what `predict` writes


def add_evaluate(commands) -> None:
    parser = command(
        commands,
        "evaluate",
        _evaluate,
        "errors of a model on labelled structures",
        "A run folder is judged by its own test frames, and so is a bundled model on the data\n"
        "that it was trained on. Of an ensemble it is told, too, how deviations compare with\n"
        "errors, and by what factor, fitted on the validation frames, to multiply them.\n\n"
        "  so3krates-lite evaluate runs/ethanol ethanol-gfn2\n"
        "  so3krates-lite evaluate model.safetensors md17-ethanol --part test",
    )
    add_model_and_data(parser)
    parser.add_argument("--split", type=Path, help="split file; default: the model's own")
    parser.add_argument(
        "--set", help="train, valid, test or all [test; all where there is no split]"
    )
    parser.add_argument("--unit", default="kcal/mol", help="of energies in the table [kcal/mol]")
    parser.add_argument(
        "--json", type=file_to_write, help="write the errors (eV, Å) to a file as well"
    )
    add_loading(parser)


def _evaluate(options: argparse.Namespace) -> None:
    from so3krates_lite.datasets.splits import Split
    from so3krates_lite.runtime import files
    from so3krates_lite.training.calibration import calibration, ideal_factor
    from so3krates_lite.training.evaluation import evaluate, format_table
    from so3krates_lite.units import unit

    if options.set not in (None, "train", "valid", "test", "all"):
        raise UserError(f"--set {options.set} is not known: choose train, valid, test or all.")
    unit(options.unit)
    potential = load_model(options)
    frames = load_data(options)
    name = frames.info.get("name", options.data)
    split, valid = None, None
    if options.set != "all":
        path = options.split or Path(options.model) / "split.npz"
        if options.split or path.is_file():
            split = Split.load(path)
            split.check(frames)
        else:
            split = bundled_split_of(options, potential, frames)
    if split is not None:
        part = options.set or "test"
        valid = frames[split.valid] if part == "test" and len(split.valid) else None
        frames = frames[getattr(split, part)]
        name = f"{name}, {part}"
    elif options.set not in (None, "all"):
        raise UserError(
            f"--set {options.set} needs a split, which neither {options.model} nor --split gives: "
            "name a run folder, a split file, or leave --set out."
        )
    errors, prediction = evaluate(potential, frames, name=name)
    print(format_table([errors.row(options.unit)]))
    if errors.remark:
        print(errors.remark)
    if prediction.energy_std is not None:
        fitted = None if valid is None else calibration(potential.predict(valid), valid)
        rows = [one.row(options.unit) for one in calibration(prediction, frames, fitted)]
        print(f"\nHow far {len(potential)} members lie apart:\n{format_table(rows)}")
        if len(potential) > 3:
            ideal = ideal_factor(len(potential))
            print(f"If the truth were like one more member, the factor would be {ideal:.2f}.")
    if options.json:
        plain = {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in dataclasses.asdict(errors).items()
        }
        content = json.dumps(plain, indent=2)
        files.write_atomically(options.json, content.encode())


def add_predict(commands) -> None:
    parser = command(
        commands,
        "predict",
        _predict,
        "energies and forces of structures",
        "Writes extxyz, traj, db, json or this package's own npz, by the ending. What the file\n"
        "says already (info, arrays, tags, constraints, its own energies and forces) stays as it\n"
        "is; npz keeps of it what Frames hold. Predictions stand beside it, in eV and Å, under\n"
        "so3krates_energy, so3krates_forces and so3krates_stress, always; and as ASE's energy,\n"
        "forces and stress where the file brings none of its own. (traj, db and json have places\n"
        "for ASE's arrays only: others go into info and data there.) A model with physical terms\n"
        "adds charges (e), the dipole (e Å) and the energy by term; an ensemble energy_std and\n"
        "forces_std, the standard deviations over its members.\n\n"
        "  so3krates-lite predict ethanol-gfn2 molecules.xyz --out predicted.extxyz",
    )
    add_model_and_data(parser)
    parser.add_argument("--out", type=file_to_write, required=True, help="file to write")
    parser.add_argument("--stress", action="store_true", help="stress too (periodic structures)")
    parser.add_argument("--prefix", default=PREFIX, help=f"of the predictions' names [{PREFIX}]")
    parser.add_argument(
        "--devices", type=devices, default=1, help='that share each structure, or "all" [1]'
    )
    add_loading(parser)


def _predict(options: argparse.Namespace) -> None:
    from so3krates_lite.cli import predicted
    from so3krates_lite.datasets.frames_file import save_frames, write_atoms

    predicted.check_prefix(options.prefix)
    check_form(options.out)
    potential = load_model(options)
    frames, given = load_data_with_structures(options)
    prediction = potential.predict(frames, stress=options.stress, devices=options.devices)
    more = predicted.of_atoms_and_terms(potential, frames)
    labelled = predicted.has_labels(frames)
    if options.out.suffix == ".npz":
        found = prediction.named()
        also = not labelled
        labels = {k: v for k, v in found.items() if k not in prediction.deviations}
        frames = frames.replace(**labels) if also else frames
        beside = {f"{options.prefix}{name}": value for name, value in {**found, **more}.items()}
        save_frames(frames, options.out, beside=beside)
    else:
        units = options.energy_unit, options.length_unit
        images = predicted.own_structures(frames, given, *units)
        also = predicted.add_predictions(images, prediction, options.prefix, labelled, more)
        write_atoms(images, options.out)
    names = ("energy", "forces", *prediction.deviations, *more)
    names = ", ".join(f"{options.prefix}{name}" for name in names)
    own = "the same as energy, forces" if also else "energies of the file as they were"
    print(f"{len(frames)} structures with {names} (eV, Å, e), {own}: {options.out}")


def check_form(path: Path) -> None:
    """Refuse a name that says no form which holds energies and forces."""
    from ase.io.formats import UnknownFileTypeError, filetype

    try:
        form = filetype(str(path), read=False)
    except UnknownFileTypeError:
        form = ""
    if path.suffix != ".npz" and form not in ("extxyz", "traj", "db", "json"):
        raise UserError(
            f"--out {path}: end the name in .extxyz, .traj, .db, .json or .npz, forms that hold "
            f"energies and forces."
        )


def add_attention(commands) -> None:
    parser = command(
        commands,
        "attention",
        _attention,
        "what each layer, head and degree attends to",
        "Writes a page to turn and explore in a browser (.html, first structure), or the\n"
        "numbers (.npz; read them with AttentionRecord.load). A trajectory too long for memory,\n"
        "from a file or a folder of files, goes to a store (.zarr; open it with open_attention)\n"
        "piece by piece; a run that was stopped goes on where it stopped.\n\n"
        "  so3krates-lite attention ethanol-gfn2 ethanol-gfn2 --limit 1 --out attention.html",
    )
    add_model_and_data(parser)
    parser.add_argument(
        "--out", type=_file_or_store, required=True, help=".html, .npz or .zarr to write"
    )
    parser.add_argument(
        "--chunk", type=positive, default=100, help="frames of a piece of a .zarr [100]"
    )
    parser.add_argument(
        "--check", action="store_true", help="read a .zarr that is there, record anew what is torn"
    )
    add_loading(parser)


def _file_or_store(text: str) -> Path:
    return folder_to_write(text) if text.endswith(".zarr") else file_to_write(text)


def _attention(options: argparse.Namespace) -> None:
    if options.out.suffix not in (".html", ".npz", ".zarr"):
        raise UserError(f"--out {options.out}: the name should end in .html, .npz or .zarr.")
    potential = load_model(options)
    if options.out.suffix == ".zarr":
        from so3krates_lite.record.trajectory import record_trajectory

        frames = load_data_or_stream(options)
        record_trajectory(potential, frames, options.out, chunk=options.chunk, check=options.check)
        print(f"Attention of {len(frames)} frames is in {options.out}.")
        return
    frames = load_data(options)
    if options.out.suffix == ".html":
        from so3krates_lite.report.write import write_report

        record = potential.attention(frames[0])
        title = f"Attention in {frames.info.get('name', options.data)}"
        write_report(options.out, title=title, record=record, facts=dict(potential.card))
    else:
        potential.attention(frames).save(options.out)
    print(f"Attention written to {options.out}.")


def add_demo(commands) -> None:
    parser = command(
        commands,
        "demo",
        _demo,
        "the whole way on bundled data: model, errors, training, attention",
        "Writes a folder with a page to open in a browser, offline.",
    )
    parser.add_argument("--folder", type=folder_to_write, default=Path("demo"), help="[demo]")
    parser.add_argument("--minutes", type=float, default=1.0, help="of training [1]")


def _demo(options: argparse.Namespace) -> None:
    from so3krates_lite.cli.demo import run_demo

    run_demo(options.folder, options.minutes)
