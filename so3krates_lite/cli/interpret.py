"""The command that tests whether attention explains: faithfulness."""

from __future__ import annotations

import argparse
import dataclasses
import json

import numpy as np

from so3krates_lite.cli.options import (
    add_loading,
    add_model_and_data,
    bundled_split_of,
    command,
    file_to_write,
    load_data,
    load_model,
    positive,
    seed_number,
)
from so3krates_lite.errors import UserError


def add_faithfulness(commands) -> None:
    parser = command(
        commands,
        "faithfulness",
        _faithfulness,
        "may attention be read as importance? Curves, agreement with effects, stability",
        "Pairs are deleted in the order of attention, of attribution, of distance, …, and the\n"
        "answer says who knew which matter. With a bundled model and its own data, its test\n"
        "frames are taken.\n\n"
        "  so3krates-lite faithfulness ethanol-gfn2 ethanol-gfn2 --out faithfulness.html",
    )
    add_model_and_data(parser)
    parser.add_argument(
        "--frames", type=positive, default=10, help="how many, drawn from the data [10]"
    )
    parser.add_argument("--block", help="whose coefficients are changed [the model's first]")
    parser.add_argument(
        "--baseline",
        choices=("zero", "mean"),
        default="zero",
        help="what stands in for them [zero]",
    )
    parser.add_argument(
        "--answer", choices=("energy", "forces"), default="forces", help="what is watched [forces]"
    )
    parser.add_argument(
        "--others", nargs="+", default=[], metavar="MODEL", help="the same trained from other seeds"
    )
    parser.add_argument("--seed", type=seed_number, default=0, help="of all that is drawn [0]")
    parser.add_argument("--out", type=file_to_write, help="write the curves, .html or a picture")
    parser.add_argument("--json", type=file_to_write, help="write all numbers to a file as well")
    add_loading(parser)


def _faithfulness(options: argparse.Namespace) -> None:
    from so3krates_lite.drawing.export import ENDINGS, save_figure
    from so3krates_lite.ensemble import load_potential
    from so3krates_lite.interpret.baselines import ZERO, Baseline
    from so3krates_lite.interpret.evidence import faithfulness
    from so3krates_lite.runtime import files

    if options.out and options.out.suffix.lower() not in ENDINGS:
        raise UserError(f"--out {options.out}: the name should end in one of {', '.join(ENDINGS)}.")
    potential = load_model(options)
    others = [load_potential(name) for name in options.others]
    frames = load_data(options)
    split = bundled_split_of(options, potential, frames)
    if split is not None:
        frames = frames[split.test]
    rng = np.random.default_rng(options.seed)
    drawn = np.sort(rng.permutation(len(frames))[: options.frames])
    baseline = Baseline("mean", frames) if options.baseline == "mean" else ZERO
    found = faithfulness(
        potential,
        frames[drawn],
        block=options.block,
        baseline=baseline,
        others=others,
        seed=options.seed,
    )
    print(found.table(options.answer))
    if options.out:
        save_figure(found.figure(options.answer), options.out)
    if options.json:
        plain = json.dumps(dataclasses.asdict(found), default=_plain, indent=1)
        files.write_atomically(options.json, plain.encode())


def _plain(value: np.ndarray) -> list:
    """An array as JSON knows it: null where there is no number."""
    return np.where(np.isnan(value), None, value).tolist()
