"""What a data scientist would write instead of Baton: the same candidates, one file, two processes.

It reads the same table, fits the candidates of a grid with PyCaret over five folds, refits each from raw rows, draws
the same five pictures (of a sweep none), logs the same to MLflow, and registers the one with the best mean. It has no
notebooks, no holdout, no restart, no checks. It imports nothing of Baton's but the user's own `features.py`.

    python bench/handwritten.py FOLDER [GRID]     # keeps its store in FOLDER; the grid is bench/grid.yaml
"""

import itertools
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
TARGET = "Outcome"


def grid(file=ROOT / "bench/grid.yaml"):
    """The candidates of a grid; an entry whose parameters are lists is their product."""
    import yaml

    specs = []
    for entry in yaml.safe_load(Path(file).read_text()):
        entry = {"model_params": {}, "tune": 0} | entry
        swept = {name: values for name, values in entry["model_params"].items() if isinstance(values, list)}
        for chosen in itertools.product(*swept.values()):
            params = entry["model_params"] | dict(zip(swept, chosen, strict=True))
            name = "-".join([entry["candidate"], *map(str, chosen)])
            specs.append(entry | {"candidate": name, "model_params": params, "figures": not swept})
    return specs


def read():
    import pandas as pd

    table = pd.read_csv(ROOT / "data" / "diabetes_train.csv")
    return table.drop(columns=TARGET).astype(float), table[TARGET]


def prepare():
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )


def fit(spec, parent, experiment_id, uri):
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    import mlflow
    import pandas as pd
    from pycaret.classification import ClassificationExperiment
    from sklearn import metrics
    from sklearn.base import clone
    from sklearn.calibration import CalibrationDisplay
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    import features

    rows, target = read()
    derived = features.derive(features.clean(rows))
    folds = StratifiedKFold(5, shuffle=True, random_state=7)
    experiment = ClassificationExperiment()
    data = derived.assign(**{TARGET: target})
    experiment.setup(
        data, target=TARGET, test_data=data.tail(2), index=False, preprocess=False,
        custom_pipeline=[("prepare", prepare())], fold_strategy=folds, session_id=7, n_jobs=1,
        memory=False, html=False, verbose=False, system_log=False,
    )  # fmt: skip
    if "+" in spec["model"]:
        parts = [
            experiment.create_model(part, cross_validation=False, verbose=False, **spec["model_params"].get(part, {}))
            for part in spec["model"].split("+")
        ]
        estimator = experiment.blend_models(parts, verbose=False)
    elif spec["tune"]:
        start = experiment.create_model(spec["model"], cross_validation=False, verbose=False, **spec["model_params"])
        tuned = experiment.tune_model(
            start, fold=StratifiedKFold(3, shuffle=True, random_state=8), n_iter=spec["tune"], optimize="AUC",
            search_library="optuna", search_algorithm="tpe", verbose=False, tuner_verbose=False,
        )  # fmt: skip
        estimator = experiment.create_model(tuned, verbose=False)
    else:
        estimator = experiment.create_model(spec["model"], verbose=False, **spec["model_params"])
    scores = experiment.pull().drop(index=["Mean", "Std"])
    pipeline = Pipeline([
        ("clean", FunctionTransformer(features.clean)), ("derive", FunctionTransformer(features.derive)),
        ("prepare", prepare()), ("model", clone(estimator)),
    ])  # fmt: skip
    unseen = cross_val_predict(pipeline, rows, target, cv=folds, method="predict_proba")[:, 1]
    pipeline.fit(rows, target)

    figures = {}
    drawn = {
        "confusion": lambda axes: metrics.ConfusionMatrixDisplay.from_predictions(target, unseen > 0.5, ax=axes),
        "roc": lambda axes: metrics.RocCurveDisplay.from_predictions(target, unseen, ax=axes),
        "precision_recall": lambda axes: metrics.PrecisionRecallDisplay.from_predictions(target, unseen, ax=axes),
        "calibration": lambda axes: CalibrationDisplay.from_predictions(target, unseen, n_bins=8, ax=axes),
    }
    for name, draw in drawn.items() if spec["figures"] else ():
        figures[name], axes = plt.subplots()
        draw(axes)
    if spec["figures"]:
        found = permutation_importance(pipeline, rows, target, scoring="neg_log_loss", n_repeats=3, random_state=7)
        figures["importance"], axes = plt.subplots()
        axes.barh(rows.columns, found.importances_mean)

    mlflow.set_tracking_uri(uri)
    with mlflow.start_run(experiment_id=experiment_id, run_name=spec["candidate"], parent_run_id=parent) as run:
        mlflow.log_params({"model": spec["model"], "tune": spec["tune"], **estimator.get_params(deep=False)})
        mlflow.log_metrics({f"{name}_mean": value for name, value in scores.mean().items()})
        mlflow.log_metrics({f"{name}_std": value for name, value in scores.std().items()})
        mlflow.log_input(mlflow.data.from_pandas(pd.concat([rows, target], axis=1)), context="training")
        for name, figure in figures.items():
            mlflow.log_figure(figure, f"figures/{name}.png")
        model = mlflow.sklearn.log_model(
            pipeline, name="model", signature=mlflow.models.infer_signature(rows, target), input_example=rows.head(3),
            code_paths=[str(ROOT / "features.py")], serialization_format="skops",
            pip_requirements=["mlflow", "scikit-learn", "lightgbm", "skops"],
            skops_trusted_types=[
                "collections.OrderedDict", "features.clean", "features.derive", "lightgbm.basic.Booster",
                "lightgbm.sklearn.LGBMClassifier",
                "numpy.dtype", "sklearn.compose._column_transformer.make_column_selector",
                "sklearn.metrics._dist_metrics.EuclideanDistance64",
                "sklearn.neighbors._kd_tree.KDTree", "sklearn.tree._tree.Tree", "sklearn.utils._bunch.Bunch",
            ],
        )  # fmt: skip
    return spec["candidate"], scores["AUC"].mean(), model.model_uri, run.info.run_id


def main(folder: Path, *grids: str) -> None:
    import mlflow

    uri = f"sqlite:///{folder / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    experiment_id = mlflow.create_experiment("handwritten", artifact_location=(folder / "mlruns").as_uri())
    with mlflow.start_run(experiment_id=experiment_id, run_name="training") as parent:
        pass
    with ProcessPoolExecutor(2) as pool:
        jobs = [pool.submit(fit, spec, parent.info.run_id, experiment_id, uri) for spec in grid(*grids)]
        results = [job.result() for job in jobs]
    name, auc, model_uri, _ = max(results, key=lambda result: result[1])
    version = mlflow.register_model(model_uri, "handwritten")
    mlflow.MlflowClient().set_registered_model_alias("handwritten", "champion", version.version)
    print(f"{len(results)} candidates; best: {name}, AUC {auc:.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
