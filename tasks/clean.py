# %% [markdown]
# # Clean
# Read the table, say what it asks, set the holdout aside, and look at what is left with a careful colleague's eye.

# %% tags=["parameters"]
upstream = None
product = None
settings = None

# %%
import json
from pathlib import Path

import pandas as pd

from baton import config
from baton.data import split, tables
from baton.data.contract import learn_contract
from baton.handover import comparison, registry, tracking
from baton.training import checks

settings = config.Settings(**settings)
table = tables.read_table(settings.train_data)
table.head()

# %% [markdown]
# **The contract** says what every model can rely on: the question, and how each raw column is written. It travels with
# the registered model, and rows that come to be scored are held to it. All rows are read for this. A champion's
# question stays the question.

# %%
champion = registry.champion_contract(settings)
contract = learn_contract(table, settings, champion)
comparison.require_comparable(contract, champion, table)
print(f"{contract.task}, because {contract.task_reason}; candidates are chosen by {contract.metric}")

# %% [markdown]
# **The holdout** is chosen by a hash of what identifies a row, so a row stays on its side when the table grows; or
# it is whole groups, or the newest rows. From here on, whatever relates a column to the target looks at the training
# rows only.

# %%
division = split.separate(table, contract, settings)
contract, training, folds = division.contract, division.training, division.folds
pd.Series(division.facts, name="rows").map("{:g}".format).to_frame()

# %%
X = contract.read_features(training)
pd.Series(contract.kinds, name="kind").to_frame().assign(missing=X.isna().sum(), distinct=X.nunique())

# %%
training.groupby(folds["fold"])[contract.target].describe()

# %% [markdown]
# **What a careful colleague would say.** Nothing here stops the training; each names the column, the count, the remedy.

# %%
warnings = checks.check(table, division, settings)
pd.Series(warnings or ["nothing"], name="warning").to_frame().style.hide().set_properties(**{"text-align": "left"})

# %% [markdown]
# The run that all candidates of this training will be children of is opened here, while a single process is running.

# %%
facts = {
    "task": contract.task,
    "metric": contract.metric,
    "target": contract.target,
    "data_digest": tables.digest(table),
}
run_id = tracking.start_training(settings, facts, training)

# %%
training.to_parquet(product["train"])
division.holdout.to_parquet(product["holdout"])
folds.to_parquet(product["folds"])
Path(product["warnings"]).write_text(json.dumps(warnings, indent=2))
Path(product["contract"]).write_text(json.dumps(contract.to_dict(), indent=2))
outcome = {"run_id": run_id, "train_data": settings.train_data, **facts, **division.facts}
Path(product["training"]).write_text(json.dumps(outcome, indent=2))
pd.Series(outcome, name="training").to_frame()
