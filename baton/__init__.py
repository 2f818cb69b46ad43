"""The machinery behind the notebooks: one module per concept, each usable and tested without Ploomber."""

import os

# MLflow reports usage to its makers by default. Baton turns that off; to turn it
# back on, set MLFLOW_DISABLE_TELEMETRY=false in the environment before anything starts.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


class BatonError(Exception):
    """A mistake that the user can correct: its message says what, where, and what to do, without a traceback.

    `outcome` is what the record of a batch calls it, and `exit_code` what `baton score` ends with.
    """

    outcome, exit_code = "failed", 1


class SettingsError(BatonError):
    outcome, exit_code = "settings", 2


class NothingToDo(BatonError):
    """This very batch is complete already."""

    outcome, exit_code = "nothing to do", 3


class NoChampion(BatonError):
    outcome, exit_code = "no champion", 4


class InputMissing(BatonError):
    outcome, exit_code = "input missing", 5


class InputEmpty(BatonError):
    outcome, exit_code = "input empty", 6


class InputStale(BatonError):
    outcome, exit_code = "input stale", 7


class SchemaMismatch(BatonError):
    outcome, exit_code = "schema mismatch", 8


class TooManyRejects(BatonError):
    outcome, exit_code = "too many rejects", 9


class Busy(BatonError):
    outcome, exit_code = "busy", 10


class ModelRefused(BatonError):
    outcome, exit_code = "model refused", 11
