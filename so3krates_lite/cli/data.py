"""The commands below `data`: list, info, fetch, generate."""

from __future__ import annotations

import argparse
from pathlib import Path

from so3krates_lite.cli.options import (
    DATA_HELP,
    add_loading,
    command,
    file_to_write,
    load_data,
    positive,
    seed_number,
)
from so3krates_lite.errors import UserError


def add_data(commands) -> None:
    parser = commands.add_parser("data", help="list, fetch, make and inspect data sets")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    command(actions, "list", _data_list, "all registered data sets and whether they are here")
    info = command(actions, "info", _data_info, "what is known about a data set or file")
    info.add_argument("data", help=DATA_HELP)
    add_loading(info)
    fetch = command(
        actions,
        "fetch",
        _data_fetch,
        "download a data set, or the published potential so3lr, into the cache",
        "An interrupted download starts anew. SO3KRATES_CACHE names another cache.",
    )
    fetch.add_argument("name", help="a registered name, or so3lr")
    fetch.add_argument("--force", action="store_true", help="download anew what is there")
    generate = command(
        actions,
        "generate",
        _data_generate,
        "make bundled data anew with a reference calculator",
        "Needs the extra `generate` (tblite).",
    )
    generate.add_argument("name", help="ethanol-gfn2, carbon-chains-gfn2 or cumulenes-gfn2")
    generate.add_argument("--out", type=file_to_write, help=".npz file to write [NAME.npz]")
    generate.add_argument("--frames", type=positive, help="how many [as bundled]")
    generate.add_argument("--seed", type=seed_number, help="[as bundled]")


def _data_list(options: argparse.Namespace) -> None:
    from so3krates_lite.datasets import REGISTRY
    from so3krates_lite.datasets.bundled import PUBLISHED, fetched_model
    from so3krates_lite.datasets.places import locate
    from so3krates_lite.training.evaluation import format_table

    rows = []
    for name, card in REGISTRY.items():
        if card.bundled:
            where = "bundled"
        elif locate(name):
            where = "here"
        else:
            where = "fetch" if card.files else "by hand"
        rows.append({"name": name, "where": where, "title": card.title})
    for name in PUBLISHED:
        where = "here" if fetched_model(name) else "fetch"
        rows.append({"name": name, "where": where, "title": "a published potential: a model"})
    print(format_table(rows))
    print(
        "\nbundled, here: ready. fetch: `so3krates-lite data fetch NAME`. by hand: see data info."
    )


def _data_info(options: argparse.Namespace) -> None:
    from so3krates_lite.datasets import REGISTRY
    from so3krates_lite.datasets.bundled import PUBLISHED
    from so3krates_lite.datasets.places import locate

    if options.data in PUBLISHED:
        _print_card(options.data)
        return
    if options.data in REGISTRY:
        card = REGISTRY[options.data]
        for name in ("title", "level_of_theory", "citation", "licence", "doi", "note"):
            if getattr(card, name):
                print(f"{name.replace('_', ' ')}: {getattr(card, name)}")
        for url in card.urls:
            print(f"file: {url}")
        for number in card.numbers:
            print(f"paper: {number.quantity} {number.value:g} {number.unit} ({number.setting})")
        if not locate(options.data):
            print("not on this machine")
            return
    frames = load_data(options)
    print(f"frames: {len(frames)} of {frames.n_atoms.min()} to {frames.n_atoms.max()} atoms")
    from ase.data import chemical_symbols

    print(f"elements: {' '.join(chemical_symbols[z] for z in frames.elements)}")
    if frames.energy is not None:
        print(
            f"energy: {frames.energy.mean():.3f} eV, standard deviation {frames.energy.std():.3f}"
        )
    if frames.forces is not None:
        print(f"force components: standard deviation {frames.forces[frames.mask].std():.3f} eV/Å")
    for key, value in frames.info.items():
        print(f"{key.replace('_', ' ')}: {value}")


def _data_fetch(options: argparse.Namespace) -> None:
    from so3krates_lite.datasets.bundled import PUBLISHED
    from so3krates_lite.published import fetch

    paths = fetch(options.name, force=options.force)
    if options.name in PUBLISHED:
        _print_card(paths[0])
    for path in paths:
        print(path)


def _print_card(model: str | Path) -> None:
    from so3krates_lite.potential import Potential

    for name, told in Potential.load(model).card.items():
        print(f"{name}: {told}")


def _data_generate(options: argparse.Namespace) -> None:
    from so3krates_lite.datasets.generate import generate

    out = options.out or Path(f"{options.name.replace('-', '_')}.npz")
    if out.exists():
        raise UserError(f"{out} exists already: name another file with --out, or remove it first.")
    frames = generate(options.name, out, n_frames=options.frames, seed=options.seed)
    print(f"{len(frames)} frames: {out}")
