"""The house: which room stands on which, read from the imports, so that it stays so."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "so3krates_lite"

# From the ground up. What stands in one line may not import one another, whatever is above it.
FLOORS = (
    {"errors", "arrays"},
    {"units", "config", "runtime"},
    {"structures"},
    {"safe", "basis", "embedding", "filters", "datasets", "passes", "notes"},
    {"harmonics", "spherical"},
    {"attention", "exchange", "heads"},
    {"physics"},
    {"model", "geomatt"},
    {"record"},
    {"energies", "drawing"},
    {"curvature"},
    {"potential"},
    {"ensemble"},
    {"interpret", "simulate", "training", "report", "published"},
    {"engines", "experiments", "explorer"},
    {"lessons"},
    {"cli"},
)
FLOOR = {room: k for k, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports_of(path: Path) -> set[tuple[str, str]]:
    """(module, name) of everything that a file imports from the package, at any depth."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("so3krates_lite"):
            for alias in node.names:
                is_module = node.module == "so3krates_lite"
                found.add(
                    (f"so3krates_lite.{alias.name}" if is_module else node.module, alias.name)
                )
        elif isinstance(node, ast.Import):
            found |= {(a.name, "") for a in node.names if a.name.startswith("so3krates_lite")}
    return found


def places() -> dict[str, list[Path]]:
    """The files of each room, and of each module that stands by itself."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            found.setdefault(parts[0], []).append(path)
    return found


def test_every_room_has_its_floor():
    assert set(places()) == set(FLOOR)


@pytest.mark.parametrize("room", sorted(FLOOR))
def test_arrows_lead_down(room):
    for path in places()[room]:
        for module, name in imports_of(path):
            other = room_of(module)
            if other in ("", room) or name == "__version__":
                continue
            assert FLOOR[other] < FLOOR[room], f"{path.name} imports {module}.{name}"


@pytest.mark.parametrize("room", sorted(FLOOR))
def test_no_room_uses_what_is_private_to_another(room):
    for path in places()[room]:
        for module, name in imports_of(path):
            private = name.startswith("_") and not name.startswith("__")
            assert not private or module.rsplit(".", 1)[-1] == path.stem or room_of(module) == room


@pytest.mark.parametrize("room", [p.parent.name for p in sorted(PACKAGE.glob("*/__init__.py"))])
def test_every_room_says_what_lives_there_and_hands_it_out(room):
    module = importlib.import_module(f"so3krates_lite.{room}")
    assert module.__doc__ and "." in module.__doc__
    for name in getattr(module, "__all__", ()):
        assert getattr(module, name) is not None


def test_tests_stand_in_the_rooms_of_what_they_test():
    folders = {path.parent.name for path in Path(__file__).parent.glob("*/test_*.py")}
    assert folders <= set(FLOOR)


@pytest.mark.parametrize("name", ["figures", "scene", "stills", "curves", "graph", "frames"])
def test_modules_that_moved_are_found_with_a_word(name):
    import so3krates_lite

    with pytest.warns(DeprecationWarning, match=rf"so3krates_lite\.{name} is now so3krates_lite\."):
        assert getattr(so3krates_lite, name).__name__.startswith("so3krates_lite.")
