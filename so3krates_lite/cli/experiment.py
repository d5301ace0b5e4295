"""The commands below `experiment`: the papers' questions, each with one command."""

from __future__ import annotations

import argparse
from dataclasses import replace

from so3krates_lite.cli.options import (
    DATA_HELP,
    MODEL_HELP,
    above_zero,
    add_loading,
    command,
    folder_to_write,
    load_data,
    positive,
    seed_number,
)
from so3krates_lite.config import ARCHITECTURES
from so3krates_lite.errors import UserError

KEPT = "A run that is there already is taken, one that was stopped is finished."


def add_experiment(commands) -> None:
    group = commands.add_parser(
        "experiment", help="train models alike and compare them, as the papers do"
    )
    parts = group.add_subparsers(title="experiments", required=True, metavar="EXPERIMENT")
    cumulenes = command(
        parts,
        "cumulenes",
        _cumulenes,
        "energy over the angle between the ends of C3H4 to C15H4",
        f"A local model against a spherical neighbourhood. {KEPT}",
    )
    cumulenes.add_argument("--carbons", type=positive, nargs="+", help="lengths [3 to 15]")
    _add_common(cumulenes, "runs/cumulenes", "cumulenes-gfn2")

    chains = command(
        parts,
        "charge-transfer",
        _charge_transfer,
        "learning curve on sets with charged molecules: C10H2 / C10H3+ or Na8/9Cl8+",
        f"Local and spherical, with and without the total charge as input. {KEPT}\n\n"
        "  so3krates-lite experiment charge-transfer carbon-chains --sizes 20 40 80 --test 16\n"
        "  so3krates-lite experiment charge-transfer path/to/input.data --sizes 9000 --test 1000",
    )
    _add_common(chains, "runs/charge-transfer", "carbon-chains-gfn2")
    chains.add_argument("--sizes", type=positive, nargs="+", default=[50, 100, 200, 400])
    chains.add_argument("--test", type=positive, help="frames to judge by [a fifth of all]")
    chains.add_argument("--steps", type=positive, help="training steps of each run [3000]")

    ag3 = command(
        parts,
        "ag3",
        _ag3,
        "Ag3 with one electron more or less: with and without the charge as input",
        f"{KEPT} The data are found under SO3KRATES_DATA.",
    )
    _add_common(ag3, "runs/ag3", "ag3-charge-states")

    curves = command(
        parts,
        "learning-curves",
        _learning_curves,
        "test error over the number of training frames, for each highest degree",
        "All with the same number of steps. A run that the results hold already is not made again."
        "\n\n  so3krates-lite experiment learning-curves md17-ethanol --highest 1 3 --steps 8000",
    )
    curves.add_argument("data", nargs="?", default="ethanol-gfn2", help=f"{DATA_HELP} [bundled]")
    _add_folder(curves, "runs/learning-curves")
    curves.add_argument("--sizes", type=positive, nargs="+", help="[50 100 200 400]")
    curves.add_argument("--highest", type=seed_number, nargs="+", help="degrees [0 1 2 3]")
    curves.add_argument("--seeds", type=seed_number, nargs="+", default=[0], help="[0]")
    curves.add_argument("--test", type=positive, default=400, help="frames to judge by [400]")
    curves.add_argument("--steps", type=positive, help="training steps of each run [2000]")
    add_loading(curves)

    recipes = command(
        parts,
        "recipes",
        _recipes,
        "settings of training and network varied, judged by validation frames alone",
        f"Every combination of the values is trained. {KEPT}\n\n"
        "  so3krates-lite experiment recipes --vary optimiser muon adam --vary epochs 20\n"
        "  so3krates-lite experiment recipes rmd17-ethanol --part train --labels original \\\n"
        "      --train 500 --valid 500 --vary batch-size 2 10 --vary momentum 0.95 0.98",
    )
    recipes.add_argument("data", nargs="?", default="ethanol-gfn2", help=f"{DATA_HELP} [bundled]")
    _add_folder(recipes, "runs/recipes")
    recipes.add_argument(
        "--vary",
        nargs="+",
        action="append",
        required=True,
        metavar=("SETTING", "VALUE"),
        help="a setting and its values; of training: optimiser, learning-rate, schedule, epochs, "
        "batch-size, momentum, weight-decay, clip-norm, ema-decay, loss, energy-weight, "
        "forces-weight, energy-scale; of the network: variant, features, layers, heads, degrees, "
        "cutoff, radial-functions, spherical-radius",
    )
    recipes.add_argument("--seeds", type=seed_number, nargs="+", default=[0], help="[0]")
    recipes.add_argument("--train", type=positive, default=500, help="training frames [500]")
    recipes.add_argument("--valid", type=positive, default=200, help="frames to judge by [200]")
    add_loading(recipes)

    active = command(
        parts,
        "active-learning",
        _active_learning,
        "ethanol labelled where an ensemble disagrees, beside labels at random",
        "Hot dynamics with an ensemble, labels by GFN2-xTB (needs the extra generate), training,\n"
        "and again. A round that is there already is taken. With --stored, what the bundled run\n"
        "has found is shown, which needs nothing.",
    )
    _add_folder(active, "runs/active-learning")
    active.add_argument("--labels", type=positive, nargs="+", help="[20 40 80]")
    seeds = {"type": seed_number, "nargs": "+", "default": [0, 1, 2]}
    active.add_argument("--seeds", **seeds, help="[0 1 2]")
    active.add_argument("--strategies", nargs="+", help="of disagreement, random-time, pool [all]")
    active.add_argument("--members", type=positive, help="of each ensemble [4]")
    active.add_argument("--steps", type=positive, help="training steps of each ensemble [600]")
    active.add_argument("--temperature", type=float, help="of the dynamics, K [800]")
    active.add_argument("--stored", action="store_true", help="show the bundled results")

    uncertain = command(
        parts,
        "uncertainty",
        _uncertainty,
        "do stated deviations know the errors: an ensemble beside the last layer of one network",
        "On frames of bundled ethanol and on hot ones (the extra generate). An ensemble that is\n"
        "there already is taken.",
    )
    _add_folder(uncertain, "runs/uncertainty")
    uncertain.add_argument("--seeds", **seeds, help="[0 1 2]")
    uncertain.add_argument("--train", type=positive, help="training frames [200]")
    uncertain.add_argument("--members", type=positive, help="of each ensemble [4]")
    uncertain.add_argument("--steps", type=positive, help="training steps [2000]")

    shapes = command(
        parts,
        "shapes",
        _shapes,
        "shapes that order 2 or 3 of GeomAtt cannot tell apart, and a higher one can",
        "Trains on shapes made on the spot, a minute for each seed.",
    )
    _add_folder(shapes, "runs/shapes")
    shapes.add_argument("--seeds", type=seed_number, nargs="+", default=[0, 1, 2], help="[0 1 2]")
    shapes.add_argument(
        "--noise", type=float, default=0.02, help="standard deviation of coordinates in Å [0.02]"
    )

    md17 = command(
        parts,
        "md17",
        _md17,
        "molecules of MD17 beside the papers' numbers, the test part looked at once",
        f"{KEPT} The data are found under SO3KRATES_DATA, or fetched before.\n\n"
        "  so3krates-lite experiment md17 ethanol --seeds 0 1 2\n"
        "  so3krates-lite experiment md17 ethanol toluene --model geomatt\n"
        "  so3krates-lite experiment md17 ethanol --start so3lr --train 50",
    )
    _add_molecules(md17, "runs/md17")
    model = {"choices": (*ARCHITECTURES, "so3lr"), "default": "so3krates"}
    md17.add_argument("--model", **model, help="[so3krates]")
    md17.add_argument("--start", help=f"begin from the weights of a model: {MODEL_HELP}")
    md17.add_argument("--seeds", type=seed_number, nargs="+", default=[0], help="[0]")
    labels = {"choices": ("original", "revised"), "default": "original"}
    md17.add_argument("--labels", **labels, help="[original]")
    md17.add_argument(
        "--keep",
        type=folder_to_write,
        metavar="FOLDER",
        help="write weights, split and metrics there as those that are bundled: md17-MOLECULE, "
        "with -geomatt, -revised, -tuned behind it where that is so",
    )

    transfer = command(
        parts,
        "geomatt-transfer",
        _geomatt_transfer,
        "GeomAtt's attention, learnt on one molecule, with a new head for another",
        f"{KEPT}\n\n"
        "  so3krates-lite experiment geomatt-transfer benzene --source runs/toluene "
        "--source-name toluene",
    )
    transfer.add_argument("--source", required=True, help=f"the trained GeomAtt: {MODEL_HELP}")
    transfer.add_argument("--source-name", required=True, help="the molecule it was trained on")
    _add_molecules(transfer, "runs/geomatt-transfer")


def _add_folder(parser: argparse.ArgumentParser, folder: str) -> None:
    parser.add_argument(
        "--folder", type=folder_to_write, default=folder, help=f"where runs are kept [{folder}]"
    )


def _add_molecules(parser: argparse.ArgumentParser, folder: str) -> None:
    parser.add_argument("molecules", nargs="+", help="such as ethanol")
    _add_folder(parser, folder)
    parser.add_argument("--epochs", type=positive, help="passes over the training frames")
    parser.add_argument("--batch-size", type=positive, help="structures per step")
    parser.add_argument("--learning-rate", type=above_zero, help="at its highest")
    parser.add_argument("--loss", metavar="NAME", help="mse or l2mae, as for train")
    parser.add_argument("--train", type=positive, default=950, help="training frames [950]")
    parser.add_argument("--valid", type=positive, default=50, help="validation frames [50]")


def _add_common(parser: argparse.ArgumentParser, folder: str, data: str) -> None:
    parser.add_argument("data", nargs="?", default=data, help=f"{DATA_HELP} [{data}]")
    _add_folder(parser, folder)
    parser.add_argument("--seeds", type=seed_number, nargs="+", default=[0], help="[0]")
    parser.add_argument("--epochs", type=positive, help="passes over the training frames")
    add_loading(parser)


def _show(results: list, path) -> None:
    from so3krates_lite.training.evaluation import format_table

    print(format_table([result.row() for result in results]))
    print(f"All numbers are in {path}.")


def _settings(options: argparse.Namespace, settings):
    names = ("epochs", "batch_size", "learning_rate", "loss")
    given = {name: getattr(options, name, None) for name in names}
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def _cumulenes(options: argparse.Namespace) -> None:
    from so3krates_lite.experiments import cumulenes

    frames = load_data(options)
    curves = cumulenes.cumulene_curves(
        frames,
        carbons=options.carbons or cumulenes.CARBONS,
        settings=_settings(options, cumulenes.SETTINGS),
        seeds=options.seeds,
        folder=options.folder,
    )
    picture = options.folder / "curves.png"
    cumulenes.draw_curves(curves).savefig(picture, dpi=150)
    _show(curves, options.folder / "curves.json")
    print(f"The curves are drawn in {picture}.")


def _charge_transfer(options: argparse.Namespace) -> None:
    from so3krates_lite.experiments import charge_transfer
    from so3krates_lite.training.evaluation import format_table

    if options.epochs is not None:
        raise UserError("charge-transfer counts in training steps: give --steps, not --epochs.")
    frames = load_data(options)
    points = charge_transfer.learning_curve(
        frames,
        options.sizes,
        n_test=options.test or max(len(frames) // 5, 1),
        steps=options.steps or charge_transfer.STEPS,
        seeds=options.seeds,
        folder=options.folder,
    )
    _show(points, options.folder / "learning_curve.json")
    published = charge_transfer.PUBLISHED.get(frames.info.get("name", ""))
    if published:
        print("\nPublished, on the full sets of some 5,000 to 10,000 structures:")
        rows = [
            {"model": name, "energy RMSE (meV/atom)": energy, "force RMSE (meV/Å)": force or "-"}
            for name, (energy, force) in published.items()
        ]
        print(format_table(rows))


def _ag3(options: argparse.Namespace) -> None:
    from so3krates_lite.experiments import ag3

    results = ag3.charge_states(
        load_data(options),
        settings=_settings(options, ag3.SETTINGS),
        seeds=options.seeds,
        folder=options.folder,
    )
    _show(results, options.folder / "charge_states.json")


def _learning_curves(options: argparse.Namespace) -> None:
    from so3krates_lite.experiments import learning_curves

    results = options.folder / learning_curves.STORED
    points = learning_curves.learning_curves(
        load_data(options),
        sizes=options.sizes or learning_curves.SIZES,
        highest=options.highest or learning_curves.HIGHEST,
        seeds=options.seeds,
        n_valid=learning_curves.N_VALID,
        n_test=options.test,
        model=learning_curves.MODEL,
        steps=options.steps or learning_curves.STEPS,
        path=results,
    )
    _show(points, results)


def _recipes(options: argparse.Namespace) -> None:
    from so3krates_lite.experiments import recipes as study

    varied: dict = {}
    for name, *values in options.vary:
        setting = name.replace("-", "_")
        if not values or setting in varied:
            what = "stands there twice" if values else "has no value"
            raise UserError(f"--vary {name} {what}: give each setting once, with its values.")
        varied[setting] = study.values_of(name, values)
    results = study.recipes(
        load_data(options),
        varied,
        n_train=options.train,
        n_valid=options.valid,
        folder=options.folder,
        base=study.BASE,
        seeds=options.seeds,
    )
    _show(results, options.folder / study.STORED)


def _active_learning(options: argparse.Namespace) -> None:
    from so3krates_lite.datasets import load
    from so3krates_lite.datasets.places import bundled_path
    from so3krates_lite.experiments import active_learning as study

    if options.stored:
        points, path = study.stored_points()[0], bundled_path(study.STORED)
    else:
        path = options.folder / study.STORED
        exploration, settings = study.Exploration(), study.SETTINGS
        if options.temperature is not None:
            exploration = replace(exploration, temperature=options.temperature)
        if options.members is not None:
            settings = replace(settings, members=options.members)
        points = study.active_learning(
            load("ethanol-gfn2"),
            labels=options.labels or study.LABELS,
            strategies=options.strategies or study.STRATEGIES,
            seeds=options.seeds,
            settings=settings,
            steps=options.steps or study.STEPS,
            exploration=exploration,
            folder=options.folder,
        )
    options.folder.mkdir(parents=True, exist_ok=True)
    picture = options.folder / "active_learning.png"
    study.figure(points).savefig(picture, dpi=150)
    _show(points, path)
    print(f"The curves are drawn in {picture}.")


def _uncertainty(options: argparse.Namespace) -> None:
    from so3krates_lite.datasets import load
    from so3krates_lite.experiments import uncertainty

    settings = uncertainty.SETTINGS
    if options.members is not None:
        settings = replace(settings, members=options.members)
    found = uncertainty.uncertainty(
        load("ethanol-gfn2"),
        seeds=options.seeds,
        n_train=options.train or uncertainty.N_TRAIN,
        settings=settings,
        steps=options.steps or uncertainty.STEPS,
        folder=options.folder,
    )
    picture = options.folder / "uncertainty.png"
    uncertainty.figure(found).savefig(picture, dpi=150)
    _show(found.points, options.folder / uncertainty.STORED)
    print(f"Errors over deviations are drawn in {picture}.")


def _shapes(options: argparse.Namespace) -> None:
    from so3krates_lite.experiments import shapes

    if not options.noise >= 0:
        raise UserError(f"--noise {options.noise} is not possible: give 0 or more, in Å.")
    results = shapes.classify_shapes(
        noise=options.noise, seeds=options.seeds, folder=options.folder
    )
    _show(results, options.folder / "shapes.json")


def _molecules(options: argparse.Namespace) -> dict:
    return {
        "molecules": options.molecules,
        "n_train": options.train,
        "n_valid": options.valid,
        "folder": options.folder,
    }


def _md17(options: argparse.Namespace) -> None:
    from so3krates_lite.experiments.md17 import FINE_TUNING, RECIPES, md17
    from so3krates_lite.potential import Potential

    recipe, start = RECIPES[options.model], None
    if options.start:
        start = Potential.load(options.start)
        recipe = replace(recipe, settings=FINE_TUNING)
    results = md17(
        **_molecules(options),
        architecture=options.model,
        labels=options.labels,
        seeds=options.seeds,
        recipe=replace(recipe, settings=_settings(options, recipe.settings)),
        start=start,
        keep=options.keep,
    )
    _show(results, options.folder / "md17.json")


def _geomatt_transfer(options: argparse.Namespace) -> None:
    from so3krates_lite.config import GeomAttConfig
    from so3krates_lite.experiments.md17 import RECIPES, transfer
    from so3krates_lite.potential import Potential

    source = Potential.load(options.source)
    if not isinstance(source.config, GeomAttConfig):
        raise UserError(
            f"--source {options.source} is a model of {source.config.architecture}: give one that "
            f"was trained with --model geomatt."
        )
    settings = _settings(options, RECIPES["geomatt"].settings)
    results = transfer(source, options.source_name, **_molecules(options), settings=settings)
    _show(results, options.folder / "transfer.json")
