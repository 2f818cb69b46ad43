# %% [markdown]
# Make the store and the run that the candidates' runs belong to.

# %% tags=["parameters"]
upstream = None
product = None

# %%
import json
import sys
from pathlib import Path

import mlflow

sys.path.insert(0, str(Path.cwd().parent))  # handwritten.py

uri = f"sqlite:///{Path.cwd()}/made/mlflow.db"
mlflow.set_tracking_uri(uri)
experiment_id = mlflow.create_experiment("template", artifact_location=Path("made/mlruns").absolute().as_uri())
with mlflow.start_run(experiment_id=experiment_id) as parent:
    pass

# %%
import handwritten

X, y = handwritten.read()
X.describe()

# %%
made = {"uri": uri, "experiment_id": experiment_id, "parent": parent.info.run_id}
Path(product["store"]).write_text(json.dumps(made))
