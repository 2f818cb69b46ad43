# %% [markdown]
# # Fit one candidate
# Cross-validate it, fit it on all training rows, and look at it. Every candidate of the grid runs through this same
# notebook, over the same folds.

# %% tags=["parameters"]
upstream = ["clean", "features"]
product = None
entry = None
settings = None

# %%
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd

from baton import config, figures
from baton.data.contract import read_contract
from baton.handover import intervals, saving
from baton.training import evaluation, preparation, tournament

started, settings = time.time(), config.Settings(**settings)
contract = read_contract(upstream["clean"]["contract"])
training = pd.read_parquet(upstream["clean"]["train"])
X, folds = (pd.read_parquet(upstream["features"][part]) for part in ("X", "folds"))
feature_code, y = config.load_features(settings.features), training[contract.target]
weights = contract.read_weights(training)
model, model_params, tune = (entry[key] for key in ("model", "model_params", "tune"))

# %% [markdown]
# **Cross-validation.** Each fold is predicted by a model that did not see it; of two classes, the threshold that tells
# them apart is chosen on the other folds.

# %%
prepare, prepare_texts = preparation.of_candidate(entry, feature_code, X, folds, contract.task)
study = Path(product["candidate"]).with_name("study.log")  # where a search that was stopped goes on
given = model, model_params, tune, X, y, folds, contract, prepare, settings.seed, study, settings.threshold
result = tournament.cross_validate(*given, prepare_texts, weights)
result.scores.agg(["mean", "std"]).T

# %% [markdown]
# **Calibration**: the log loss of its probabilities, and what it would be with one temperature for all of them. They
# are calibrated where that is less by more than its standard error, unless rows come in groups, or in time.

# %%
pd.Series(result.log_losses | {"calibrated": result.calibrated}, name="log loss").to_frame()

# %%
result.estimator

# %% [markdown]
# **The model itself**: raw rows in, prediction out, fitted on all training rows. From its threshold on, which is chosen
# on all folds, the positive class is predicted; without one, the likelier class is.

# %%
contract = contract.with_threshold(result.threshold)
raw, trains, validated = contract.read_features(training), folds["trains"], folds["fold"] >= 0
learned = raw[trains], y[trains], folds["group"][trains], evaluation.part(weights, trains)
pipeline = tournament.assemble(result.prepare, result.estimator, feature_code, contract)
pipeline, costs = tournament.fit_and_time(pipeline, *learned)
arguments = saving.model_arguments(pipeline, contract, raw, y, settings.features)
costs["model_bytes"] = saving.save(Path(product["model"]), arguments, saving.take_sample(training))
intervals.keep(Path(product["model"]), y, result.predictions, validated, contract, result.scale, weights)
costs

# %% [markdown]
# **Its figures**, those that `figures` in `env.yaml` asks for. They show the out-of-fold predictions, so they are as
# honest as the scores above; but for the threshold, which these predictions have chosen.

# %%
wanted = figures.of_candidate(settings.figures, entry["swept"])
of_folds = result.predictions, contract, settings, wanted, result.as_fitted, weights
drawn = figures.candidate(pipeline, raw, y, validated, *of_folds)
drawn |= figures.study(result.trials, result.importances, contract.metric, wanted)
figures.save(drawn, product["figures"])

# %% [markdown]
# **Its run** is filed when this notebook is done, with all of the above, and this page.

# %%
params = {"model": model, "tune": tune, "seed": settings.seed, "threshold": result.threshold}
record = {
    "params": params | result.found | result.params,
    "metrics": evaluation.summary(result.scores) | costs | result.log_losses,
    "trials": [trial._asdict() for trial in result.trials],
    "started": started,
}
Path(product["record"]).write_text(json.dumps(record, default=str))

# %%
np.save(product["predictions"], result.predictions)
result.scores.to_csv(product["scores"])
outcome = entry | result.found | {"nested": result.nested, "threshold": settings.threshold, "costs": costs}
Path(product["candidate"]).write_text(json.dumps(outcome, indent=2))
pd.Series(outcome, name="candidate").to_frame()
