"""The machinery behind the notebooks: one module per concept, each usable and tested without Ploomber."""

import os

# MLflow reports usage to its makers by default. Baton turns that off; to turn it
# back on, set MLFLOW_DISABLE_TELEMETRY=false in the environment before anything starts.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


class BatonError(Exception):
    """A mistake that the user can correct: its message says what, where, and what to do, without a traceback."""
