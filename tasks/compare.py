# %% [markdown]
# # Compare
# Which candidate is best, how sure is that, and is it better than the champion? Only this build's candidates count.

# %% tags=["parameters"]
upstream = ["fit-*", "ensemble-*", "clean", "features"]
product = None
settings = None

# %%
import json
import textwrap
from pathlib import Path

import pandas as pd

from baton import config, figures, models
from baton.data import split
from baton.data.contract import read_contract
from baton.handover import filing, promotion, saving, tracking
from baton.training import evaluation

settings, contract = config.Settings(**settings), read_contract(upstream["clean"]["contract"])
facts = json.loads(Path(upstream["clean"]["training"]).read_text())
training, holdout = (pd.read_parquet(upstream["clean"][part]) for part in ("train", "holdout"))
folds = pd.read_parquet(upstream["features"]["folds"])
fits = {name.partition("-")[2]: made for name, made in (upstream["fit-*"] | upstream.get("ensemble-*", {})).items()}
candidates = {name: json.loads(Path(made["candidate"]).read_text()) for name, made in fits.items()}
scores = {name: pd.read_csv(made["scores"], index_col="fold")[contract.metric] for name, made in fits.items()}

# %% [markdown]
# **The leaderboard.** `behind` is the mean distance to the best over the same folds, `low` and `high` its 95%
# interval; `level` marks those that it can't tell from the best. The best of many is a little lucky, so these figures
# choose, and the holdout below tells how good the choice is. Where `nested` is false, a tuned candidate's settings were
# chosen by the folds that score it, which flatters it.

# %%
ratio = split.make_splitter(folds, contract).test_train_ratio()
ranking = evaluation.compare_to_best(scores, contract.metric, ratio)
leaderboard = ranking.join(pd.DataFrame({name: made["costs"] for name, made in candidates.items()}).T)
nested = pd.Series({name: made["nested"] for name, made in candidates.items()}, name="nested")
described = {name: models.describe(made) for name, made in candidates.items()}
leaderboard = leaderboard.join(nested).join(pd.Series(described, name="settings"))
board = figures.leaderboard(ranking, contract.metric, described)
board

# %%
pd.set_option("display.max_rows", None, "display.max_colwidth", None)
leaderboard.round(4)

# %% [markdown]
# **Sweeps**: where an entry of the grid lists several values for its parameters, how good each combination is.

# %%
swept = {name: made["swept"] for name, made in candidates.items()}
sweeps = figures.sweep(ranking, swept, contract.metric)
sweeps

# %% [markdown]
# **The choice**, by `choose` in `env.yaml`.

# %%
model_ids = {name: made["model"] for name, made in candidates.items()}
winner, reason = evaluation.choose(ranking, model_ids, settings.choose)
print(textwrap.fill(reason, 110))

# %% [markdown]
# **The verdict.** The winner and the champion, each as judged and in a process of its own, predict the same raw rows of
# the holdout, which none of them has learned from. The policy `promote` in `env.yaml` says what makes the winner the
# new champion; a first champion beats the baseline by more than chance. What then serves is the winner fitted anew on
# all rows, unless `final_fit` says otherwise.

# %%
# Those that MLflow did not take when they were fitted are filed now.
runs = filing.file_all(fits, facts, settings.mlflow_tracking_uri)
challenger = saving.open_model(Path(fits[winner]["model"]), run_id=runs[winner])
verdict = promotion.hand_over(
    challenger, candidates[winner], reason, training, holdout, facts, settings, Path(product["version"])
)  # fmt: skip
print(textwrap.fill(verdict.reason, 110))

# %% [markdown]
# Scores with their 95% intervals; `lead` is the distance to the challenger, paired. The figure shows the lead that
# these rows could have shown, too: a smaller one stays unseen, so "no" does not mean "equal".

# %%
verdict.table().round(4)

# %%
decision = figures.decision(verdict.to_dict())
decision

# %%
tracking.log_result(
    facts["run_id"], settings.mlflow_tracking_uri, metrics=verdict.metrics(),
    tags={"winner": winner, "reason": verdict.reason},
    figures={"leaderboard": board, "sweeps": sweeps, "decision": decision},
    tables={"leaderboard": leaderboard, "holdout": verdict.table()},
)  # fmt: skip

# %%
outcome = {"winner": winner, "choice": reason, **verdict.to_dict()}
Path(product["verdict"]).write_text(json.dumps(outcome, indent=2))
leaderboard.to_csv(product["leaderboard"])
