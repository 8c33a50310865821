"""The notebooks: what is shipped comes from the scripts beside them, and every one runs from start to end offline."""

import ast
import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
SIZE = 600_000  # bytes; more is slow to show
SOURCES = sorted(FOLDER.glob("[0-9]*.py"))
# What is trained shorter here than in what is shipped: the cells are the same, their numbers are not looked at.
SHORTER = {
    "02_finetune_with_unlabeled_text": {"steps=40": "steps=8", "range(3)": "range(1)", "steps=12": "steps=4"},
    "05_distill_and_share_a_recipe": {"steps=30": "steps=4", "range(2)": "range(1)", "max_steps: 20": "max_steps: 3"},
}
each_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def build():
    """notebooks/build.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("build_notebooks", FOLDER / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shipped(source):
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def parts(notebook):
    return [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in notebook.cells]


def words(notebook):
    """Everything printed or shown as text, images apart."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    data = [text for output in outputs for kind, text in output.get("data", {}).items() if kind.startswith("text/")]
    return "\n".join([*data, *(output["text"] for output in outputs if output.output_type == "stream")])


def test_there_are_five():
    assert len(SOURCES) == 5 and sorted(FOLDER.glob("*.ipynb")) == [path.with_suffix(".ipynb") for path in SOURCES]


@each_notebook
def test_shipped_notebook_is_the_script(build, source):
    assert parts(shipped(source)) == parts(build.read(source)), "run: make notebooks"


@each_notebook
def test_shipped_outputs_are_of_one_whole_run(build, source):
    notebook = shipped(source)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert not [o for cell in notebook.cells for o in cell.get("outputs", []) if o.output_type == "error"]
    assert build.pictures(notebook) and len(build.pictures(notebook, build.COVER)) == 1
    assert source.with_suffix(".ipynb").stat().st_size < SIZE
    assert not re.search(r"(?<![\w.])/(home|tmp|work|root|Users)/|%\|", words(notebook)), (
        "a path of a machine, or a bar"
    )


@each_notebook
def test_readme_shows_it(build, source):
    line = f"[{source.stem}]({source.stem}.ipynb)"
    picture = FOLDER / "pictures" / f"{source.stem}.png"
    readme = (FOLDER / "README.md").read_text()
    assert line in readme and f"(pictures/{picture.name})" in readme
    assert picture.read_bytes() == build.pictures(shipped(source), build.COVER)[0]


@each_notebook
def test_links_lead_somewhere(source):
    text = "\n".join(cell.source for cell in shipped(source).cells if cell.cell_type == "markdown")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
    assert not [link for link in links if not (FOLDER / link).exists()]


@each_notebook
def test_notebooks_are_short(source):
    """Some 10 to 15 code cells, none of them a program."""
    code = [cell.source for cell in shipped(source).cells if cell.cell_type == "code"]
    assert len(code) <= 20 and max(len(text.splitlines()) for text in code) <= 50
    for text in code:
        if not text.startswith(("%", "!")):
            ast.parse(text.replace("%matplotlib inline", ""))


@each_notebook
def test_runs_from_start_to_end(build, source, tmp_path):
    notebook = build.read(source)
    for long, short in SHORTER.get(source.stem, {}).items():
        assert any(long in cell.source for cell in notebook.cells if cell.cell_type == "code"), long
        for cell in notebook.cells:
            cell.source = cell.source.replace(long, short)
    notebook = build.execute(notebook, tmp_path)
    assert len(build.pictures(notebook)) == len(build.pictures(shipped(source)))


def test_an_error_in_a_cell_is_not_swallowed(build, tmp_path):
    """What the test above relies on, of Python and of shell cells."""
    from nbclient.exceptions import CellExecutionError

    for cell in ("1 / 0", "%%bash\nfalse"):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
        with pytest.raises(CellExecutionError):
            build.execute(notebook, tmp_path)
