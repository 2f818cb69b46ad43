"""What is sent to others, and what is left out of the record."""

import os
import subprocess
import sys

import pandas as pd
import pytest

from baton import config, tracking


@pytest.mark.parametrize(("said", "disabled"), [({}, "True"), ({"MLFLOW_DISABLE_TELEMETRY": "false"}, "False")])
def test_mlflows_usage_reports_are_off_unless_turned_on(said, disabled):
    """Outside of CI and pytest, where MLflow keeps quiet by itself."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    asked = "import baton; from mlflow.telemetry.utils import is_telemetry_disabled; print(is_telemetry_disabled())"
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=config.ROOT, env=kept | said, capture_output=True, text=True
    )
    assert done.stdout.strip() == disabled


def test_without_tracking_nothing_is_opened(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert tracking.start_training(False, uri, "t", {}, pd.DataFrame({"a": [1]}), "a.csv") is None
    tracking.log_result(None, uri, metrics={}, tags={}, figures={}, tables={})
    tracking.file_report(None, uri, tmp_path / "no.html")
    tracking.log_failure(None, uri, "c", "error", tmp_path / "no.ipynb")
    assert list(tmp_path.iterdir()) == []
