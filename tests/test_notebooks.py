"""Each notebook opened in Jupyter by itself: parameters injected, run cell by cell in a kernel started in tasks/."""

import ast
import json

import jupytext
import pytest
from nbclient import NotebookClient

from baton import config

TRAINING = ["clean", "explore", "features", "fit", "compare"]
SERVING = ["receive", "score", "report"]


def cells(name: str) -> list[str]:
    notebook = jupytext.read(config.ROOT / "tasks" / f"{name}.py")
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", TRAINING + SERVING)
def test_a_notebook_tells_the_story_and_decides_nothing(name):
    """Rule 1: no definitions, no branches, few lines."""
    tree = ast.parse("\n".join(cells(name)))
    forbidden = (ast.FunctionDef, ast.ClassDef, ast.Try, ast.If, ast.For, ast.While, ast.Lambda)
    assert [type(node).__name__ for node in ast.walk(tree) if isinstance(node, forbidden)] == []
    assert len("\n".join(cells(name)).splitlines()) <= 60


def test_every_notebook_runs_in_a_kernel_of_its_own(trained, monkeypatch):
    """In the order of the pipelines, each on what those before it left; none of it is run by Ploomber."""
    monkeypatch.setenv("PYTHONPATH", str(trained.folder))
    trained.keep_candidates("lr")  # the quickest
    trained.ploomber("nb", "--inject")
    trained.ploomber("nb", "--inject", "-e", "pipeline.serve.yaml")
    verdict = trained.folder / "products/diabetes/compare/verdict.json"
    before = json.loads(verdict.read_text())
    verdict.unlink()
    for name in TRAINING + SERVING:
        notebook = jupytext.read(trained.folder / "tasks" / f"{name}.py")
        NotebookClient(
            notebook,
            timeout=120,
            kernel_name="python3",
            resources={"metadata": {"path": str(trained.folder / "tasks")}},
        ).execute()
        shown = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
        assert len(shown) >= 2, name
    # The winner of one candidate; it is compared with the champion on the same rows, and whoever is better stays.
    after = json.loads(verdict.read_text())
    assert after["winner"] == "lr"
    assert after["scores"]["champion"]["AUC"] == before["scores"]["challenger"]["AUC"]
    assert after["decision"] == ("promoted" if after["scores"]["champion"]["lead"] > 0 else "refused")
