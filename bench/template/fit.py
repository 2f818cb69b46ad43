# %% [markdown]
# Fit one candidate, and log it.

# %% tags=["parameters"]
upstream = ["load"]
product = None
number = None

# %%
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd().parent))  # handwritten.py

import handwritten

store = json.loads(Path(upstream["load"]["store"]).read_text())
result = handwritten.fit(handwritten.grid()[number], **store)
result

# %%
Path(product["result"]).write_text(json.dumps(result))
