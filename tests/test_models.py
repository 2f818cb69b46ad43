"""The catalogue of models, held against PyCaret's lists and against what `choose: simplest` promises."""

import importlib.metadata
import tomllib

import pandas as pd
import pytest

from baton import config, models
from baton.models import CATALOGUE, CLASSES, NUMBERS
from baton.training import tournament

ROWS = pd.DataFrame({"a": range(20), "answer": [0, 1, 1, 0] * 5})
QUIET = {"html": False, "verbose": False, "system_log": False, "log_experiment": False}


@pytest.mark.filterwarnings("ignore::UserWarning:skbase")  # it asks for an older xgboost
@pytest.mark.parametrize(
    ("experiment", "kind"),
    [(tournament.ClassificationExperiment, CLASSES), (tournament.RegressionExperiment, NUMBERS)],
    ids=["classes", "numbers"],
)
def test_the_catalogue_says_what_pycaret_has(experiment, kind):
    ready = experiment()
    ready.setup(ROWS, target="answer", session_id=1, preprocess=False, memory=False, n_jobs=1, **QUIET)
    table = ready.models(internal=True)
    offered = {*table.index} & {*CATALOGUE}
    without_probabilities = {"ridge", "svm"} if kind == CLASSES else set()
    ours = {model for model, entry in CATALOGUE.items() if kind in entry.predicts and kind not in entry.classes}
    assert offered - without_probabilities == ours
    entries = tournament._entries(kind, 1)  # which are made without an experiment
    assert [*entries] == [*table.index]
    for model, row in table.iterrows():
        entry = entries[model]
        assert (entry.class_def, str(entry.args)) == (row["Class"], str(row["Args"]))
        assert _ranges(entry.tune_distribution) == _ranges(row["Tune Distributions"])


def _ranges(distributions: dict) -> dict:
    return {name: str(vars(found)) for name, found in distributions.items()}


def test_every_package_of_the_catalogue_is_installed_and_declared():
    declared = tomllib.loads((config.ROOT / "pyproject.toml").read_text())
    groups = declared["dependency-groups"]
    assert models.packages() == models.PACKAGES
    assert {model.package for model in CATALOGUE.values()} == {*models.PACKAGES}
    for package, module in models.PACKAGES.items():
        assert importlib.metadata.version(package)
        requirements = [*declared["project"]["dependencies"], *groups.get(module, [])]
        assert any(requirement.startswith(package) for requirement in requirements)


def test_models_go_from_the_simplest_to_the_most_complex():
    ordered = ["lr", "ridge", "nb", "dt", "knn", "mlp", "rf", "lightgbm", "lr+dt", "lr+lightgbm"]
    ordered += ["stack(lr+dt)", "stack(lr+lightgbm)", "lr+ridge+dt"]
    places = [models.complexity(model) for model in ordered]
    assert places == sorted({*places})  # no two of them are equal


@pytest.mark.parametrize(
    ("model", "params", "tune", "scale", "expected"),
    [
        ("knn", {"n_neighbors": 25}, 0, "plain", "knn, n_neighbors=25"),
        ("stack(lr+knn)", {"lr": {"C": 2}}, 0, None, "stack(lr+knn), lr={'C': 2}"),
        ("lightgbm", {}, 12, "plain", "lightgbm, tuned in 12 trials"),
        ("dt", {}, {"trials": 9, "sampler": "random"}, "plain", "dt, tuned in 9 trials (sampler: random)"),
        ("knn", {"n_neighbors": 3}, 0, "calibrated", "knn, n_neighbors=3, calibrated"),
        ("hgb", {}, 0, "poisson", "hgb, of Poisson counts"),
        (
            "lr",
            {},
            {"trials": 20, "minutes": 5, "rows": 900},
            "log",
            "lr, of the target's logarithm, tuned in 20 trials or 5 minutes by 900 rows",
        ),
    ],
)
def test_a_candidate_is_described_by_its_settings(model, params, tune, scale, expected):
    candidate = {"candidate": "a", "model": model, "model_params": params, "tune": tune}
    candidate |= {"calibrated": True} if scale == "calibrated" else {}
    candidate |= {"target_scale": scale} if scale else {}  # one of an earlier training has none
    assert models.describe(candidate) == expected
    assert models.describe(candidate | {"prepare": "auto"}) == expected
    assert models.describe({"candidate": "a", "model": "rf", "model_params": {}, "tune": 0, "prepare": "native"}) == (
        "rf, prepare=native"
    )
