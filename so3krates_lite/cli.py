"""The command line: train, evaluate, predict, look at attention, handle data.

Each command is a thin layer over the Python function of the same name. A user's mistake ends in one
sentence on standard error and exit status 2; anything else is a bug and shows its trace.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from so3krates_lite import __version__
from so3krates_lite.errors import UserError

MODEL_HELP = "a .safetensors file, a run folder, or a bundled model such as ethanol-gfn2"
DATA_HELP = "a data set's name (see `data list`), or a file: npz, extxyz, db, n2p2 input.data, …"

MODEL_OPTIONS = {
    "variant": "which public form is computed: paper, or v0.3 (the later code)",
    "features": "F, width of the atoms' features",
    "layers": "number of layers",
    "degrees": "degrees of the spherical harmonic coordinates",
    "heads": "heads of the feature attention",
    "cutoff": "radius of the neighbourhood in Å",
    "sphc_start": "mean, smooth, sum or zero",
}
TRAIN_OPTIONS = {
    "epochs": "passes over the training frames, at most",
    "max_minutes": "stop after so many minutes",
    "batch_size": "structures per step",
    "learning_rate": "of Adam, at its highest",
    "schedule": "plateau, cosine, exponential or constant",
    "clip_norm": "largest norm of a gradient",
    "ema_decay": "of the running mean of the weights",
    "energy_weight": "weight of the energies' squared error",
    "forces_weight": "weight of the forces' squared error",
    "energy_shift": "energy zero: one per element, per atom, or none",
    "stop_patience": "stop after so many validations without improvement (0: never)",
    "seed": "of weights, order of frames and split",
    "precision": "float32 or float64",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except UserError as error:
        print(f"so3krates-lite: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("so3krates-lite: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader (`| head`) has left; nothing is wrong
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="so3krates-lite",
        description="Equivariant attention for atoms: train So3krates, use it, look inside it.",
        epilog="Start with `so3krates-lite demo`. Every command explains itself with --help.",
    )
    parser.add_argument("--version", action="version", version=f"so3krates-lite {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_attention(commands)
    _add_data(commands)
    _add_demo(commands)
    return parser


def _command(commands, name: str, run, summary: str, more: str = "") -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. {more}".strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _add_loading(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reading the data")
    group.add_argument("--part", default="all", help="train or test, where the authors divided it")
    group.add_argument("--labels", help="original or revised, where a file holds both")
    group.add_argument("--energy-unit", help="of the file, where it does not say (eV, kcal/mol, …)")
    group.add_argument("--length-unit", help="of the file, where it does not say (Å, bohr, …)")
    group.add_argument("--limit", type=_positive, help="read only so many frames")


def _load(options: argparse.Namespace):
    from so3krates_lite.datasets import load

    return load(
        options.data,
        part=options.part,
        labels=options.labels,
        energy_unit=options.energy_unit,
        length_unit=options.length_unit,
        limit=options.limit,
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return value


# -- train ------------------------------------------------------------------------------------


def _add_train(commands) -> None:
    parser = _command(
        commands,
        "train",
        _train,
        "train a potential on labelled structures",
        "The run folder keeps settings, split, metrics and weights; a run that was\n"
        "stopped, by whatever means, goes on with --resume as if nothing had happened.\n\n"
        "  so3krates-lite train ethanol-gfn2 --train 1000 --valid 200 --folder runs/ethanol\n"
        "  so3krates-lite train ethanol-gfn2 --folder runs/ethanol --resume",
    )
    parser.add_argument("data", help=DATA_HELP)
    parser.add_argument("--folder", type=Path, required=True, help="where the run is kept")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    parser.add_argument("--start", help=f"begin from the weights of a model: {MODEL_HELP}")
    parser.add_argument("--train", type=_positive, default=1000, help="training frames [1000]")
    parser.add_argument("--valid", type=_positive, default=200, help="validation frames [200]")
    parser.add_argument("--test", type=_positive, help="test frames [all that remain]")
    parser.add_argument(
        "--strategy", default="random", help="random, energy-stratified or group [random]"
    )
    _add_loading(parser)
    from so3krates_lite.config import ModelConfig

    _add_fields(parser.add_argument_group("model"), ModelConfig, MODEL_OPTIONS)
    from so3krates_lite.training.config import TrainConfig

    _add_fields(parser.add_argument_group("training"), TrainConfig, TRAIN_OPTIONS)


def _add_fields(group, cls: type, options: dict[str, str]) -> None:
    """One option per field of a dataclass, with its default named and left to the dataclass."""
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}
    kinds = {"max_minutes": float, "sphc_start": str}
    for name, text in options.items():
        default = defaults[name]
        kind = kinds.get(name, type(default))
        more = {"nargs": "+", "type": int} if kind is tuple else {"type": kind}
        shown = " ".join(map(str, default)) if kind is tuple else default
        group.add_argument(
            f"--{name.replace('_', '-')}",
            help=text if default is None else f"{text} [{shown}]",
            metavar="N" if kind in (int, float, tuple) else "NAME",
            **more,
        )


def _chosen(options: argparse.Namespace, names: dict[str, str]) -> dict:
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _train(options: argparse.Namespace) -> None:
    from so3krates_lite.config import ModelConfig
    from so3krates_lite.datasets.splits import STRATEGIES
    from so3krates_lite.evaluation import evaluate, format_table
    from so3krates_lite.potential import Potential
    from so3krates_lite.training import TrainConfig, train
    from so3krates_lite.training.run import RunFolder

    model, settings = _chosen(options, MODEL_OPTIONS), _chosen(options, TRAIN_OPTIONS)
    if options.resume and (model or settings or options.start):
        given = sorted([*model, *settings, *(["start"] if options.start else [])])
        raise UserError(f"--resume takes all settings from the run folder: leave out --{given[0]}.")
    if options.start and model:
        raise UserError(
            f"--start takes the model's settings along: leave out --{next(iter(model))}."
        )
    if options.strategy not in STRATEGIES:
        raise UserError(
            f"--strategy {options.strategy} is not known: choose {', '.join(STRATEGIES)}."
        )
    frames = _load(options)
    if options.resume:
        split = RunFolder(options.folder).split()
    else:
        split = STRATEGIES[options.strategy](
            frames, options.train, options.valid, options.test, settings.get("seed", 0)
        )
    result = train(
        frames,
        split,
        model=ModelConfig(**model),
        settings=TrainConfig(**settings),
        folder=options.folder,
        resume=options.resume,
        start=Potential.load(options.start) if options.start else None,
    )
    rows = []
    for part in ("valid", "test"):
        index = getattr(split, part)
        if len(index):
            name = f"{frames.info.get('name', 'frames')}, {part}"
            rows.append(evaluate(result.potential, frames[index], name=name)[0].row())
    print(format_table(rows))
    print(f"The best potential is {options.folder / 'best.safetensors'}.")


# -- evaluate, predict, attention -------------------------------------------------------------


def _add_evaluate(commands) -> None:
    parser = _command(
        commands,
        "evaluate",
        _evaluate,
        "errors of a model on labelled structures",
        "With a run folder as the model, its own test frames are judged.\n\n"
        "  so3krates-lite evaluate runs/ethanol ethanol-gfn2\n"
        "  so3krates-lite evaluate model.safetensors md17-ethanol --part test",
    )
    parser.add_argument("model", help=MODEL_HELP)
    parser.add_argument("data", help=DATA_HELP)
    parser.add_argument("--split", type=Path, help="split file; default: the run folder's")
    parser.add_argument("--set", default="test", help="train, valid, test or all [test]")
    parser.add_argument("--unit", default="kcal/mol", help="of energies in the table [kcal/mol]")
    parser.add_argument("--json", type=Path, help="write the errors (eV, Å) to a file as well")
    _add_loading(parser)


def _evaluate(options: argparse.Namespace) -> None:
    from so3krates_lite import storage
    from so3krates_lite.datasets.splits import Split
    from so3krates_lite.evaluation import evaluate, format_table
    from so3krates_lite.potential import Potential, bundled_split
    from so3krates_lite.units import unit

    if options.set not in ("train", "valid", "test", "all"):
        raise UserError(f"--set {options.set} is not known: choose train, valid, test or all.")
    unit(options.unit)
    potential = Potential.load(options.model)
    frames = _load(options)
    name = frames.info.get("name", options.data)
    split = None
    if options.set != "all":
        path = options.split or Path(options.model) / "split.npz"
        if options.split or path.is_file():
            split = Split.load(path)
        elif options.data == options.model:
            split = bundled_split(options.model)
    if split is not None:
        split.check(frames)
        frames = frames[getattr(split, options.set)]
        name = f"{name}, {options.set}"
    errors, _ = evaluate(potential, frames, name=name)
    print(format_table([errors.row(options.unit)]))
    if options.json:
        content = json.dumps(dataclasses.asdict(errors), indent=2)
        storage.write_atomically(options.json, content.encode())


def _add_predict(commands) -> None:
    parser = _command(
        commands,
        "predict",
        _predict,
        "energies and forces of structures",
        "Writes what ASE reads (extxyz, db, …) or this package's own npz, by the ending.\n\n"
        "  so3krates-lite predict ethanol-gfn2 molecules.xyz --out predicted.extxyz",
    )
    parser.add_argument("model", help=MODEL_HELP)
    parser.add_argument("data", help=DATA_HELP)
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--stress", action="store_true", help="stress too (periodic structures)")
    _add_loading(parser)


def _predict(options: argparse.Namespace) -> None:
    from so3krates_lite.datasets.storage import write_frames
    from so3krates_lite.potential import Potential

    potential = Potential.load(options.model)
    frames = _load(options)
    prediction = potential.predict(frames, stress=options.stress)
    predicted = frames.replace(
        energy=prediction.energy, forces=prediction.forces, stress=prediction.stress
    )
    write_frames(predicted, options.out)
    print(f"{len(frames)} structures with energies and forces (eV, Å): {options.out}")


def _add_attention(commands) -> None:
    parser = _command(
        commands,
        "attention",
        _attention,
        "what each layer, head and degree attends to",
        "Writes a page to turn and explore in a browser (.html, first structure), or the\n"
        "numbers (.npz; read them with AttentionRecord.load).\n\n"
        "  so3krates-lite attention ethanol-gfn2 ethanol-gfn2 --limit 1 --out attention.html",
    )
    parser.add_argument("model", help=MODEL_HELP)
    parser.add_argument("data", help=DATA_HELP)
    parser.add_argument("--out", type=Path, required=True, help=".html or .npz file to write")
    _add_loading(parser)


def _attention(options: argparse.Namespace) -> None:
    from so3krates_lite.potential import Potential

    if options.out.suffix not in (".html", ".npz"):
        raise UserError(f"--out {options.out}: the name should end in .html or .npz.")
    potential = Potential.load(options.model)
    frames = _load(options)
    if options.out.suffix == ".html":
        from so3krates_lite.report import write_report

        record = potential.attention(frames[0])
        title = f"Attention in {frames.info.get('name', options.data)}"
        write_report(options.out, title=title, record=record, facts=dict(potential.card))
    else:
        potential.attention(frames).save(options.out)
    print(f"Attention written to {options.out}.")


# -- data -------------------------------------------------------------------------------------


def _add_data(commands) -> None:
    parser = commands.add_parser("data", help="list, fetch, make and inspect data sets")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    _command(actions, "list", _data_list, "all registered data sets and whether they are here")
    info = _command(actions, "info", _data_info, "what is known about a data set or file")
    info.add_argument("data", help=DATA_HELP)
    _add_loading(info)
    fetch = _command(
        actions,
        "fetch",
        _data_fetch,
        "download a data set into the cache",
        "An interrupted download goes on where it stopped. SO3KRATES_CACHE names another cache.",
    )
    fetch.add_argument("name", help="a registered name")
    fetch.add_argument("--force", action="store_true", help="download anew what is there")
    generate = _command(
        actions,
        "generate",
        _data_generate,
        "make bundled data anew with a reference calculator",
        "Needs the extra `generate` (tblite).",
    )
    generate.add_argument("name", help="ethanol-gfn2 or carbon-chains-gfn2")
    generate.add_argument("--out", type=Path, help=".npz file to write [NAME.npz]")
    generate.add_argument("--frames", type=_positive, help="how many [as bundled]")
    generate.add_argument("--seed", type=int, help="[as bundled]")


def _data_list(options: argparse.Namespace) -> None:
    from so3krates_lite.datasets import REGISTRY
    from so3krates_lite.datasets.places import locate
    from so3krates_lite.evaluation import format_table

    rows = []
    for name, card in REGISTRY.items():
        if card.bundled:
            where = "bundled"
        elif locate(name):
            where = "here"
        else:
            where = "fetch" if card.files else "by hand"
        rows.append({"name": name, "where": where, "title": card.title})
    print(format_table(rows))
    print(
        "\nbundled, here: ready. fetch: `so3krates-lite data fetch NAME`. by hand: see data info."
    )


def _data_info(options: argparse.Namespace) -> None:
    from so3krates_lite.datasets import REGISTRY
    from so3krates_lite.datasets.places import locate

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
    frames = _load(options)
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
    from so3krates_lite.datasets import fetch

    for path in fetch(options.name, force=options.force):
        print(path)


def _data_generate(options: argparse.Namespace) -> None:
    from so3krates_lite.datasets.generate import generate

    out = options.out or Path(f"{options.name.replace('-', '_')}.npz")
    if out.exists():
        raise UserError(f"{out} exists already: name another file with --out, or remove it first.")
    frames = generate(options.name, out, n_frames=options.frames, seed=options.seed)
    print(f"{len(frames)} frames: {out}")


# -- demo -------------------------------------------------------------------------------------


def _add_demo(commands) -> None:
    parser = _command(
        commands,
        "demo",
        _demo,
        "the whole way on bundled data: model, errors, training, attention",
        "Writes a folder with a page to open in a browser, offline.",
    )
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="[demo]")
    parser.add_argument("--minutes", type=float, default=1.0, help="of training [1]")


def _demo(options: argparse.Namespace) -> None:
    from so3krates_lite.demo import run_demo

    run_demo(options.folder, options.minutes)


if __name__ == "__main__":
    sys.exit(main())
