"""Where the repository is, read from pyproject.toml, and the addresses that follow from it."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BRANCH = "main"
PAGES = "gh-pages"  # where .github/workflows/site.yml puts the built site
REPOSITORY: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "urls"
]["Repository"].rstrip("/")
NAME = "/".join(REPOSITORY.split("/")[-2:])
IS_PLACEHOLDER = NAME.startswith("OWNER/")


def in_colab(lesson: str) -> str:
    """Opens the site's copy of a lesson (`lesson` is the file's stem) in Colab."""
    return f"https://colab.research.google.com/github/{NAME}/blob/{PAGES}/colab/{lesson}.ipynb"


def on_binder(lesson: str) -> str:
    """Opens a lesson as it is on Binder, which installs by environment.yml."""
    return f"https://mybinder.org/v2/gh/{NAME}/{BRANCH}?urlpath=lab/tree/notebooks/{lesson}.ipynb"


def of_file(path: str) -> str:
    """A file of the repository, by its path from the root."""
    return f"{REPOSITORY}/blob/{BRANCH}/{path}"
