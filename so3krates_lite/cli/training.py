"""The command `train`: options for the split, and one for each setting of model and training.

Settings are fields of a model's configuration and of `TrainConfig`; types, defaults and help are
read from there. Only what was given on the command line is handed on; every default stays with its
dataclass.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable

from so3krates_lite.cli.options import (
    DATA_HELP,
    MODEL_HELP,
    add_loading,
    command,
    devices,
    documented,
    folder_to_write,
    load_data_or_stream,
    positive,
    seed_number,
)
from so3krates_lite.config import ARCHITECTURES, GeomAttConfig, So3kratesConfig
from so3krates_lite.errors import UserError
from so3krates_lite.training.config import TrainConfig

SO3KRATES_OPTIONS = (
    *("variant", "features", "layers", "degrees", "heads", "cutoff", "sphc_start"),
    *("sphc_invariant", "spherical_radius", "long_cutoff", "charge_embedding", "spin_embedding"),
    "physics",
)
GEOMATT_OPTIONS = ("orders", "inner", "shared")
MODEL_OPTIONS = (*SO3KRATES_OPTIONS, *GEOMATT_OPTIONS)
TRAIN_OPTIONS = (
    *("epochs", "max_minutes", "batch_size", "optimiser", "learning_rate", "schedule"),
    *("weight_decay", "momentum", "clip_norm"),
    *("ema_decay", "loss", "energy_weight", "forces_weight", "energy_shift", "energy_scale"),
    *("train_only", "refit_shift", "stop_patience"),
    *("members", "seed", "precision"),
)
SPLIT_OPTIONS = {
    "train": "training frames [1000; of a folder all that remain]",
    "valid": "validation frames [200]",
    "test": "test frames [all that remain; of a folder 1000]",
    "strategy": "of the split: random, energy-stratified or group [random]",
}


def add_train(commands) -> None:
    parser = command(
        commands,
        "train",
        _train,
        "train a potential on labelled structures",
        "The run folder keeps settings, split, metrics and weights; a run that was\n"
        "stopped, by whatever means, goes on with --resume as if nothing had happened.\n\n"
        "  so3krates-lite train ethanol-gfn2 --train 1000 --valid 200 --folder runs/ethanol\n"
        "  so3krates-lite train ethanol-gfn2 --folder runs/ethanol --resume",
    )
    parser.add_argument("data", help=f"{DATA_HELP}; a folder of files is read as it is needed")
    parser.add_argument(
        "--folder", type=folder_to_write, required=True, help="where the run is kept"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    parser.add_argument("--start", help=f"begin from the weights of a model: {MODEL_HELP}")
    for name, text in SPLIT_OPTIONS.items():
        kind = str if name == "strategy" else positive
        parser.add_argument(f"--{name}", type=kind, help=text)
    add_loading(parser)
    parser.add_argument(
        "--model",
        choices=tuple(ARCHITECTURES),
        help="the architecture [so3krates]",
    )
    _add_fields(parser.add_argument_group("so3krates"), So3kratesConfig, SO3KRATES_OPTIONS)
    both = f"--features [{GeomAttConfig.features}] and --layers [{GeomAttConfig.layers}] too"
    geomatt = parser.add_argument_group("geomatt", both)
    _add_fields(geomatt, GeomAttConfig, GEOMATT_OPTIONS)
    _add_fields(parser.add_argument_group("training"), TrainConfig, TRAIN_OPTIONS)
    group = parser.add_argument_group("frames that stay on disk", "see docs/scale.md")
    group.add_argument(
        "--skip-damaged", action="store_true", help="leave out files that cannot be read"
    )
    group.add_argument(
        "--scratch", type=folder_to_write, help="where scratch files lie [the user's cache]"
    )
    group = parser.add_argument_group("devices", "see docs/scale.md")
    group.add_argument("--devices", type=devices, default=1, help='a number, or "all" [1]')
    group.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0, for several")
    group.add_argument("--processes", type=positive, help="how many there are")
    group.add_argument("--process", type=seed_number, help="which one this is, from 0")


def _add_fields(group, cls: type, options: tuple[str, ...]) -> None:
    """One option per field of a dataclass, with its default named and left to the dataclass."""
    texts = documented(cls) | {"seed": "of weights, order of frames and split"}
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}
    kinds = {
        "max_minutes": float,
        "learning_rate": float,
        "sphc_start": str,
        "sphc_invariant": str,
        "spherical_radius": float,
        "long_cutoff": float,
        "seed": seed_number,
    }
    for name in options:
        default, text = defaults[name], texts[name]
        if isinstance(default, bool):
            switch = f"--{name.replace('_', '-')}"
            group.add_argument(switch, action="store_const", const=True, help=text)
            continue
        kind = kinds.get(name, type(default))
        more = {"type": kind}
        shown: object = default
        if kind is tuple:
            more = {"nargs": "+", "type": int if default else str}
            shown = " ".join(map(str, default)) or "none"
        group.add_argument(
            f"--{name.replace('_', '-')}",
            help=text if text.endswith("]") else f"{text} [{shown}]",
            metavar="NAME" if kind is str else "N",
            **more,
        )


def _chosen(options: argparse.Namespace, names: Iterable[str]) -> dict:
    values = {name: getattr(options, name) for name in names}
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return {name: value for name, value in values.items() if value is not None}


def _train(options: argparse.Namespace) -> None:
    from so3krates_lite.datasets.splits import STRATEGIES
    from so3krates_lite.ensemble import load_potential
    from so3krates_lite.structures.frames import Frames
    from so3krates_lite.training import train
    from so3krates_lite.training.devices import is_first
    from so3krates_lite.training.evaluation import evaluate, format_table
    from so3krates_lite.training.run import RunFolder

    model, settings = _chosen(options, MODEL_OPTIONS), _chosen(options, TRAIN_OPTIONS)
    division = {"train": 1000, "valid": 200, "test": None, "strategy": "random"}
    chosen = _chosen(options, SPLIT_OPTIONS)
    division.update(chosen)
    given = [*model, *settings, *chosen]
    given += [name for name in ("model", "start") if getattr(options, name)]
    if options.resume and given:
        option = f"--{min(given).replace('_', '-')}"
        raise UserError(f"--resume takes all settings from the run folder: leave out {option}.")
    if options.start and (model or options.model):
        option = next(iter(model), "model").replace("_", "-")
        raise UserError(f"--start takes the model's settings along: leave out --{option}.")
    architecture = options.model or So3kratesConfig.architecture
    cls = ARCHITECTURES[architecture]
    settable = {field.name for field in dataclasses.fields(cls)}
    other = [name for name in model if name not in settable]
    if other:
        raise UserError(
            f"--{other[0].replace('_', '-')} is not a setting of {architecture}: leave it out, or "
            f"choose another --model."
        )
    if options.start is None and "refit_shift" in settings:
        raise UserError("--refit-shift needs a model to begin from: give it with --start.")
    strategy = division["strategy"]
    if strategy not in STRATEGIES:
        raise UserError(f"--strategy {strategy} is not known: choose {', '.join(STRATEGIES)}.")
    model_config, train_config = cls(**model), TrainConfig(**settings)
    _join(options)
    start = load_potential(options.start) if options.start else None
    frames = load_data_or_stream(options, folders_only=True)
    if options.resume:
        split = RunFolder(options.folder).split()
    else:
        if not isinstance(frames, Frames):
            rest = {"test": min(1000, len(frames) // 10), "valid": min(200, len(frames) // 10)}
            division |= {name: rest[name] for name in rest.keys() - chosen.keys()}
            if "train" not in chosen:
                division["train"] = len(frames) - division["valid"] - division["test"]
        sizes = (division["train"], division["valid"], division["test"])
        split = STRATEGIES[strategy](frames, *sizes, train_config.seed)
    result = train(
        frames,
        split,
        model=model_config,
        settings=train_config,
        folder=options.folder,
        resume=options.resume,
        start=start,
        devices=options.devices,
    )
    if not is_first():
        return
    split, rows = RunFolder(options.folder).split(), []  # isolated atoms may have left it
    for part in ("valid", "test"):
        index = getattr(split, part)
        if len(index):
            name = f"{frames.info.get('name', 'frames')}, {part}"
            rows.append(evaluate(result.potential, frames[index], name=name)[0].row())
    print(format_table(rows))
    print(f"The best potential is {options.folder / 'best.safetensors'}.")


def _join(options: argparse.Namespace) -> None:
    """Meet the other processes, if there are any."""
    names = ("coordinator", "processes", "process")
    given = [name for name in names if getattr(options, name) is not None]
    if not given:
        return
    if len(given) < 3:
        lacking = next(name for name in names if name not in given)
        raise UserError(f"--{given[0]} is given without --{lacking}: several processes need both.")
    if options.devices != "all":
        raise UserError("Several processes train on all of their devices: pass --devices all.")
    from so3krates_lite.training.devices import join

    join(options.coordinator, options.processes, options.process)
