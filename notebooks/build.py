"""Runs NAME.py (jupytext's percent format, the source) and writes NAME.ipynb with its outputs, and one picture of it.

python notebooks/build.py [NAME ...]     # all of them without names; or `make notebooks`
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parent
COVER = "cover"  # tag of the cell whose picture stands for the notebook in README.md
SECONDS = 600  # that a cell may take
# Progress bars, and what other libraries say of themselves, are not for readers.
QUIET = {
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "PYTHONWARNINGS": "ignore:IProgress not found,ignore:Specifying null_placement",
}


def sources() -> list[Path]:
    """The scripts, in reading order."""
    return sorted(FOLDER.glob("[0-9]*.py"))


def read(source: Path) -> NotebookNode:
    """A script as a notebook without outputs; the same script gives the same notebook."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # else random
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    return notebook


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Run all cells in an empty folder, without the Hub; nothing is read from earlier runs.

    Raises:
        nbclient.exceptions.CellExecutionError: with the cell and its error.
    """
    settings = {"resources": {"metadata": {"path": str(folder)}}, "timeout": SECONDS, "record_timing": False}
    settings["coalesce_streams"] = True  # else a slow cell's output falls into pieces
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # where the command textpl is
    env = os.environ | QUIET | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "cache"), "PATH": path}
    metadata = notebook.metadata
    NotebookClient(notebook, **settings).execute(env=env)
    notebook.metadata = metadata  # the kernel would add the version of Python
    return notebook


def pictures(notebook: NotebookNode, tag: str | None = None) -> list[bytes]:
    """PNG files among the outputs, of all cells or those with a tag."""
    cells = [cell for cell in notebook.cells if tag is None or tag in cell.metadata.get("tags", [])]
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return [base64.b64decode(data["image/png"]) for data in outputs if "image/png" in data]


def main(names: list[str]) -> None:
    """Build the notebooks of these names, or all."""
    for source in sources():
        if names and source.stem not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(read(source), Path(folder))
        nbformat.write(notebook, source.with_suffix(".ipynb"))
        (FOLDER / "pictures").mkdir(exist_ok=True)
        (FOLDER / "pictures" / f"{source.stem}.png").write_bytes(pictures(notebook, COVER)[0])


if __name__ == "__main__":
    main(sys.argv[1:])
