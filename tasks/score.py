# %% [markdown]
# # Score
# Run the pinned version of the champion on the raw rows, in a process that has no feature code but the version's own.

# %% tags=["parameters"]
upstream = ["receive"]
product = None
name = None
batch = None
predictions_table = None
mlflow_tracking_uri = None

# %%
from baton import registry, scoring

received, rows = scoring.read_batch(upstream["receive"]["rows"], name, batch)
champion = registry.version_of(received.name, received.model_version, mlflow_tracking_uri)
predictions = scoring.score(rows, champion)
predictions.head()

# %% [markdown]
# All of it is published in one step: whoever reads the folder finds every row, or no folder.

# %%
manifest = scoring.publish(predictions, received, champion.contract)
print(manifest.read_text())
