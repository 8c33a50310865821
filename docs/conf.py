"""What `make docs` builds into build/site: the Markdown files of the repository and the docstrings, by Sphinx."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

import textpl

ROOT = Path(__file__).parents[1]

project, release, copyright = "textpl", textpl.__version__, "textpl, Apache-2.0"
root_doc = "docs/index"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib.typer"]
# The source folder is the repository, so that links between its files are links between pages.
include_patterns = [
    "*.md", "docs/**.md", "docs/reference/*.rst", "*/README.md", "recipes/*/README.md", "notebooks/*.ipynb",
]  # fmt: skip
exclude_patterns = [".*", "*.egg-info", "benchmarks/out", "build", "runs", "tests", "textpl"]

html_theme = "furo"
html_title = f"textpl {release}"
html_copy_source = False
pygments_style, pygments_dark_style = "default", "monokai"

myst_heading_anchors = 3
nb_execution_mode = "off"  # the outputs of `make notebooks` are shown
napoleon_use_ivar = True  # a field and a property of one name are one thing
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_type_aliases = {"ArrayLike": "numpy.typing.ArrayLike"}
autodoc_typehints_description_target = "documented"
napoleon_google_docstring, napoleon_numpy_docstring = True, False
default_role = "code"  # docstrings write code between single backticks


def fitting_links(app: Sphinx, docname: str, source: list[str]) -> None:
    """A link to a folder, which code hosts understand, is one to its README, or none."""
    here = ROOT / Path(docname).parent

    def with_file(link: re.Match[str]) -> str:
        text, target = link.groups()
        if not (here / target).is_dir():
            return link[0]
        return f"[{text}]({target}/README.md)" if (here / target / "README.md").is_file() else text

    # Sphinx cannot put a link into its tables of contents: it moves below the heading.
    source[0] = re.sub(r"^(#+) (\[([^\]]*)\]\(.*\))$", r"\1 \3\n\n\2", source[0], flags=re.MULTILINE)
    source[0] = re.sub(r"\[([^\]]*)\]\(([^):#\s]+)\)", with_file, source[0])


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("source-read", fitting_links)
