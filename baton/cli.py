"""Say what came of the pipelines: the verdict, where the results are, and the command that opens each."""

import json
import os
import sys
from pathlib import Path

from baton import config


def results(root: Path = config.ROOT) -> str:
    """Tell the last training's outcome, and list the newest predictions, their report and the experiments."""
    manifests = sorted(root.glob("predictions/*/batch=*/_manifest.json"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        return "There are no predictions yet: run `ploomber build`, then `ploomber build -e pipeline.serve.yaml`."
    said = json.loads(manifests[-1].read_text())
    folder = manifests[-1].parent.relative_to(root)
    verdict = root / "products" / "compare" / "verdict.json"
    outcome = json.loads(verdict.read_text()) if verdict.is_file() else {"choice": "", "reason": ""}
    python = os.path.relpath(sys.executable, root)  # one that has pandas, whatever is active in the shell
    rows = [
        (
            "predictions",
            f"{said['rows_scored']} rows by version {said['model_version']}",
            f"{python} -c \"import pandas; print(pandas.read_parquet('{folder}'))\"",
        ),
        ("report", "of that batch", f"{python} -m webbrowser -t {folder / '_report.html'}"),
        ("leaderboard", "of all candidates", f"{python} -m webbrowser -t products/compare/compare.html"),
        ("experiments", "every run and model", "nox -s ui"),
    ]
    return "\n".join(
        [
            "",
            outcome["choice"],
            outcome["reason"],
            "",
            *(f"{name:<12} {what:<24} {command}" for name, what, command in rows),
        ]
    )


if __name__ == "__main__":
    print(results())
