"""The site: `make docs` builds it in build/site from the folders as they are.

The source is the repository's root, so that links from file to file lead to the same place here and
where the code is kept. What is made for the site alone stands in docs/parts/, one purpose a file.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from parts import address, explorers, lessons, mathml, reference  # noqa: E402

import so3krates_lite  # noqa: E402

# libraries warn of one another where types are looked up; Sphinx's own warnings remain errors
warnings.filterwarnings("ignore", module="(?!sphinx|myst)")

project = "so3krates-lite"
author = "the so3krates-lite authors"
project_copyright = f"2026, {author}"
version = release = so3krates_lite.__version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "notebooks/README.md",
    "notebooks/[0-9]*.ipynb",
    "data/**README.md",
    "benchmarks/*.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = [".*", "build", "demo", "dist", "runs", "scratch", "so3krates_lite", "tests"]

# -- text and lessons -----------------------------------------------------------------------------
myst_enable_extensions = ["dollarmath", "colon_fence", "attrs_inline", "attrs_block"]
myst_heading_anchors = 3
nb_custom_formats = {".ipynb": ["parts.lessons.read_for_the_site", {}, False]}
nb_execution_mode = "off"
nb_merge_streams = True
html_math_renderer = "mathml"

# -- the package's reference ----------------------------------------------------------------------
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 88

# -- looks ----------------------------------------------------------------------------------------
html_theme = "furo"
html_title = "so3krates-lite"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = [("figures.js", {"defer": "defer"})]
html_copy_source = False
html_show_sourcelink = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1268b3", "color-brand-content": "#1268b3"},
    "dark_css_variables": {"color-brand-primary": "#6db5f2", "color-brand-content": "#6db5f2"},
    "source_repository": address.REPOSITORY,
    "source_branch": address.BRANCH,
    "source_directory": "",
}


def setup(app) -> dict[str, bool]:
    """Join what docs/parts/ makes to the build."""
    for part in (lessons, mathml, reference, explorers):
        part.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
