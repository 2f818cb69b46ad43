# %% [markdown]
# # Clean
# Read the table, agree on what it asks, and set the holdout aside before anyone has looked at a row.

# %% tags=["parameters"]
upstream = None
product = None
name = None
train_data = None
target = None
id_columns = None
ignore_columns = None
task = None
metric = None
split = None
split_by = None
holdout = None
folds = None
seed = None
track = None
mlflow_tracking_uri = None

# %%
import json
from pathlib import Path

import pandas as pd

from baton import checks, contract, promotion, tables, tracking
from baton.split import separate

table = tables.read_table(train_data)
table.head()

# %% [markdown]
# **The contract** is what every model is promised: the question, and the kind of each raw column. It travels with
# the registered model, and rows that come to be scored are held to it.

# %%
promised = contract.learn_contract(
    table, name, target, id_columns, task, metric, ignore_columns, split, split_by
)  # fmt: skip
print(f"{promised.task}, because {promised.why}; candidates are chosen by {promised.metric}")
rows = promised.rows(table)
pd.Series(promised.columns, name="kind").to_frame().assign(missing=rows.isna().sum(), distinct=rows.nunique())

# %% [markdown]
# **What a careful colleague would say.** Nothing here stops the training; each names the column, the count, the remedy.

# %%
warnings = checks.check(table, promised, folds)
pd.Series(warnings or ["nothing"], name="warning").to_frame().style.hide().set_properties(**{"text-align": "left"})

# %% [markdown]
# **The holdout** is chosen by a hash of what identifies a row, so a row stays on its side when the table grows; or
# it is whole groups, or the newest rows. Candidates never see it; it judges the winner once, in `compare`.

# %%
training, judges, numbers, promised, facts = separate(table, promised, holdout, folds, seed)
pd.Series(facts, name="rows").to_frame()

# %%
training.groupby(numbers["fold"])[promised.target].describe()

# %% [markdown]
# The run that all candidates of this training will be children of is opened here, while a single process is running;
# and a champion of that name, if there is one, must be one that the winner can be compared with.

# %%
promotion.require_comparable(promised, table, track, mlflow_tracking_uri)
tags = {
    "task": promised.task,
    "metric": promised.metric,
    "target": promised.target,
    "data_digest": tables.digest(table),
}
run_id = tracking.start_training(track, mlflow_tracking_uri, promised.name, tags, training, train_data)

# %%
training.to_parquet(product["train"])
judges.to_parquet(product["holdout"])
numbers.to_parquet(product["folds"])
Path(product["warnings"]).write_text(json.dumps(warnings, indent=2))
Path(product["contract"]).write_text(json.dumps(promised.to_dict(), indent=2))
outcome = {"run_id": run_id, "train_data": train_data, **tags, **facts}
Path(product["training"]).write_text(json.dumps(outcome, indent=2))
outcome
