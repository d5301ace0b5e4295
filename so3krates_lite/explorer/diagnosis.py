"""What the explorer needs, what is there, and what to do about the rest."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

# package, why it is needed, versions known not to work and what happens with them
NEEDED = (
    ("ipywidgets", "controls", {}),
    ("anywidget", "matrix and plots", {}),
    ("nglview", "the turning molecule", {"4.0.1": "its view stays blank in JupyterLab"}),
    ("plotly", "figures to keep, and the exported page", {}),
    ("jupyterlab", "the notebook (or notebook, or voila)", {}),
    ("notebook", "the notebook (or jupyterlab, or voila)", {}),
    ("voila", "the command `explore`", {}),
    ("jax", "computing", {}),
)
_EXTENSIONS = ("nglview-js-widgets", "anywidget", "@jupyter-widgets/jupyterlab-manager")


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found: printed as a table; ``problems`` is empty where all is well."""

    versions: dict[str, str]
    problems: list[str]

    def __str__(self) -> str:
        width = max(map(len, self.versions))
        lines = [f"{name.ljust(width)}  {found}" for name, found in self.versions.items()]
        found = self.problems or ["Nothing is missing."]
        return "\n".join([*lines, "", *found])

    __repr__ = __str__


def diagnose() -> Diagnosis:
    """Versions of what the explorer is made of, and what is missing or known not to work.

    Whether a browser has WebGL only the browser can tell: the explorer asks it, and says so where
    the molecule should be.
    """
    versions = {"Python": platform.python_version(), "so3krates-lite": version("so3krates-lite")}
    problems = []
    for name, purpose, broken in NEEDED:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "missing"
            problems.append(f"{name} is missing ({purpose}): pip install 'so3krates-lite[lab]'.")
            continue
        if versions[name] in broken:
            problems.append(
                f"{name} {versions[name]} is known not to work ({broken[versions[name]]}): install "
                f"another version, as constraints.txt has it."
            )
    problems += [
        f"The notebook extension {name} is not found: install its package in the environment that "
        f"runs JupyterLab."
        for name in _EXTENSIONS
        if find_spec("jupyter_core") and not _extension_is_there(name)
    ]
    for browser in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(browser):
            versions["browser for tests"] = path.rsplit("/", 1)[-1]
            break
    return Diagnosis(versions, problems)


def _extension_is_there(name: str) -> bool:
    from pathlib import Path

    from jupyter_core.paths import jupyter_path

    return any((Path(folder) / name).is_dir() for folder in jupyter_path("labextensions"))
