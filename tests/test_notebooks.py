"""Each notebook opened in Jupyter by itself: parameters injected, run cell by cell in a kernel started in tasks/."""

import ast
import json
import re
import secrets
import urllib.request

import jupytext
import nbformat
import pandas as pd
import pytest
from conftest import NOXFILE, PROGRAMS, answers, free_port, serving
from nbclient import NotebookClient

from baton import config

# What the README adds to tasks/fit.py.
README = (config.ROOT / "README.md").read_text()
COMPARE_MODELS = next(
    code for code in re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S) if "compare_models" in code
)

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
    tasks = {path: path.read_bytes() for path in (trained.folder / "tasks").glob("*.py")}
    trained.ploomber("nb", "--inject")
    trained.ploomber("nb", "--inject", "-e", "pipeline.serve.yaml")
    verdict = trained.folder / "products/diabetes/compare/verdict.json"
    before = json.loads(verdict.read_text())
    verdict.unlink()
    drawn = set()
    for name in TRAINING + SERVING:
        notebook = jupytext.read(trained.folder / "tasks" / f"{name}.py")
        if name == "fit":
            notebook.cells.append(nbformat.v4.new_code_cell(COMPARE_MODELS))
        NotebookClient(
            notebook,
            timeout=120,
            kernel_name="python3",
            resources={"metadata": {"path": str(trained.folder / "tasks")}},
        ).execute()
        shown = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
        assert len(shown) >= 2, name
        drawn |= {name} if any("image/png" in one.get("data", {}) for cell in shown for one in cell.outputs) else set()
        if name == "fit":  # PyCaret's own table says of this candidate what Baton does, to four digits
            table = notebook.cells[-1].outputs[-1]["data"]["text/plain"]
            scores = pd.read_csv(trained.folder / "products/diabetes/fit/lr/scores.csv")
            assert re.search(rf"^lr +Logistic Regression +\d.\d+ +{scores['AUC'].mean():.4f} ", table, re.MULTILINE)
            assert re.search("^lda ", table, re.MULTILINE)
    assert drawn == {"explore", "fit", "compare", "report"}
    # The winner of one candidate; it is compared with the champion on the same rows, and whoever is better stays.
    after = json.loads(verdict.read_text())
    assert after["winner"] == "lr"
    assert after["scores"]["champion"]["AUC"] == before["scores"]["challenger"]["AUC"]
    assert after["decision"] == ("promoted" if after["scores"]["champion"]["lead"] > 0 else "refused")

    # As the README says for other editors: the parameters and all that came with them are taken out again.
    trained.ploomber("nb", "--remove")
    trained.ploomber("nb", "--remove", "-e", "pipeline.serve.yaml")
    trained.run("jupytext", "--to", "py:percent", "--opt", "notebook_metadata_filter=-all", *map(str, tasks))
    assert {path: path.read_bytes() for path in tasks} == tasks


def test_a_notebook_saved_in_jupyterlab_is_as_it_was(trained, tmp_path):
    """Opened with its parameters, and saved with outputs and what JupyterLab adds, through its own interface."""
    (trained.folder / "nox_jupyter.py").write_text(NOXFILE)
    port, token = free_port(), secrets.token_hex()
    server, log = f"http://127.0.0.1:{port}/api", tmp_path / "log"
    options = ["--no-browser", "--allow-root", f"--port={port}", f"--IdentityProvider.token={token}"]
    command = [PROGRAMS / "nox", "-f", "nox_jupyter.py", "-s", "jupyter", "--", *options]
    source = trained.folder / "tasks" / "explore.py"
    before = source.read_bytes()

    def ask(path: str, **body):
        sent = {"data": json.dumps(body).encode(), "method": "PUT"} if body else {}
        request = urllib.request.Request(f"{server}/{path}", headers={"Authorization": f"token {token}"}, **sent)
        return json.load(urllib.request.urlopen(request))

    how = {"cwd": trained.folder, "env": trained.environment()}
    with serving(command, lambda: answers(f"{server}/status?token={token}"), log, **how):
        notebook = nbformat.from_dict(ask("contents/tasks/explore.py?type=notebook")["content"])
        injected = [cell for cell in notebook.cells if "injected-parameters" in cell.metadata.get("tags", [])]
        assert str(trained.folder / "products/diabetes/clean/train.parquet") in injected[0].source
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell |= {"execution_count": 1, "outputs": [nbformat.v4.new_output("stream", text="shown\n")]}
            cell.metadata |= {"trusted": True, "scrolled": False, "jupyter": {"outputs_hidden": True}}
        notebook.metadata |= {"language_info": {"name": "python"}, "kernelspec": {"name": "python3", "display_name": "Python 3"}}  # fmt: skip
        ask("contents/tasks/explore.py", type="notebook", format="json", content=notebook)
        assert source.read_bytes() == before

        # What was changed is saved, and nothing else.
        notebook.cells[0].source += "\nA remark."
        ask("contents/tasks/explore.py", type="notebook", format="json", content=notebook)
    old, new = before.decode().splitlines(), source.read_text().splitlines()
    assert [line for line in new if line not in old] == ["# A remark."]
    assert len(new) == len(old) + 1
