"""What `env.yaml` and the grid may say, checked before any work starts."""

import difflib
import importlib.util
import sys
import types
import typing
from pathlib import Path

import pydantic
import yaml

from baton import BatonError

ROOT = Path(__file__).resolve().parent.parent

# The PyCaret model ids that exist for both kinds of question, and so may stand in the one grid that serves both,
# and those that exist for one kind only. A test holds these lists against PyCaret's own.
MODELS_FOR_BOTH = {"ada", "dt", "et", "knn", "lightgbm", "lr", "mlp", "rf", "ridge", "svm"}
MODELS_FOR_CLASSES = MODELS_FOR_BOTH | {"gbc", "gpc", "lda", "nb", "qda", "rbfsvm"}
MODELS_FOR_NUMBERS = MODELS_FOR_BOTH | {
    "ard", "br", "en", "gbr", "huber", "kr", "lar", "lasso", "llar", "omp", "par", "ransac", "tr"
}  # fmt: skip

# The functions of a feature file that become steps of every model, in their order.
FEATURE_STEPS = ("clean", "derive")

# Every metric a candidate can be chosen by, by kind of question; the first is what `metric: auto` means.
METRICS = {
    "binary": ["AUC", "Accuracy", "Recall", "Prec.", "F1", "Kappa", "MCC", "Average Precision", "Log Loss"],
    "multiclass": ["AUC", "Accuracy", "Recall", "Prec.", "F1", "Kappa", "MCC", "Log Loss"],
    "regression": ["R2", "MAE", "MSE", "RMSE", "RMSLE", "MAPE"],
}


class Settings(pydantic.BaseModel):
    """Every key of `env.yaml`, with its kind and its limits."""

    model_config = pydantic.ConfigDict(extra="forbid")

    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    train_data: str
    score_data: str
    target: str
    id_columns: list[str]
    features: str | None
    task: typing.Literal["auto", "binary", "multiclass", "regression"]
    metric: str
    holdout: float = pydantic.Field(ge=0.05, le=0.5)
    folds: int = pydantic.Field(ge=2, le=20)
    seed: int = pydantic.Field(ge=0, lt=2**32)
    batch: str = pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:+-]*$")
    track: bool
    mlflow_tracking_uri: str

    @pydantic.field_validator("id_columns", mode="before")
    @classmethod
    def _columns(cls, value):
        return column_names(value)

    @pydantic.field_validator("name", "target", "batch", mode="before")
    @classmethod
    def _text(cls, value):
        """Let a name that looks like a number (a column called 2024, a batch 20261121) be a name."""
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

    @pydantic.field_validator("metric")
    @classmethod
    def _known_metric(cls, value):
        known = ["auto", *dict.fromkeys(name for names in METRICS.values() for name in names)]
        if value not in known:
            raise ValueError(f"there is no such metric{did_you_mean(value, known)}. Choose one of: {', '.join(known)}")
        return value


def check_settings(values: dict, env_file: Path = ROOT / "env.yaml") -> None:
    """Raise `BatonError` naming every setting that is of the wrong kind, and every key of `env.yaml` that is unknown."""
    known = [*Settings.model_fields]
    written = (yaml.safe_load(env_file.read_text()) or {}) if env_file.is_file() else {}
    unknown = [key for key in written if key not in known]
    complaints = [f"{key}: there is no such key{did_you_mean(key, known)}" for key in unknown]
    try:
        Settings(**values)
    except pydantic.ValidationError as error:
        for found in error.errors():
            key, said = found["loc"][0], found["msg"].removeprefix("Value error, ")
            complaints.append(f"{key}: {said[0].lower()}{said[1:]} (it is {values.get(key)!r})")
    if complaints:
        raise BatonError("env.yaml, or an --env-- option, needs mending:\n  " + "\n  ".join(complaints))


def check_candidate(params: dict) -> None:
    """Raise `BatonError` if a task is a candidate of the grid, and names a model that does not exist."""
    if "candidate" not in params:
        return
    model, model_params, tune = (params.get(key) for key in ("model", "model_params", "tune"))
    known = sorted(MODELS_FOR_CLASSES | MODELS_FOR_NUMBERS)
    where = f"pipeline.yaml, grid, candidate {params['candidate']!r}"
    for model_id in str(model).split("+"):
        if model_id not in known:
            guess = did_you_mean(model_id, known)
            raise BatonError(f"{where}: there is no model {model_id!r}{guess}. Choose from: {', '.join(known)}")
    if not isinstance(model_params, dict):
        raise BatonError(f"{where}: model_params must be a mapping such as {{max_depth: 4}} (it is {model_params!r})")
    if not isinstance(tune, int) or isinstance(tune, bool) or tune < 0:
        raise BatonError(f"{where}: tune must be a number of trials, 0 for none (it is {tune!r})")
    if "+" in str(model) and (model_params or tune):
        raise BatonError(f"{where}: a blend takes no model_params and no tune; it blends its members as they are")


def column_names(value) -> list[str]:
    """Read a list of columns as YAML has it, or as a command line can say it: `a, b`, or `none`."""
    if value is None or value in ("", "none"):
        return []
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def load_features(path: str | None) -> types.ModuleType | None:
    """Import the file `features` in `env.yaml` names; None turns feature code off.

    Only training calls this. A registered model brings the file it was trained with: see `registry`.
    """
    if path is None:
        return None
    file = resolve(path)
    if not file.is_file():
        raise BatonError(f"{path}: there is no such file. Set features in env.yaml to your feature file, or to none.")
    known = sys.modules.get(file.stem)
    if known is not None and Path(getattr(known, "__file__", None) or "").resolve() == file.resolve():
        return known
    # By its path: a kernel started in tasks/ would find the notebook of the same name first.
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise BatonError(f"{path}, line {error.lineno}: {error.msg}: {(error.text or '').strip()}") from error
    sys.modules[file.stem] = module
    return module


def resolve(path: str) -> Path:
    """A path of `env.yaml` is relative to the project, wherever a notebook was started."""
    return ROOT / path


def did_you_mean(word: str, known: list[str]) -> str:
    """Suggest the known word nearest to one that is not known, to go behind it in a message; "" if none is near."""
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
