# %% [markdown]
# # Ensemble
# Which candidates are better together than the best of them alone? One more candidate, of those that are fitted.

# %% tags=["parameters"]
upstream = ["fit-*", "clean", "features"]
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
from baton.handover import intervals, runner, saving
from baton.training import ensemble, evaluation

started, settings = time.time(), config.Settings(**settings)
contract = read_contract(upstream["clean"]["contract"])
training = pd.read_parquet(upstream["clean"]["train"])
folds, y = pd.read_parquet(upstream["features"]["folds"]), training[contract.target]
fits = {name.removeprefix("fit-"): made for name, made in upstream["fit-*"].items()}
candidates = {name: json.loads(Path(made["candidate"]).read_text()) for name, made in fits.items()}

# %% [markdown]
# **Selection**: round after round, the candidate is added with which the mean of all so far scores best on rows that
# none of them has seen. Each fold is predicted with weights that the other folds choose.

# %%
predictions = {name: np.load(made["predictions"]) for name, made in fits.items()}
weights = contract.read_weights(training)
result = ensemble.cross_validate(predictions, y, folds["fold"].to_numpy(), contract, settings.threshold, weights)
pd.Series(result.weights, name="weight").to_frame()

# %%
result.scores.agg(["mean", "std"]).T

# %% [markdown]
# **The model itself** is the weighted mean of the chosen candidates, as they were fitted on all training rows.

# %%
contract = contract.with_threshold(result.threshold)
# Their feature code is this project's, by which all of them were fitted.
members = {name: runner.load(Path(fits[name]["model"])) for name in result.weights}
raw, pipeline = contract.read_features(training), ensemble.join(members, result.weights, contract)
costs = pd.DataFrame({name: candidates[name]["costs"] for name in members}).sum(axis=1).to_dict()
arguments = saving.model_arguments(pipeline, contract, raw, y, settings.features)
costs["model_bytes"] = saving.save(Path(product["model"]), arguments, saving.take_sample(training))
validated = folds["fold"] >= 0
scale = ensemble.scale_of(candidates[name] for name in members)
intervals.keep(Path(product["model"]), y, result.predictions, validated, contract, scale, weights)
costs

# %% [markdown]
# **Its figures**, as of every candidate.

# %%
wanted = figures.of_candidate(settings.figures, {})
drawn = figures.candidate(pipeline, raw, y, validated, result.predictions, contract, settings, wanted, weights=weights)
figures.save(drawn, product["figures"])

# %% [markdown]
# **Its run** is filed when this notebook is done, as of every candidate.

# %%
params = {"model": entry["model"], "threshold": result.threshold, "weights": json.dumps(result.weights)}
metrics = evaluation.summary(result.scores) | costs
record = {"params": params, "metrics": metrics, "trials": [], "started": started}
Path(product["record"]).write_text(json.dumps(record, default=str))

# %%
result.scores.to_csv(product["scores"])
nested = all(candidates[name]["nested"] for name in members)
outcome = entry | {"weights": result.weights, "nested": nested, "threshold": settings.threshold, "costs": costs}
Path(product["candidate"]).write_text(json.dumps(outcome, indent=2))
pd.Series(outcome, name="candidate").to_frame()
