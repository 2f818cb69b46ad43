"""What `env.yaml` may say, checked before any work starts."""

import ast
import contextlib
import difflib
import importlib.util
import math
import os
import re
import sys
import types
import typing
import urllib.parse
from pathlib import Path

import pydantic
import yaml

from baton import BatonError, SettingsError

ROOT = Path(__file__).resolve().parent.parent

# The functions of a feature file that become steps of every model, in their order.
FEATURE_STEPS = ("clean", "derive")

# Every metric a candidate can be chosen by, by kind of question; the first is what `metric: auto` means.
METRICS = {
    "binary": ["AUC", "Accuracy", "Recall", "Prec.", "F1", "Kappa", "MCC", "Average Precision", "Log Loss"],
    "multiclass": ["AUC", "Accuracy", "Recall", "Prec.", "F1", "Kappa", "MCC", "Log Loss"],
    "regression": ["R2", "MAE", "MSE", "RMSE", "RMSLE", "MAPE"],
}

# What a mapping of limits may name, with an example.
LIMITS = {
    "at_least": ("{AUC: 0.75}", [*dict.fromkeys(name for names in METRICS.values() for name in names)]),
    "at_most": ("{megabytes: 500, seconds_per_1000_rows: 1}", ["megabytes", "seconds_per_1000_rows"]),
}

COST = "{cost: {miss: 10, alarm: 1}}"  # an example of what errors cost

# What can be wrong with a row, worst first, and how it is said of a number of values; `reject` in env.yaml names those
# that reject it.
REASONS = {
    "unparsable": "not of the column's kind, counted as missing",
    "missing": "missing, where none was in training",
    "out_of_bounds": "outside of the bounds that env.yaml sets",
    "duplicate_id": "with the ids of an earlier row",
    "far_outside": "far outside of what was seen in training",
    "unseen_category": "not seen in training",
    "infinite": "infinite, counted as missing",
}

# What is drawn of each candidate: a set, or some of these; `figures` in env.yaml names them.
FIGURES = (
    "auto", "all", "none",
    "confusion", "threshold", "roc", "precision_recall", "calibration", "predicted_actual", "residuals", "importance",
    "study",
)  # fmt: skip

# What stands for a value of the environment, so that a password is written down nowhere.
SECRET = re.compile(r"\$\{(\w+)\}")

# Where a URL has a password: behind a user, where it is not a host's port, or among the options.
PASSWORD = re.compile(r"//[^/@:?#]*:(?!\d{1,5}[/?#])([^@]+)@|[?&](?:password|passwd|pwd)=([^&#\s]+)", re.IGNORECASE)


class Settings(pydantic.BaseModel):
    """Every key of `env.yaml`, with its kind and its limits."""

    model_config = pydantic.ConfigDict(extra="forbid")

    name: str = pydantic.Field("model", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    train_data: str = pydantic.Field("", min_length=1)
    score_data: str = pydantic.Field("", min_length=1)
    predictions_table: str | None = None
    predictions_store: str | None = pydantic.Field(None, pattern=r"^(s3|gs|az)://[^/#?]+(/[^#?]*)?$")
    target: str = pydantic.Field("", min_length=1)
    id_columns: list[str] = []
    ignore_columns: list[str] = []
    weight: str | None = None
    features: str | None = None
    grid: str = "default"
    figures: list[typing.Literal[FIGURES]] = ["auto"]
    task: typing.Literal["auto", "binary", "multiclass", "regression"] = "auto"
    positive: str = "auto"
    threshold: typing.Literal["auto"] | float | dict[str, dict[str, float]] = "auto"
    metric: str = "auto"
    choose: typing.Literal["best", "simplest"] = "best"
    promote: typing.Literal["superior", "not_worse", "better", "always", "never"] = "superior"
    confidence: float = pydantic.Field(0.95, ge=0.5, le=0.999)
    margin: float = pydantic.Field(0.0, ge=0)
    at_least: dict[str, float] = {}
    at_most: dict[str, float] = {}
    slices: list[str] = []
    final_fit: typing.Literal["all", "training"] = "all"
    split: typing.Literal["hash", "group", "time"] = "hash"
    split_by: str | None = None
    holdout: float = pydantic.Field(0.2, ge=0.05, le=0.5)
    folds: int = pydantic.Field(5, ge=2, le=20)
    seed: int = pydantic.Field(7, ge=0, lt=2**32)
    batch: str = pydantic.Field("unknown", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:+-]*$", max_length=100)
    model_version: str | None = pydantic.Field(None, pattern=r"^[1-9]\d*$")
    keep_columns: list[str] = []
    explain: int = pydantic.Field(0, ge=0, le=20)
    interval: float | None = pydantic.Field(None, ge=0.5, le=0.99)
    bounds: dict[str, tuple[typing.Any, typing.Any]] = {}
    reject: list[typing.Literal[tuple(REASONS)]] = ["unparsable", "missing", "out_of_bounds", "duplicate_id"]
    max_reject_rate: float = pydantic.Field(0.05, ge=0, le=1)
    max_age: float | None = pydantic.Field(None, gt=0)
    predictions_format: typing.Literal["parquet", "csv"] = "parquet"
    replace: bool = False
    on_failure: str | None = None
    track: bool = True
    mlflow_tracking_uri: str = "sqlite:///mlflow.db"
    engine: str = "local"

    @pydantic.field_validator(
        "id_columns", "ignore_columns", "slices", "keep_columns", "reject", "figures", mode="before"
    )
    @classmethod
    def _columns(cls, value):
        return column_names(value)

    @pydantic.field_validator("at_least", "at_most", mode="before")
    @classmethod
    def _limits(cls, value, info):
        example, names = LIMITS[info.field_name]
        value = _mapping(value, example)
        if unknown := [name for name in value if name not in names]:
            nearest = did_you_mean(str(unknown[0]), [*names])
            raise ValueError(f"there is no {unknown[0]!r}{nearest}. Choose from: {', '.join(names)}")
        return value

    @pydantic.field_validator("bounds", mode="before")
    @classmethod
    def _bounds(cls, value):
        value = _mapping(value, example := "{age: [0, 120], price: [0, null]}")
        value = {
            column: [None if limit in ("None", "none") else limit for limit in limits]
            if isinstance(limits, list | tuple)
            else limits
            for column, limits in value.items()
        }
        for column, limits in value.items():
            if not isinstance(limits, list | tuple) or len(limits) != 2 or all(limit is None for limit in limits):
                raise ValueError(f"give {column!r} the least and the most that is possible, as in {example}")
            if None not in limits and not limits[0] <= limits[1]:
                raise ValueError(f"of {column!r}, the least that is possible comes first, as in {example}")
        return value

    @pydantic.field_validator("threshold", mode="before")
    @classmethod
    def _a_threshold(cls, value):
        if isinstance(value, str) and value != "auto":  # as a command line and Ploomber's placeholders write it
            with contextlib.suppress(yaml.YAMLError):
                value = yaml.safe_load(value)
        if value == "auto":
            return value
        if isinstance(value, dict):
            cost = value.get("cost")
            if [*value] != ["cost"] or not isinstance(cost, dict) or {*cost} != {"miss", "alarm"}:
                raise ValueError(f"say what a missed positive and a false alarm cost, as in {COST}")
            if not all(is_number(of) and 0 < of < math.inf for of in cost.values()):
                raise ValueError(f"a miss and a false alarm both cost something, a number above 0, as in {COST}")
            return value
        if not (is_number(value) and 0 < value < 1):
            raise ValueError(f"write auto, a probability between 0 and 1, or what errors cost: {COST}")
        return float(value)

    @pydantic.field_validator(
        "name", "target", "weight", "batch", "split_by", "positive", "model_version", mode="before"
    )
    @classmethod
    def _text(cls, value, info):
        """Let a name that looks like a number (a column called 2024, a batch 20261121) be a name, and a class true."""
        number = is_number(value)
        if info.field_name in {"name", "batch"} and isinstance(value, str):
            read = value
            with contextlib.suppress(ValueError, SyntaxError):
                read = ast.literal_eval(value)
            if str(read) != value:
                raise ValueError(f"it would be read as the number {read}: put a letter or a hyphen in it")
        return str(value) if number or (info.field_name == "positive" and isinstance(value, bool)) else value

    @pydantic.field_validator(
        "weight", "split_by", "predictions_table", "predictions_store", "features", "model_version", "interval",
        "max_age", "on_failure",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _none(cls, value):
        return None if value in ("", "none") else value

    @pydantic.field_validator("train_data", "score_data", "predictions_table", "on_failure", "mlflow_tracking_uri")
    @classmethod
    def _no_password(cls, value):
        if value and password_in(value):
            raise ValueError(
                "it holds a password, which would end up in every notebook and run. Write ${NAME} in its place, and"
                " give the password in the environment variable NAME"
            )
        return value

    @pydantic.field_validator("engine")
    @classmethod
    def _an_address(cls, value):
        if not re.fullmatch(r"local|(dask|ray)://[^/@:]+:\d+", value):
            raise ValueError("write local, or a cluster's address, as in dask://10.0.0.7:8786 or ray://10.0.0.7:10001")
        return value

    @pydantic.model_validator(mode="after")
    def _split_by_a_column(self):
        if self.split != "hash" and not self.split_by:
            raise ValueError(f"split: {self.split} goes by a column: name it in split_by")
        if self.split == "hash" and self.split_by:
            raise ValueError(
                f"split: hash goes by no column, and split_by names {self.split_by!r}: set split to group or time"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _margin_of_a_policy(self):
        if (self.promote == "not_worse") != (self.margin > 0):
            raise ValueError(
                "margin: it is what promote: not_worse may lose in all, in units of the metric: set both, or neither"
            )
        return self

    @pydantic.field_validator("metric")
    @classmethod
    def _existing_metric(cls, value):
        metrics = ["auto", *LIMITS["at_least"][1]]
        if value not in metrics:
            nearest = did_you_mean(value, metrics)
            raise ValueError(f"there is no such metric{nearest}. Choose one of: {', '.join(metrics)}")
        return value


def is_number(value) -> bool:
    """Tell a number from a text, and from true and false, which Python takes for numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _mapping(value, example: str) -> dict:
    """Read a mapping as YAML has it, or as a command line and Ploomber's placeholders write it."""
    if value is None or value in ("", "none"):
        return {}
    if isinstance(value, str):
        if "datetime.date" in value:  # what Ploomber makes of a date
            raise ValueError("put dates in quotes, such as '2026-01-31'")
        with contextlib.suppress(yaml.YAMLError):
            value = yaml.safe_load(value)
    if not isinstance(value, dict):
        raise ValueError(f"write a mapping, such as {example}")
    return value


def check_settings(given: dict, env_file: Path | None = None) -> Settings:
    """Check what `env.yaml` and the command line say, all keys together; return it with its types.

    `given` are the values that a pipeline or a command uses; other keys are taken from the file. Raises `BatonError`
    naming every setting that is of the wrong kind, and every key of the file that does not exist.
    """
    written, keys = read_env(env_file), [*Settings.model_fields]
    complaints = [f"{key}: there is no such key{did_you_mean(key, keys)}" for key in written if key not in keys]
    # A batch's name is a template in the file.
    merged = {key: value for key, value in written.items() if key in keys and key != "batch"} | given
    required = ["name", "target", "train_data", *(["score_data"] if "score_data" in given else [])]
    missing = [key for key in required if merged.get(key) is None]
    complaints += [f"{key}: it is missing" for key in missing]
    merged = {key: value for key, value in merged.items() if key not in missing}
    try:
        settings = Settings(**merged)
    except pydantic.ValidationError as error:
        for found in error.errors():
            why = found["msg"].removeprefix("Value error, ")
            if found["loc"]:  # what is said of several keys names them itself
                key = found["loc"][0]
                shown = "" if password_in(merged.get(key)) else f" (it is {merged.get(key)!r})"
                why = f"{key}: {why[0].lower()}{why[1:]}{shown}"
            complaints.append(why)
    if complaints:
        raise SettingsError("env.yaml, or an --env-- option, needs a correction:\n  " + "\n  ".join(complaints))
    return settings


def check_keys() -> None:
    """Raise `BatonError`, with all that `check_settings` finds, if `env.yaml` has a key that does not exist."""
    if read_env().keys() - Settings.model_fields.keys():
        check_settings({})


def column_names(value) -> list[str]:
    """Read a list of columns as YAML has it, or as a command line can say it: `a, b`, or `none`."""
    if value is None or value in ("", "none"):
        return []
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    return [*dict.fromkeys(name for part in parts if (name := str(part).strip()))]


def read_env(file: Path | None = None) -> dict:
    """Read `env.yaml`, or another such file, as it stands; empty if there is none."""
    file = file or ROOT / "env.yaml"
    try:
        written = (yaml.safe_load(file.read_text()) or {}) if file.is_file() else {}
    except yaml.YAMLError as error:
        raise SettingsError(f"{file.name}: this is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(written, dict):
        raise SettingsError(f"{file.name}: write one key a line, as `target: left`")
    return {key: value for key, value in written.items() if key != "meta"}  # which is a note to Ploomber


def fill_in(text: str) -> str:
    """Put the environment's values in the place of each `${NAME}`; within a URL, quoted as a URL needs it."""

    def value(found: re.Match) -> str:
        name = found[1]
        if name not in os.environ:
            raise SettingsError(
                f"{text}: the environment has no variable {name}. Set it where this runs: export {name}=…"
            )
        return urllib.parse.quote(os.environ[name], safe="") if "://" in text[: found.start()] else os.environ[name]

    return SECRET.sub(value, text)


def hide(message: str, text: str) -> str:
    """Take out of a message what `fill_in` put into a text, and the password in it where that is a whole URL."""
    for name in SECRET.findall(text):
        value = os.environ.get(name, "")
        inner = {part for found in PASSWORD.findall(value) for part in found}
        plain = {value} | inner | {urllib.parse.unquote(part) for part in inner}
        for secret in sorted((plain | {urllib.parse.quote(part, safe="") for part in plain}) - {""}, key=len)[::-1]:
            message = message.replace(secret, f"${{{name}}}")
    return message


def password_in(value) -> bool:
    """Tell whether a URL has a password written out in it."""
    found = (word for words in PASSWORD.findall(str(value)) for word in words)
    return any(word and not SECRET.fullmatch(word) for word in found)


def load_features(path: str | None) -> types.ModuleType | None:
    """Import the file `features` in `env.yaml` names; None turns feature code off.

    Only training calls this. A registered model brings the file it was trained with: see `registry`.
    """
    if path is None:
        return None
    file = resolve(path)
    if not file.is_file():
        raise BatonError(f"{path}: there is no such file. Set features in env.yaml to your feature file, or to none.")
    loaded = sys.modules.get(file.stem)
    if loaded is not None and Path(getattr(loaded, "__file__", None) or "").resolve() == file.resolve():
        return loaded
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


def did_you_mean(word: str, words: list[str]) -> str:
    """Suggest, for a message, the nearest of some words to one that is not among them; "" if none is near."""
    named = {name.lower(): name for name in words}
    close = difflib.get_close_matches(word.lower(), named, n=1)
    return f" (did you mean {named[close[0]]!r}?)" if close else ""
