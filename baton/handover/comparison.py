"""The verdict on a challenger: compared with the champion, as judged, on holdout rows that neither has learned from.

`gate` decides by what is measured here; `promotion` carries it out.
"""

import dataclasses

import numpy as np
import pandas as pd

from baton import BatonError, config
from baton.data import split, tables
from baton.data.contract import Contract
from baton.handover import gate, history, intervals, registry
from baton.handover.history import PROMOTED, REFUSED, UNDECIDED, Event
from baton.handover.saving import Model
from baton.training import evaluation

FEWEST = 30  # rows that nobody compared has learned from, below which nothing is decided
UNCHANGED = "unchanged"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A decision ("promoted", "refused", "undecided" or "unchanged"), and what it rests on.

    `scores` maps the models that were compared (challenger, champion, baseline, reference) to their metrics, each with
    its `value` and its 95% interval, `low` to `high`; it is empty if nothing was compared. `leads` are the
    challenger's over each. `rows` were scored, of `holdout_rows`; those compared had learned from `seen` of them.
    `looks` counts how often this champion was compared, now included; `newer` is its score on holdout rows it was not
    judged on when it was promoted. `interval` is what `intervals.measure` says of the challenger's, None for classes.
    `weight` is the column that weighs the rows, None without one. `answers` are the challenger's to all holdout rows,
    None if it can't be served. `serves` is "all" where what serves was fitted anew on all rows, or "training";
    `serves_reason` says why that, where all was asked for.
    """

    decision: str
    evidence: str
    outcome: str
    metric: str
    champion: Model | None = None
    scores: dict[str, dict[str, dict[str, float]]] = dataclasses.field(default_factory=dict)
    leads: dict[str, gate.Lead] = dataclasses.field(default_factory=dict)
    slices: list[dict] = dataclasses.field(default_factory=list)
    newer: dict | None = None
    interval: dict | None = None
    weight: str | None = None
    rows: int = 0
    rows_digest: str = ""
    holdout_rows: int = 0
    seen: int = 0
    looks: int = 0
    answers: np.ndarray | None = None
    policy: dict = dataclasses.field(default_factory=dict)
    serves: str = "training"
    serves_reason: str = ""

    @property
    def reason(self) -> str:
        """What was found and what follows, in a sentence or two."""
        serves = ""
        if self.serves == "all":
            serves = " It serves fitted anew on all rows."
        elif self.serves_reason:
            serves = f" It serves as judged: {self.serves_reason}."
        return f"{self.evidence}. So {self.outcome}.{serves}{self._shifted()}"

    def _shifted(self) -> str:
        """Say of probabilities that tell less than the share of each class does."""
        mine, same = (self.scores.get(name, {}).get("Log Loss", {}).get("value") for name in ("challenger", "baseline"))
        if mine is None or same is None or not mine > same:
            return ""
        return (
            f" Its probabilities order rows, and say no more: their log loss is {mine:.4f}, and {same:.4f} with the"
            " share of each class for every row. Does class_weight shift them?"
        )

    def table(self) -> pd.DataFrame:
        """The scores by the metric that decides, and the challenger's leads, a row for each model."""
        scores = pd.DataFrame({name: found[self.metric] for name, found in self.scores.items()}).T
        leads = pd.DataFrame(self.leads, gate.Lead._fields).T[["value", "low", "high"]].astype("float64")
        leads = leads.add_prefix("lead_")
        return scores.rename(columns={"value": self.metric}).join(leads.rename(columns={"lead_value": "lead"}))

    def metrics(self) -> dict[str, float]:
        """The scores by the metric that decides, as MLflow metrics."""
        scores = {f"holdout/{name}": found[self.metric]["value"] for name, found in self.scores.items()}
        kept = ("coverage", "width") if self.interval else ()
        return scores | {f"holdout/interval_{key}": self.interval[key] for key in kept}

    def to_dict(self) -> dict:
        written = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del written["answers"]
        champion = self.champion and {"version": self.champion.version, "run_id": self.champion.run_id}
        leads = {name: lead._asdict() for name, lead in self.leads.items()}
        return written | {"champion": champion, "leads": leads, "reason": self.reason}


def find_champion(settings: config.Settings) -> Model | None:
    """The champion to be compared with; None if there is none yet, or nothing is tracked."""
    return registry.find_champion(settings.name, settings.mlflow_tracking_uri) if settings.track else None


def compare(
    challenger: Model, champion: Model | None, training: pd.DataFrame, holdout: pd.DataFrame, settings: config.Settings
) -> Verdict:
    """Decide whether a saved model that was fitted on `training` replaces the champion.

    It must be fit to be served, better than the baseline, which looks at no feature, and past `at_least`; and better
    than the champion, as the policy `promote` means it. Both predict the holdout rows that neither has learned from,
    each by its own contract and feature code. Raises `SettingsError` if it can't give the intervals that are asked for.
    """
    contract = challenger.contract
    intervals.require(challenger, settings.interval)
    about = {"metric": contract.metric, "champion": champion, "holdout_rows": len(holdout), "policy": _policy(settings)}
    about["weight"] = contract.weight
    stays = f"{champion} stays champion" if champion else "there is no champion yet"
    if champion and champion.run_id == challenger.run_id:
        serves = champion.tags.get("serves", settings.final_fit)
        later = "" if serves == settings.final_fit else f"; final_fit: {settings.final_fit} is for versions to come"
        return Verdict(UNCHANGED, f"The winner is {champion} itself", stays + later, **about)
    try:
        X = contract.read_features(holdout)
        answers = registry.require_servable(challenger.judged, settings.at_most, settings.mlflow_tracking_uri, X)
    except BatonError as error:
        return Verdict(REFUSED, str(error), stays, **about)
    about["answers"] = answers
    tracked = champion is not None and settings.track
    events = history.read(settings.name, settings.mlflow_tracking_uri) if tracked else []
    compared = {"champion": champion} if champion else {}
    undecided = f"{stays}, and nothing is decided"
    remedy = "Go back with `baton rollback`, or name another version with `baton promote`"
    try:
        reference = _find_reference(champion, events, settings)
    except BatonError as error:
        evidence = f"What promote: not_worse compares with can't be fetched: {error}. {remedy}"
        return Verdict(UNDECIDED, evidence, undecided, **about)
    compared |= {"reference": reference} if reference and reference.version != champion.version else {}

    # A challenger of an earlier training, handed on from another registry, may have learned from some of these rows.
    models = compared | ({"challenger": challenger} if challenger.fingerprints is not None else {})
    unseen, learned, caution = _find_unseen(models, contract, training, holdout)
    rows = holdout[unseen]
    about |= {"rows": len(rows), "seen": len(holdout) - len(rows), "rows_digest": tables.digest(rows)}
    about["looks"] = _count_looks(champion, events, challenger, about["rows_digest"]) if champion else 0
    if about["seen"] and (len(rows) < FEWEST or (contract.labels and rows[contract.target].nunique() < 2)):
        evidence = (
            f"{' and '.join(learned)} may have learned from {about['seen']} of the {len(holdout)} holdout rows, and the"
            f" {len(rows)} others are too few to compare by{caution}"
        )
        return Verdict(UNDECIDED, evidence, undecided, **about)
    try:
        answered = {"challenger": (answers[unseen], contract)}
        answered |= _predict(compared, contract, training, rows, settings.threshold)
    except BatonError as error:
        return Verdict(UNDECIDED, f"{error}. {remedy}", undecided, **about)

    y = contract.encode(rows[contract.target]).to_numpy()
    groups = split.identify_for_split(rows, contract)[1] if contract.split == "group" else None
    weights = contract.read_weights(rows)
    scores = {
        name: {
            metric: gate.measure_score(
                y, _read(one, contract, metric), contract.task, metric, groups, weights
            )._asdict()
            for metric in config.METRICS[contract.task]
        }
        for name, one in answered.items()
    }
    predictions = {name: _read(one, contract, contract.metric) for name, one in answered.items()}
    # Of many that are compared with one reference, each by `not_worse`, one could slip through. So the first may take
    # 1/2 of the error, the next 1/6, then 1/12 and so on: however many there will be, all of it in all.
    asked = {}
    if reference:
        count = _count_looks(reference, events, challenger, about["rows_digest"])
        deciding = "reference" if "reference" in compared else "champion"
        asked[deciding] = {"looks": count * (count + 1), "least": -settings.margin}
    leads = {
        name: gate.measure_lead(
            y, predictions["challenger"], other, contract.task, contract.metric, groups, settings.confidence,
            weights=weights, **asked.get(name, {}),
        )
        for name, other in predictions.items() if name != "challenger"
    }  # fmt: skip
    # With few positive rows, the bound of a lead over the baseline is too low: see `evaluation.chance`.
    by_chance = None
    if champion is None:
        by_chance = evaluation.chance(
            y, predictions["challenger"], contract.task, contract.metric, groups, weights=weights
        )
    reached = {name: found["value"] for name, found in scores["challenger"].items()}
    promoted, why = gate.decide(
        settings.promote, contract.metric, leads, reached, settings.at_least, settings.margin, by_chance,
        settings.confidence,
    )  # fmt: skip
    if promoted:  # that a model is better, the figures say already; that this was not asked for, they don't
        why = [f"promote is {settings.promote}"] if champion and settings.promote != "superior" else []
    slices, other = [], "champion" if champion else "baseline"
    if settings.slices:
        read = _slice_columns(rows, contract, settings)
        slices = gate.compare_slices(
            y, predictions["challenger"], predictions[other], read, contract.task, contract.metric, groups,
            settings.confidence, other, weights,
        )  # fmt: skip
    return Verdict(
        PROMOTED if promoted else REFUSED,
        _describe(contract.metric, scores, leads, slices, about, why) + caution,
        "the challenger becomes champion" if promoted else stays,
        scores=scores, leads=leads, slices=slices,
        newer=_score_newer(champion, contract, training, holdout, unseen, predictions, y, groups, weights),
        interval=intervals.measure(
            challenger.residuals, y, predictions["challenger"], settings.interval or intervals.LEVEL, weights
        ),
        **about,
    )  # fmt: skip


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


def _policy(settings: config.Settings) -> dict:
    keys = ("promote", "confidence", "margin", "at_least", "at_most", "final_fit")
    return {key: getattr(settings, key) for key in keys}


def _find_reference(champion: Model | None, events: list[Event], settings: config.Settings) -> Model | None:
    """The last champion that was surely better than the reference of then, or promoted by hand.

    Those since were not worse than it. To be better than the champion that it replaced is not enough: champions that
    are a little worse, and a little better than those, in turns, would lead down. By another policy than `not_worse`,
    a champion was measured against the one that it replaced alone.
    """
    if champion is None or settings.promote != "not_worse":
        return None
    promoted = {event.version: event for event in events if event.kind == PROMOTED}
    reference = None
    for number in history.former_champions(events):
        event = promoted.get(number)
        over_it = event and (event.promote == "not_worse" or event.previous == reference)
        if reference is None or event is None or event.by_hand or (over_it and event.scores.get("bound", 0) > 0):
            reference = number
    return registry.version_of(settings.name, reference, settings.mlflow_tracking_uri) if reference else champion


def _count_looks(version: Model, events: list[Event], challenger: Model, rows_digest: str) -> int:
    """How many challengers have been compared since a version was first promoted, now included.

    Whatever was champion in between: it is the same holdout that is looked at. The same challenger on the same rows,
    as after a change of the policy, is one look.
    """
    promoted = [place for place, event in enumerate(events) if event.moves and event.version == version.version]
    later = [event for event in events[promoted[0] + 1 if promoted else 0 :] if "challenger" in event.scores]
    looks = {(event.run_id or place, event.scores.get("rows_digest")) for place, event in enumerate(later)}
    return len(looks | {(challenger.run_id, rows_digest)})


def _find_unseen(
    compared: dict[str, Model], contract: Contract, training: pd.DataFrame, holdout: pd.DataFrame
) -> tuple[np.ndarray, list[str], str]:
    """Tell which holdout rows no other model has learned from, which models have learned from the others, and what
    limits that, to be added to a sentence."""
    seen, learned, caution = np.zeros(len(holdout), dtype=bool), [], ""
    for role, model in compared.items():
        name = str(model) if model.version else f"the {role}"
        if model.fingerprints is None:
            caution += (
                f". {model} was registered before models kept the fingerprints of their rows: it may have learned from"
                " some of these"
            )
            continue
        found = split.find_seen(training, holdout, model.contract, model.fingerprints)
        if found is None:
            columns = model.contract.id_columns or model.contract.features
            lacking = ", ".join(repr(column) for column in columns if column not in holdout)
            lacking = f". The table lacks {lacking}, by which its rows could be identified"
            return np.zeros(len(holdout), dtype=bool), [name], lacking
        seen |= found
        learned += [name] if found.any() else []
        other = (model.contract.split, model.contract.split_by) != (contract.split, contract.split_by)
        if other and contract.split != "hash":
            other_rows = "newer than these" if contract.split == "time" else f"of the same {contract.split_by}"
            caution += (
                f". {model} was trained with split: {model.contract.split}, so it may have learned from rows"
                f" {other_rows}"
            )
    return ~seen, learned, caution


def _predict(
    models: dict[str, Model], contract: Contract, training: pd.DataFrame, rows: pd.DataFrame, how: str | float | dict
) -> dict[str, tuple[np.ndarray, Contract]]:
    """Let each model, as judged, predict the same raw rows, by its own contract; and the baseline.

    Where the threshold is chosen by the metric that decides, the baseline's is so too: to call all rows positive takes
    no model, and has an F1.
    """
    found = registry.predict_all([model.judged for model in models.values()], rows)
    answered = {name: (answers, model.contract) for (name, model), answers in zip(models.items(), found, strict=True)}
    threshold, y_train, weights = None, training[contract.target], contract.read_weights(training)
    if contract.threshold is not None and contract.metric in evaluation.BY_COUNTS:
        learned = contract.encode(y_train).to_numpy(), evaluation.baseline(y_train, contract, y_train, weights)
        threshold = evaluation.choose_threshold(*learned, how, contract.metric, weights)
    baseline = evaluation.baseline(rows[contract.target], contract, y_train, weights)
    return answered | {"baseline": (baseline, contract.with_threshold(threshold))}


def _read(answered: tuple[np.ndarray, Contract], wanted: Contract, metric: str) -> np.ndarray:
    """A model's predictions as a metric reads them: classes by its own threshold, in the wanted order."""
    predictions, contract = answered
    return align(evaluation.as_read(predictions, contract.threshold, metric), contract, wanted)


def align(predictions: np.ndarray, contract: Contract, wanted: Contract) -> np.ndarray:
    """Give probabilities in another contract's order of classes; a class that a model never saw has none."""
    if contract.labels == wanted.labels:
        return predictions
    return pd.DataFrame(predictions, columns=contract.labels).reindex(columns=wanted.labels, fill_value=0.0).to_numpy()


def _slice_columns(rows: pd.DataFrame, contract: Contract, settings: config.Settings) -> pd.DataFrame:
    """The columns to slice by: features as the contract reads them, any others as they stand in the table."""
    if lacking := [column for column in settings.slices if column not in rows]:
        nearest = config.did_you_mean(lacking[0], [*map(str, rows.columns)])
        raise BatonError(f"slices names {lacking[0]!r}, which the table does not have{nearest}; correct it in env.yaml")
    read = contract.read_features(rows)
    return pd.DataFrame({column: read.get(column, rows[column]) for column in settings.slices})


def _score_newer(
    champion, contract: Contract, training, holdout: pd.DataFrame, unseen: np.ndarray, predictions: dict, y, groups,
    weights,
) -> dict | None:  # fmt: skip
    """The champion's score on rows that were not there, or not in the holdout, when it was promoted: not flattered."""
    if champion is None or champion.judged_on is None:
        return None
    # Equal rows are told apart by their number, which goes by all of them.
    before = split.find_seen(training, holdout, champion.contract, champion.judged_on)
    if before is None or (~before[unseen]).sum() < FEWEST:
        return None
    new = ~before[unseen]
    found = gate.measure_score(
        y[new], predictions["champion"][new], contract.task, contract.metric, None if groups is None else groups[new],
        evaluation.part(weights, new),
    )  # fmt: skip
    return {"rows": int(new.sum())} | found._asdict()


def _describe(metric: str, scores: dict, leads: dict, slices: list, about: dict, why: list[str]) -> str:
    other = "champion" if "champion" in leads else "baseline"
    lead = leads[other]
    only = f" of {about['holdout_rows']}, which none of them has learned from" if about["seen"] else ""
    weighted = f", weighted by {about['weight']!r}" if about["weight"] else ""
    look = f"; look {about['looks']} at this champion" if about["looks"] > 1 else ""
    worse = [f"{one['column']} = {one['value']} ({one['lead']:+.4f})" for one in slices if one["worse"]]
    return (
        f"{metric} on {about['rows']} holdout rows{only}{weighted}: challenger"
        f" {scores['challenger'][metric]['value']:.4f}, {other} {scores[other][metric]['value']:.4f}; lead"
        f" {lead.value:+.4f} (95% interval {lead.low:+.4f} to {lead.high:+.4f}{look})"
        + (f": {'; '.join(why)}" if why else "")
        + (f". It is worse where {', '.join(worse)}" if worse else "")
    )  # fmt: skip
