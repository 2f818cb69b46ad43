# %% [markdown]
# # Receive
# Read the rows that arrived, find the champion that will score them, and hold one to the contract of the other.

# %% tags=["parameters"]
upstream = None
product = None
name = None
score_data = None
predictions_table = None
batch = None
mlflow_tracking_uri = None

# %%
import json
from pathlib import Path

from baton import registry, scoring, tables

champion = registry.require_champion(str(name), mlflow_tracking_uri)
table = tables.read_table(score_data)
table.head()

# %% [markdown]
# The alias `champion` is resolved here, once: the rest of this run uses this version, whatever is crowned meanwhile.

# %%
received, rows = scoring.receive(table, champion, str(batch), score_data, predictions_table)
published = scoring.is_published(received)
rows.describe(include="all").T

# %%
rows.to_parquet(product["rows"])
outcome = received.to_dict() | {"published": published}
Path(product["batch"]).write_text(json.dumps(outcome, indent=2))
outcome
