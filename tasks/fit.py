# %% [markdown]
# # Fit one candidate
# Cross-validate it, fit it on all training rows, look at it, and file it. Every candidate of the grid runs through
# this same notebook, over the same folds.

# %% tags=["parameters"]
upstream = ["clean", "features"]
product = None
candidate = None
model = None
model_params = None
tune = None
features = None
seed = None
mlflow_tracking_uri = None

# %%
import json
import time
from pathlib import Path

import pandas as pd

from baton import config, contract, evaluation, figures, preparation, registry, tournament, tracking

started = time.time()
promised = contract.read_contract(upstream["clean"]["contract"])
known = json.loads(Path(upstream["clean"]["training"]).read_text())
training, folds = (pd.read_parquet(upstream["clean"][part]) for part in ("train", "folds"))
rows = pd.read_parquet(upstream["features"]["rows"])
own = config.load_features(features)
target = training[promised.target]

# %% [markdown]
# **Cross-validation.** Each fold is predicted by a model that did not see it.

# %%
prepare = preparation.prepare(own, rows, promised.task)
result = tournament.play(model, model_params, tune, rows, folds, target, promised, prepare, seed)
result.scores.agg(["mean", "std"]).T

# %%
result.estimator

# %% [markdown]
# **The model itself**: raw rows in, prediction out, fitted on all training rows.

# %%
raw = promised.rows(training)
pipeline, costs = tournament.refit(tournament.assemble(prepare, result.estimator, own), raw, target)
arguments = registry.model_arguments(pipeline, promised, raw, target, features)
costs["model_bytes"] = registry.save(Path(product["model"]), arguments)
costs

# %% [markdown]
# **Its pictures** show the out-of-fold predictions, so they are as honest as the scores above.

# %%
judged = folds["fold"] >= 0
drawn = figures.judge(promised.encode(target)[judged], result.predictions[judged], promised)
drawn["importance"] = figures.importance(pipeline, raw, target, promised, seed)
figures.save(drawn, product["figures"])

# %% [markdown]
# **Filed** as one run of the training's, with all of the above.

# %%
run_id = tracking.log_candidate(
    known["run_id"], mlflow_tracking_uri, candidate, started=started,
    params={"model": model, "tune": tune, "seed": seed, **result.estimator.get_params(deep=False)},
    metrics=evaluation.summary(result.scores) | costs,
    tags={key: known[key] for key in ("task", "metric", "data_digest")},
    figures=product["figures"], tables={"scores": result.scores}, rows=training, source=known["train_data"],
)  # fmt: skip
model_uri = registry.log(run_id, arguments, mlflow_tracking_uri)

# %%
result.scores.to_csv(product["scores"])
outcome = {"candidate": candidate, "model": model, "run_id": run_id, "model_uri": model_uri, "costs": costs}
Path(product["candidate"]).write_text(json.dumps(outcome, indent=2))
outcome
