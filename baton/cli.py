"""Say where a pipeline's results are, and the command that opens each."""

import json
from pathlib import Path

from baton import config


def results(root: Path = config.ROOT) -> str:
    """List the newest predictions, their report, the leaderboard and the experiments under the project's folder."""
    manifests = sorted(root.glob("predictions/*/batch=*/_manifest.json"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        return "There are no predictions yet: run `ploomber build`, then `ploomber build -e pipeline.serve.yaml`."
    said = json.loads(manifests[-1].read_text())
    folder = manifests[-1].parent.relative_to(root)
    rows = [
        (
            "predictions",
            f"{said['rows_scored']} rows by version {said['model_version']}",
            f"python -c \"import pandas; print(pandas.read_parquet('{folder}'))\"",
        ),
        ("report", "of that batch", f"python -m webbrowser -t {folder / '_report.html'}"),
        ("leaderboard", "of all candidates", "python -m webbrowser -t products/compare/compare.html"),
        ("experiments", "every run and model", "nox -s ui"),
    ]
    return "\n".join(["", *(f"{name:<12} {what:<24} {command}" for name, what, command in rows)])


if __name__ == "__main__":
    print(results())
