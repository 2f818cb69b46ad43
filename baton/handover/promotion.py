"""Whether a challenger takes the champion's place: both scored on the frozen holdout, on rows that neither has seen."""

import dataclasses

import numpy as np
import pandas as pd

from baton import BatonError, config
from baton.data import split
from baton.data.contract import Contract
from baton.handover import registry
from baton.training import evaluation

FEWEST = 30  # rows that neither has seen, below which nothing is decided
CHANCE = 0.05  # how often a model that has learned nothing may become the first champion

PROMOTED, REFUSED, UNDECIDED = "promoted", "refused", "undecided"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The decision ("promoted", "refused" or "undecided"), its reason, and the scores it rests on.

    `scores` has a row for each of challenger, champion and baseline, with intervals; it is empty if nothing was
    decided. `rows` were scored, of `holdout_rows`; the champion had learned from `seen` of them.
    """

    decision: str
    reason: str
    metric: str
    scores: pd.DataFrame
    rows: int
    holdout_rows: int
    seen: int

    def metrics(self) -> dict[str, float]:
        """The scores as MLflow metrics."""
        scored = self.scores[self.metric].items() if len(self.scores) else []
        return {f"holdout/{name}": float(value) for name, value in scored}

    def to_dict(self) -> dict:
        return dataclasses.asdict(self) | {"scores": self.scores.to_dict("index")}


def find_champion(settings: config.Settings) -> registry.Model | None:
    """The champion to be compared with; None if there is none yet, or nothing is tracked."""
    return registry.find_champion(settings.name, settings.mlflow_tracking_uri) if settings.track else None


def decide(
    challenger: registry.Model, champion: registry.Model | None, training: pd.DataFrame, holdout: pd.DataFrame
) -> Verdict:
    """Let challenger and champion predict the raw holdout rows that neither has learned from, and decide.

    The challenger must score better than the champion; without one, better than the baseline, which looks at no
    feature, by more than chance: the lower bound of its lead, one-sided at 95%, is above 0, and at most 5% of random
    assignments of its predictions to rows score as well (with few positive rows, the bound alone is too low to hold
    5%). Intervals are two-sided, 95%, by bootstrap over holdout rows (over whole groups with `split: group`); `lead` is
    the challenger's distance to the row's score, paired.
    """
    contract = challenger.contract
    rows, caution = _unseen(champion, contract, training, holdout)
    seen, metric = len(holdout) - len(rows), contract.metric
    if seen and (len(rows) < FEWEST or (contract.labels and rows[contract.target].nunique() < 2)):
        reason = (
            f"{champion} may have learned from {seen} of the {len(holdout)} holdout rows, and the {len(rows)} others"
            f" are too few to compare by: {champion} stays champion, and nothing is decided{caution}."
        )
        return Verdict(UNDECIDED, reason, metric, pd.DataFrame(), len(rows), len(holdout), seen)
    models = {"challenger": challenger} | ({"champion": champion} if champion else {})
    scores, bound, chance = _score(models, contract, training[contract.target], rows)

    other = "champion" if champion else "baseline"
    lead, low, high = (float(scores.at[other, column]) for column in ("lead", "lead_low", "lead_high"))
    promoted = lead > 0 if champion else bound > 0 and chance <= CHANCE
    only = f" of {len(holdout)}, which {champion} has not learned from" if seen else ""
    reason = (
        f"{metric} on {len(rows)} holdout rows{only}: challenger {scores.at['challenger', metric]:.4f},"
        f" {other} {scores.at[other, metric]:.4f}; lead {lead:+.4f} (95% interval {low:+.4f} to {high:+.4f})"
    )
    if promoted:
        outcome = f"{challenger} becomes champion"
    elif champion:
        outcome = f"{champion} stays champion"
    else:
        outcome = (
            f"a lead of more than chance is not there (lower bound {bound:+.4f}; {chance:.1%} of random assignments of"
            " the predictions to rows score as well), and there is no champion yet"
        )
    reason = f"{reason}. So {outcome}{caution}."
    return Verdict(PROMOTED if promoted else REFUSED, reason, metric, scores, len(rows), len(holdout), seen)


def carry_out(verdict: Verdict, challenger: registry.Model, tracking_uri: str) -> None:
    """Promote the challenger if the verdict says so."""
    if verdict.decision == PROMOTED:
        registry.promote(challenger, tracking_uri)


def require_comparable(contract: Contract, champion: Contract | None, table: pd.DataFrame) -> None:
    """Raise `BatonError` if the champion answers another question than this training's, or can't read its table."""
    if champion is None:
        return
    other = f"the champion of {champion.name!r} can't be compared with a model of this table"
    remedy = "Give this training a name of its own in env.yaml"
    if (champion.task, champion.target) != (contract.task, contract.target):
        raise BatonError(f"{other}: it answers {champion.task} {champion.target!r}. {remedy}")
    if contract.labels and len({*champion.labels} & {*contract.labels}) < 2:
        theirs, ours = (", ".join(map(repr, labels[:5])) for labels in (champion.labels, contract.labels))
        raise BatonError(f"{other}: it tells apart the classes {theirs}, and this table has {ours}. {remedy}")
    try:
        champion.read_features(table)
    except BatonError as error:
        raise BatonError(f"{other}: {error}. {remedy}") from None


def _unseen(
    champion: registry.Model | None, contract: Contract, training: pd.DataFrame, holdout: pd.DataFrame
) -> tuple[pd.DataFrame, str]:
    """The holdout rows that the champion has not learned from, and what limits that, as a sentence to add."""
    if champion is None:
        return holdout, ""
    if champion.fingerprints is None:
        return holdout, (
            f". {champion} was registered before models kept the fingerprints of their rows: it may have learned from"
            " some of these"
        )
    seen = split.find_seen(training, holdout, champion.contract, champion.fingerprints)
    if seen is None:
        columns = champion.contract.id_columns or champion.contract.features
        lacking = ", ".join(repr(column) for column in columns if column not in holdout)
        return holdout.head(0), f". The table lacks {lacking}, by which its rows could be identified"
    other = (champion.contract.split, champion.contract.split_by) != (contract.split, contract.split_by)
    return holdout[~seen], (
        f". {champion} was trained with split: {champion.contract.split}, so it may have learned from other rows of the"
        f" same {contract.split_by}"
        if other and contract.split != "hash"
        else ""
    )


def _score(
    models: dict, contract: Contract, y_train: pd.Series, rows: pd.DataFrame
) -> tuple[pd.DataFrame, float, float]:
    """Score each model's predictions and the baseline's, in a table with intervals.

    Returns also the lower bound of the challenger's lead over the baseline, and how often chance scores as well.
    """
    y = contract.encode(rows[contract.target]).to_numpy()
    found = dict(zip(models, registry.predict_all([*models.values()], rows), strict=True))
    predictions = {name: _align(answers, models[name].contract, contract) for name, answers in found.items()}
    predictions["baseline"] = evaluation.baseline(y, contract, y_train)
    metric, sign = contract.metric, 1 if evaluation.METRICS[contract.metric].higher_is_better else -1
    groups = None
    if contract.split == "group":
        groups = split.identify_groups(rows, contract, split.identify(rows, contract))
    draws = evaluation.bootstrap(y, predictions, contract.task, metric, groups)
    score = {name: evaluation.score(y, one, contract.task, metric)[metric] for name, one in predictions.items()}
    leads = {name: sign * (draws["challenger"] - draws[name]) for name in predictions}
    table = {
        name: {
            "model": str(models.get(name, "no model")),
            metric: value,
            **dict(zip(("low", "high"), evaluation.interval(draws[name]), strict=True)),
            "lead": sign * (score["challenger"] - value),
            **dict(zip(("lead_low", "lead_high"), evaluation.interval(leads[name]), strict=True)),
        }
        for name, value in score.items()
    }
    bound = float(np.nanpercentile(leads["baseline"], 100 * CHANCE))
    # A champion is beaten by any lead, so nothing else asks for this.
    first = "champion" not in models
    chance = evaluation.chance(y, predictions["challenger"], contract.task, metric, groups) if first else np.nan
    return pd.DataFrame.from_dict(table, orient="index"), bound, chance


def _align(predictions: np.ndarray, contract: Contract, wanted: Contract) -> np.ndarray:
    """Give probabilities in another contract's order of classes; a class that a model never saw has none."""
    if contract.labels == wanted.labels:
        return predictions
    return pd.DataFrame(predictions, columns=contract.labels).reindex(columns=wanted.labels, fill_value=0.0).to_numpy()
