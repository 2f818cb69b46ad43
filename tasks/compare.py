# %% [markdown]
# # Compare
# Which candidate is best, how sure is that, and is it better than the champion? Only this build's candidates count.

# %% tags=["parameters"]
upstream = ["fit-*", "clean"]
product = None
mlflow_tracking_uri = None

# %%
import json
import textwrap
from pathlib import Path

import pandas as pd

from baton import contract, evaluation, figures, promotion, registry, tracking

promised = contract.read_contract(upstream["clean"]["contract"])
known = json.loads(Path(upstream["clean"]["training"]).read_text())
training, judges = (pd.read_parquet(upstream["clean"][part]) for part in ("train", "holdout"))
fits = {name.removeprefix("fit-"): made for name, made in upstream["fit-*"].items()}
candidates = {name: json.loads(Path(made["candidate"]).read_text()) for name, made in fits.items()}
scores = {name: pd.read_csv(made["scores"], index_col="fold")[promised.metric] for name, made in fits.items()}

# %% [markdown]
# **The leaderboard.** `behind` is the mean distance to the best over the same folds, `low` and `high` its 95%
# interval; `level` marks those that one standard error can't tell from the best. The best of many is a little lucky,
# so these figures choose, and the holdout below tells how good the choice is.

# %%
ranking = evaluation.compare_to_best(scores, promised.metric)
costs = pd.DataFrame({name: made["costs"] for name, made in candidates.items()}).T
leaderboard = ranking.join(costs)
leaderboard.round(4)

# %%
settings = {name: made["settings"] for name, made in candidates.items()}
board = figures.leaderboard(ranking, promised.metric, settings)
board

# %% [markdown]
# **The choice.** Among those level with the best, the simplest: fastest to fit and to score, and smallest.

# %%
winner, reason = evaluation.choose(ranking, costs)
print(textwrap.fill(reason, 110))

# %% [markdown]
# **The verdict.** The winner is registered as a new version. It and the champion, each as registered and in a
# process of its own, predict the same raw rows of the holdout, which none of them has seen. The winner takes the
# alias if it scores better there; the first one, if it beats guessing.

# %%
challenger = registry.enter(candidates[winner], Path(fits[winner]["model"]), reason, known, mlflow_tracking_uri)
champion = registry.rival(promised.name, known, mlflow_tracking_uri)
verdict = promotion.judge(challenger, champion, judges, training[promised.target])
print(textwrap.fill(verdict.reason, 110))
verdict.scores.round(4)

# %%
registry.crown_if(verdict.promote, challenger, mlflow_tracking_uri)
tracking.log_result(
    known["run_id"], mlflow_tracking_uri, metrics=verdict.metrics(), tags={"winner": winner, "reason": verdict.reason},
    figures={"leaderboard": board}, tables={"leaderboard": leaderboard, "holdout": verdict.scores},
)  # fmt: skip

# %%
outcome = {"winner": winner, "choice": reason, **verdict.to_dict()}
Path(product["verdict"]).write_text(json.dumps(outcome, indent=2))
leaderboard.to_csv(product["leaderboard"])
