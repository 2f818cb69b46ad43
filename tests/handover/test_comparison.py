"""Who is promoted: on which rows, by which metric, and when nothing is decided. What models predict is a column here."""

import dataclasses
import json
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from conftest import learn, settings

from baton import BatonError, ModelRefused, SettingsError
from baton.data import split, tables
from baton.data.contract import Contract
from baton.data.values import Format
from baton.handover import comparison, gate, history, intervals, promotion, registry
from baton.handover.history import PROMOTED, REFUSED, ROLLED_BACK, UNDECIDED, Event
from baton.training import evaluation


class Answering(NamedTuple):
    """A registered model with its fingerprints in memory, that answers with a column of the rows it is given."""

    contract: Contract
    column: str
    fingerprints: np.ndarray | None
    version: str = "7"
    judged_on: np.ndarray | None = None
    tags: dict = {}
    residuals: intervals.Residuals | None = None

    @property
    def judged(self):
        return self

    @property
    def run_id(self) -> str:
        return f"run of {self.version}"

    def __str__(self) -> str:
        return f"demo version {self.version}"


@pytest.fixture(autouse=True)
def predict(monkeypatch):
    """Let each model answer from the rows as its contract reads them: probabilities from `log-odds`, or numbers."""

    def answer(model, X):
        found = X[model.column].to_numpy()
        positive = 1 / (1 + np.exp(-found))
        return np.column_stack([1 - positive, positive]) if model.contract.labels else found

    monkeypatch.setattr(registry, "predict", answer)
    monkeypatch.setattr(registry, "require_servable", lambda model, at_most, uri, X: answer(model, X))


def compare(challenger, champion, training, holdout, **keys) -> comparison.Verdict:
    return comparison.compare(challenger, champion, training, holdout, settings(track=False, **keys))


def rows(count: int = 200, numbers: bool = False, seed: int = 1) -> pd.DataFrame:
    """A table whose columns `good` and `bad` tell its target well and badly; `noise` does not."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=count)
    table = {"good": truth * 2 + generator.normal(size=count), "bad": truth * 0.6 + generator.normal(size=count)}
    table |= {"noise": generator.normal(size=count), "g": np.arange(count) // 4, "id": np.arange(count)}
    return pd.DataFrame(table | {"y": truth if numbers else (truth > 0).astype(int)})


def model(table, column, version="7", learned=(), **keys) -> Answering:
    """A model that predicts a column, and has learned from the rows of the table at these places."""
    asked = learn(table, **({"id_columns": ["id"], "ignore_columns": ["g"]} | keys))
    learned = split.identify(table, asked)[[*learned]]
    return Answering(asked, column, np.unique(learned).astype("uint64"), version)


def halves(table) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows and holdout rows."""
    return table.head(len(table) // 2), table.tail(len(table) - len(table) // 2)


@pytest.mark.parametrize("metric", ["AUC", "Log Loss", "Accuracy", "R2", "RMSE", "MAE"])
def test_the_better_one_of_challenger_and_champion_stays_or_becomes_champion(metric):
    table = rows(numbers=metric in {"R2", "RMSE", "MAE"})
    if metric in {"R2", "RMSE", "MAE"}:
        table = table.assign(good=table["y"] + 0.1 * table["noise"], bad=table["y"] + table["noise"])
    good, bad = (model(table, column, version, metric=metric) for column, version in (("good", "8"), ("bad", "9")))
    twin = good._replace(version="10")
    better, worse, same = (
        compare(challenger, champion, *halves(table))
        for challenger, champion in ((good, bad), (bad, good), (good, twin))
    )
    assert [one.decision for one in (better, worse, same)] == ["promoted", "refused", "refused"]
    assert better.table().at["champion", "lead"] == -worse.table().at["champion", "lead"] > 0
    assert (same.table().at["champion", "lead"], same.table().at["champion", "lead_high"]) == (0, 0)
    assert better.reason.startswith(
        f"{metric} on 100 holdout rows: challenger {better.table().at['challenger', metric]:.4f}, champion"
    )
    assert better.reason.endswith("So the challenger becomes champion.")
    assert worse.reason.endswith("So demo version 8 stays champion.")
    assert json.loads(json.dumps(better.to_dict()))["champion"] == {"version": "9", "run_id": "run of 9"}
    assert better.metrics()["holdout/champion"] == evaluation.score(*predicted(table, bad), metric)[metric]
    assert {*better.table().dtypes.astype(str)} == {"float64"}  # so that a notebook can round it


def predicted(table, one) -> tuple[np.ndarray, np.ndarray, str]:
    holdout = halves(table)[1]
    return holdout["y"].to_numpy(), registry.predict(one, holdout), one.contract.task


@pytest.mark.parametrize("numbers", [False, True])
def test_the_first_champion_is_better_than_the_baseline_by_more_than_chance(numbers):
    decisions = {}
    for column in ("good", "noise"):
        for seed in range(6):
            table = rows(80, numbers, seed)
            table = table.assign(
                noise=table["noise"] / 20, good=table["y"] + table["noise"] / 2 if numbers else table["good"]
            )
            verdict = compare(model(table, column), None, *halves(table))
            decisions.setdefault(column, []).append(verdict.decision)
            lead = verdict.table().at["baseline", "lead"]
            assert verdict.decision == "refused" or lead > 0
    assert decisions["good"] == ["promoted"] * 6
    assert decisions["noise"].count("refused") >= 5  # about half of them have a lead above 0


def test_a_refused_first_model_is_told_why():
    table = rows(numbers=True)
    verdict = compare(model(table, "noise"), None, *halves(table))
    assert "it is not certainly better than the baseline" in verdict.reason
    assert verdict.reason.endswith("So there is no champion yet.")


def test_few_positive_rows_do_not_make_a_champion_of_noise():
    """Three positive rows of thirty, all ranked high: the bootstrap alone, which knows these three only, is sure."""
    holdout = pd.DataFrame({"a": np.arange(30.0), "y": 0}, index=range(100, 130))
    holdout.loc[[119, 120, 121], "y"] = 1
    training = pd.DataFrame({"a": np.arange(100.0), "y": ([1] + 9 * [0]) * 10})
    asked = learn(pd.concat([training, holdout]))
    verdict = compare(Answering(asked, "a", None), None, training, holdout)
    assert verdict.table().at["baseline", "lead"] == pytest.approx(19 / 27 - 0.5)
    assert verdict.table().at["baseline", "lead_low"] > 0
    assert verdict.decision == "refused"


def test_rows_of_a_group_are_no_evidence_each_by_itself():
    """Ten shops of twelve rows that are all alike say as little as ten rows."""
    shop = np.repeat(np.arange(10), 12)
    table = pd.DataFrame({"a": shop * 1.0, "y": np.isin(shop, [4, 6, 7, 9]).astype(int), "g": shop.astype(str)})
    decisions = {}
    for name, keys in {"hash": {"ignore_columns": ["g"]}, "group": {"split": "group", "split_by": "g"}}.items():
        asked = learn(table, **keys)
        decisions[name] = compare(Answering(asked, "a", None), None, table, table).decision
    assert decisions == {"hash": "promoted", "group": "refused"}


def test_leads_and_slices_go_by_whole_groups_where_the_split_does():
    table = rows(400).assign(plan=["u", "v"] * 200)
    training, holdout = halves(table)
    y, group, plan = holdout["y"].to_numpy(), holdout["g"].to_numpy(), holdout[["plan"]]
    for keys, groups in (({}, None), ({"split": "group", "split_by": "g"}, group)):
        pair = [
            model(table, column, version, id_columns=["id"], ignore_columns=["g", "plan"], **keys)
            for column, version in (("good", "2"), ("bad", "1"))
        ]
        found = compare(*pair, training, holdout, slices=["plan"], confidence=0.9)
        given = y, *(registry.predict(one, holdout) for one in pair)
        assert found.leads["champion"] == gate.measure_lead(*given, "binary", "AUC", groups, 0.9)
        assert found.slices == gate.compare_slices(*given, plan, "binary", "AUC", groups, 0.9)


def test_rows_without_a_group_are_groups_of_their_own():
    table = rows(120).assign(g=[None, *["a", "b", "c"] * 39, None, None])
    asked = learn(table, split="group", split_by="g", id_columns=["id"])
    verdict = compare(Answering(asked, "good", None), None, *halves(table))
    assert verdict.table().at["challenger", "low"] < verdict.table().at["challenger", "AUC"]


SEEN = range(100, 150)  # of the 100 holdout rows, the first half


@pytest.mark.parametrize("keys", [{}, {"id_columns": []}], ids=["by ids", "by content"])
def test_rows_that_the_champion_has_learned_from_are_left_out(keys):
    table = rows()
    table.loc[SEEN, "cheat"] = table.loc[SEEN, "y"] * 20.0 - 10  # on these, the champion is perfect
    table["cheat"] = table["cheat"].fillna(table["bad"])
    champion = model(table, "cheat", "1", learned=[*range(100), *SEEN], **keys)
    verdict = compare(model(table, "good", "2", **keys), champion, *halves(table))
    assert (verdict.decision, verdict.rows, verdict.holdout_rows, verdict.seen) == ("promoted", 50, 100, 50)
    assert verdict.table().at["champion", "AUC"] == evaluation.score(
        table["y"].tail(50), registry.predict(champion, table.tail(50)), "binary", "AUC"
    )["AUC"]  # fmt: skip
    unknowing = champion._replace(fingerprints=None)
    verdict = compare(model(table, "good", "2", **keys), unknowing, *halves(table))
    assert (verdict.decision, verdict.rows, verdict.seen) == ("refused", 100, 0)
    assert verdict.reason.endswith(
        ". demo version 1 was registered before models kept the fingerprints of their rows: it may have learned from"
        " some of these. So demo version 1 stays champion."
    )


@pytest.mark.parametrize(
    ("table", "learned"),
    [
        (rows(), range(100, 171)),  # 29 are left
        (rows().sort_values("y", ignore_index=True), range(60, 165)),  # 35 are left, all of one class
    ],
)
def test_too_few_rows_that_the_champion_has_not_seen_decide_nothing(table, learned):
    champion = model(table, "bad", "1", learned=learned)
    verdict = compare(model(table, "good", "2"), champion, *halves(table))
    left = 200 - max(learned) - 1
    assert (verdict.decision, verdict.rows, verdict.seen, verdict.metrics()) == ("undecided", left, 100 - left, {})
    assert verdict.reason == (
        f"demo version 1 may have learned from {100 - left} of the 100 holdout rows, and the {left} others are too few to"
        " compare by. So demo version 1 stays champion, and nothing is decided."
    )
    assert json.loads(json.dumps(verdict.to_dict()))["scores"] == {}


def test_a_champion_that_can_no_more_be_used_decides_nothing(monkeypatch):
    """As after an upgrade of a library by which it answers otherwise."""
    table, answer = rows(), registry.predict

    def predict(one, X):
        if one.version == "1":
            raise ModelRefused("demo version 1 can't be used: it answers otherwise")
        return answer(one, X)

    monkeypatch.setattr(registry, "predict", predict)
    verdict = compare(model(table, "good", "2"), model(table, "bad", "1"), *halves(table), promote="always")
    assert (verdict.decision, verdict.rows, verdict.scores) == ("undecided", 100, {})
    assert verdict.reason == (
        "demo version 1 can't be used: it answers otherwise. Go back with `baton rollback`, or name another version with"
        " `baton promote`. So demo version 1 stays champion, and nothing is decided."
    )
    assert verdict.answers is not None  # the challenger can be served, and so it is registered


def test_a_challenger_that_is_worse_for_some_is_named():
    """Better on the whole, and the opposite of right where `plan` is b."""
    table = rows(600).assign(plan=np.where(np.arange(600) % 5 == 0, "b", "a"))
    table["good"] = np.where(table["plan"] == "b", -table["good"], table["good"])
    ignored = {"ignore_columns": ["g", "plan"]}
    found = compare(
        model(table, "good", "2", **ignored), model(table, "bad", "1", **ignored), *halves(table), slices=["plan"]
    )
    assert [(one["column"], one["value"], one["rows"], one["worse"]) for one in found.slices] == [
        ("plan", "a", 240, False), ("plan", "b", 60, True),
    ]  # fmt: skip
    assert ". It is worse where plan = b (-" in found.reason
    with pytest.raises(
        BatonError, match=r"slices names 'plam', which the table does not have \(did you mean 'plan'\?\)"
    ):
        compare(model(table, "good", "2"), model(table, "bad", "1"), *halves(table), slices=["plam"])


def test_a_first_champion_is_held_against_the_baseline_for_each_slice():
    table = rows(600).assign(plan=np.where(np.arange(600) % 5 == 0, "b", "a"))
    table["good"] = np.where(table["plan"] == "b", -table["good"], table["good"])
    challenger = model(table, "good", "1", ignore_columns=["g", "plan"])
    found = compare(challenger, None, *halves(table), slices=["plan"])
    assert [(one["value"], one["baseline"], one["worse"]) for one in found.slices] == [
        ("a", 0.5, False),
        ("b", 0.5, True),
    ]
    assert ". It is worse where plan = b (-" in found.reason


def test_what_the_champion_scores_on_rows_it_was_not_judged_on_is_told():
    table = rows(400)
    champion = model(table, "bad", "1")
    before = split.identify(table, champion.contract)[200:300]
    champion = champion._replace(judged_on=np.unique(before))
    challenger = model(table, "good", "2", id_columns=[], ignore_columns=["g", "id"])  # it knows rows by other columns
    found = compare(challenger, champion, *halves(table)).newer
    later = table.tail(100)
    expected = evaluation.score(later["y"], registry.predict(champion, later), "binary", "AUC")["AUC"]
    assert (found["rows"], found["value"]) == (100, pytest.approx(expected))
    assert found["low"] < expected < found["high"]


def test_newer_rows_are_told_from_their_equals_whatever_rows_are_left_out():
    """Equal rows are numbered, by all of them: 100 have trained the champion, it was judged on 100, and 100 are new."""
    table = pd.DataFrame({"good": [1.0, -1.0] * 200, "bad": [0.5, 0.5, -0.5, -0.5] * 100, "y": [1, 0] * 200})
    table.loc[::7, "y"] = 1 - table.loc[::7, "y"]
    asked = dataclasses.replace(learn(table), equal_rows_differ=True)
    ids = split.identify(table, asked)
    champion = Answering(asked, "bad", np.unique(ids[:200]), "1", judged_on=np.unique(ids[200:300]))
    found = compare(Answering(asked, "good", None, "2"), champion, table.head(100), table.tail(300))
    later = table.tail(100)
    expected = evaluation.score(later["y"], registry.predict(champion, later), "binary", "AUC")["AUC"]
    assert (found.rows, found.seen, found.newer["rows"]) == (200, 100, 100)
    assert found.newer["value"] == pytest.approx(expected)


@pytest.mark.parametrize("keys", [{"at_least": {"AUC": 0.9999}}, {"promote": "never"}, {}])
def test_a_no_says_which_lead_these_rows_would_have_shown(keys):
    table = rows()
    twin = model(table, "good", "2"), model(table, "good", "1")
    verdict = compare(*twin, *halves(table), **keys)
    shown = compare(model(table, "good", "2"), model(table, "bad", "1"), *halves(table), **keys)
    assert verdict.decision == "refused"
    assert "rows like these show a true lead of +0.0000 in 80% of cases" in verdict.reason
    assert (f"a true lead of {shown.leads['champion'].detectable:+.4f}" in shown.reason) == bool(keys)


def test_where_the_reference_is_gone_nothing_is_decided(monkeypatch):
    def fetch(*_):
        raise ModelRefused("demo version 1 is refused: a file of it was changed")

    monkeypatch.setattr(history, "read", lambda *_: [FIRST, event(PROMOTED, "7", "1", -0.01)])
    monkeypatch.setattr(registry, "version_of", fetch)
    table = rows()
    asked = settings(promote="not_worse", margin=0.1)
    verdict = comparison.compare(model(table, "good", "10"), model(table, "bad", "7"), *halves(table), asked)
    assert verdict.decision == "undecided"
    assert "demo version 1 is refused: a file of it was changed. Go back with `baton rollback`" in verdict.reason


def test_the_score_on_newer_rows_is_bounded_by_whole_groups():
    table = rows(400)
    keys = {"split": "group", "split_by": "g", "id_columns": ["id"], "ignore_columns": []}
    champion = model(table, "bad", "1", **keys)
    champion = champion._replace(judged_on=np.unique(split.identify(table, champion.contract)[200:300]))
    found = compare(model(table, "good", "2", **keys), champion, *halves(table)).newer
    later = table.tail(100)
    expected = gate.measure_score(
        later["y"].to_numpy(), registry.predict(champion, later), "binary", "AUC", later["g"].to_numpy()
    )
    assert [found[name] for name in ("value", "low", "high")] == pytest.approx([*expected])


def event(kind: str, version: str | None, previous: str | None, bound: float | None = None, **keys) -> Event:
    """An event of a model; with a bound, there was a comparison."""
    scores = {} if bound is None else {"challenger": 0.8, "bound": bound}
    return Event(kind, version, previous, "because", scores=scores, **keys)


FIRST, SEVENTH = event(PROMOTED, "1", None, 0.1), event(PROMOTED, "7", "1", 0.1)


@pytest.mark.parametrize(
    ("events", "looks"),
    [
        ([], 1),
        ([FIRST, SEVENTH], 1),
        ([FIRST, event(REFUSED, "2", "1", -0.1), SEVENTH, event(REFUSED, "8", "7", -0.1), event(REFUSED, "9", "7", 0)], 3),
        ([SEVENTH, event(REFUSED, None, "7"), event(UNDECIDED, "8", "7")], 1),  # nothing was compared
        ([SEVENTH, event(PROMOTED, "8", "7", 0.1), event(ROLLED_BACK, "7", "8", by_hand=True)], 2),
        ([SEVENTH, event(REFUSED, "7", "7", -0.1)], 2),  # the same model again
    ],
)  # fmt: skip
def test_the_looks_at_a_champion_are_the_comparisons_since_it_was_first_promoted(monkeypatch, events, looks):
    monkeypatch.setattr(history, "read", lambda *_: events)
    table = rows()
    challenger, champion = model(table, "good", "10"), model(table, "bad", "7")
    verdict = comparison.compare(challenger, champion, *halves(table), settings())
    assert verdict.looks == looks
    assert (f"; look {looks} at this champion)" in verdict.reason) == (looks > 1)
    alone = compare(challenger, champion, *halves(table))
    assert verdict.leads == alone.leads  # by `superior`, each is a decision of its own


@pytest.mark.parametrize(
    ("run_id", "changed", "looks"), [("run of 10", False, 1), ("run of 10", True, 2), ("s", False, 2), (None, False, 2)]
)
def test_the_same_challenger_on_the_same_rows_is_looked_at_once(monkeypatch, run_id, changed, looks):
    """As when the policy is changed and the training built again."""
    table = rows()
    training, holdout = halves(table)
    scores = {"challenger": 0.8, "rows_digest": tables.digest(training if changed else holdout)}
    events = [SEVENTH, Event(REFUSED, "8", "7", "because", scores=scores, run_id=run_id)]
    monkeypatch.setattr(history, "read", lambda *_: [*events, *events[1:]])
    challenger, champion = model(table, "good", "10"), model(table, "bad", "7")
    expected = looks + (run_id is None)  # of an event that an older version wrote, nobody knows whose it is
    assert comparison.compare(challenger, champion, training, holdout, settings()).looks == expected


@pytest.mark.parametrize(
    ("events", "expected", "count"),
    [
        ([FIRST, event(PROMOTED, "2", "1", -0.01), event(PROMOTED, "7", "2", -0.01)], "1", 3),
        ([FIRST, event(PROMOTED, "2", "1", 0.01), event(PROMOTED, "7", "2", -0.01)], "2", 2),
        ([FIRST, event(PROMOTED, "2", "1", by_hand=True), event(PROMOTED, "7", "2", -0.01)], "2", 2),
        ([event(PROMOTED, "7", "1", -0.01)], "1", 2),  # version 1 is older than the history
        ([FIRST, event(PROMOTED, "7", "1", 0.01), event(REFUSED, "8", "7", -0.2)], "7", 2),
        ([FIRST, event(PROMOTED, "7", "1", -0.01), event(REFUSED, "7", "7", 0.3)], "1", 3),
        ([FIRST, event(PROMOTED, "7", "1", -0.01), event(PROMOTED, "8", "7", 0.1), event(ROLLED_BACK, "7", "8")], "1", 3),
        # Better than 2, and nobody knows whether than 1; and better than 1, with which it was compared.
        ([FIRST, event(PROMOTED, "2", "1", -0.01), event(PROMOTED, "7", "2", 0.1, promote="superior")], "1", 3),
        ([FIRST, event(PROMOTED, "2", "1", -0.01), event(PROMOTED, "7", "2", 0.1, promote="not_worse")], "7", 1),
    ],
)  # fmt: skip
def test_not_worse_is_measured_against_the_last_champion_that_was_surely_better(monkeypatch, events, expected, count):
    """At a level that leaves the same error for all looks together, however many there will be."""
    table = rows()
    monkeypatch.setattr(history, "read", lambda *_: events)
    fetched = []

    def fetch(name, number, uri):
        fetched.append(number)
        return model(table, "noise", number)

    monkeypatch.setattr(registry, "version_of", fetch)
    challenger, champion = model(table, "good", "10"), model(table, "bad", "7")
    asked = settings(promote="not_worse", margin=0.1, confidence=0.9)
    verdict = comparison.compare(challenger, champion, *halves(table), asked)
    assert fetched == [expected]
    name, column = ("champion", "bad") if expected == "7" else ("reference", "noise")
    assert [*verdict.leads] == ["champion", *(["reference"] if name == "reference" else []), "baseline"]
    y, first, task = predicted(table, challenger)
    second = predicted(table, model(table, column))[1]
    lead = gate.measure_lead(y, first, second, task, "AUC", confidence=0.9, looks=count * (count + 1), least=-0.1)
    assert verdict.leads[name] == lead
    assert verdict.reason.count(": promote is not_worse. So") == (verdict.decision == "promoted")
    assert verdict.leads["baseline"].bound < verdict.leads["baseline"].value


@pytest.mark.parametrize("promote", ["superior", "better", "always"])
def test_a_promotion_says_by_which_policy_unless_it_is_superior(promote):
    table = rows()
    verdict = compare(model(table, "good", "2"), model(table, "bad", "1"), *halves(table), promote=promote)
    assert verdict.decision == "promoted"
    assert (f": promote is {promote}" in verdict.reason) == (promote != "superior")
    first = compare(model(table, "good", "2"), None, *halves(table), promote=promote)
    assert "promote is" not in first.reason


def test_thirty_rows_are_enough():
    table = rows()
    champion = model(table, "bad", "1", learned=range(100, 170))
    verdict = compare(model(table, "good", "2"), champion, *halves(table), promote="better")
    assert (verdict.rows, verdict.decision) == (30, "promoted")
    assert verdict.rows_digest == tables.digest(table[170:])


def test_fewer_rows_are_enough_where_there_are_no_others():
    table = rows(40).assign(good=lambda table: table["y"] + table["noise"] / 10)
    verdict = compare(model(table, "good", "2"), model(table, "bad", "1"), *halves(table), promote="better")
    assert (verdict.rows, verdict.seen, verdict.decision) == (20, 0, "promoted")


def test_the_margin_is_what_a_challenger_may_be_worse_by():
    """The same model again: its lead is 0, and certainly so."""
    table = rows()
    twin = model(table, "good", "2"), model(table, "good", "1")
    assert compare(*twin, *halves(table), promote="not_worse", margin=0.01).decision == "promoted"
    assert compare(*twin, *halves(table), promote="superior").decision == "refused"


@pytest.mark.parametrize(("confidence", "decision"), [(0.9, "refused"), (0.7, "promoted")])
def test_a_first_champion_must_be_better_than_chance_at_the_confidence_asked(monkeypatch, confidence, decision):
    monkeypatch.setattr(evaluation, "chance", lambda *_, **__: 0.2)
    table = rows()
    assert compare(model(table, "good"), None, *halves(table), confidence=confidence).decision == decision


def test_scores_are_bounded_by_whole_groups():
    table = rows()
    keys = {"split": "group", "split_by": "g", "id_columns": ["id"], "ignore_columns": []}
    one = model(table, "good", "2", **keys)
    y, answers, task = predicted(table, one)
    scores = compare(one, None, *halves(table)).scores["challenger"]
    expected = gate.measure_score(y, answers, task, "AUC", halves(table)[1]["g"].to_numpy())
    assert scores["AUC"] == pytest.approx(expected._asdict())


def test_the_baseline_knows_the_training_rows_alone():
    table = rows(numbers=True)
    table.loc[:99, "y"] += 1
    verdict = compare(model(table, "good"), None, *halves(table))
    expected = evaluation.score(table["y"][100:], np.full(100, table["y"][:100].mean()), "regression", "R2")["R2"]
    assert verdict.scores["baseline"]["R2"]["value"] == pytest.approx(expected)
    assert expected < -0.5


def test_the_intervals_of_a_regression_are_held_against_the_holdout():
    table = rows(numbers=True)
    training, holdout = halves(table)
    kept = intervals.Residuals.of(training["y"], training["good"])
    one = model(table, "good")._replace(residuals=kept)
    verdict = compare(one, None, training, holdout)
    for level, found in ((0.9, verdict), (0.8, compare(one, None, training, holdout, interval=0.8))):
        y, answers, _ = predicted(table, one)
        assert found.interval == intervals.measure(kept, y, answers, level)
        assert found.interval["coverage"] == np.mean(np.abs(y - answers) <= kept.reach(level))
    assert verdict.metrics()["holdout/interval_coverage"] == verdict.interval["coverage"]
    assert verdict.metrics()["holdout/interval_width"] == pytest.approx(2 * kept.reach(0.9))
    assert json.loads(json.dumps(verdict.to_dict()))["interval"] == verdict.interval
    assert compare(model(table, "good"), None, training, holdout).interval is None
    with pytest.raises(SettingsError, match="interval is 0.9, and demo version 7 answers a binary question"):
        compare(model(rows(), "good"), None, *halves(rows()), interval=0.9)


def test_the_winner_that_is_champion_already_is_left_so():
    table = rows()
    one = model(table, "good", "7")
    verdict = compare(one, one, *halves(table))
    assert (verdict.decision, verdict.rows, verdict.looks) == ("unchanged", 0, 0)
    assert verdict.reason == "The winner is demo version 7 itself. So demo version 7 stays champion."
    one = one._replace(tags={"serves": "all"})
    assert "final_fit" not in compare(one, one, *halves(table), final_fit="all").reason
    later = compare(one, one, *halves(table), final_fit="training").reason
    assert later.endswith("stays champion; final_fit: training is for versions to come.")


def test_a_table_that_lacks_the_champions_ids_decides_nothing():
    table = rows()
    champion = model(table, "bad", "1", learned=range(100))
    later = table.drop(columns="id")
    challenger = model(later, "good", "2", id_columns=[])
    verdict = compare(challenger, champion, *halves(later))
    assert (verdict.decision, verdict.rows, verdict.seen) == ("undecided", 0, 100)
    assert "The table lacks 'id', by which its rows could be identified. So demo version 1" in verdict.reason


def test_rows_are_told_by_the_champions_ids_though_the_challenger_has_none():
    """And by what a row holds where the champion had no ids, though one of its values has changed since."""
    table = rows()
    challenger = model(table, "good", "2", id_columns=[], ignore_columns=["g", "id"])
    champion = model(table, "bad", "1", learned=SEEN)
    edited = table.assign(noise=table["noise"] + 1)
    assert compare(challenger, champion, *halves(edited)).rows == 50
    without = model(table, "bad", "1", learned=SEEN, id_columns=[], ignore_columns=["g", "id"])
    assert compare(challenger, without, *halves(table)).rows == 50
    assert compare(challenger, without, *halves(edited)).rows == 100


def test_where_equal_rows_are_different_cases_each_is_told_by_itself():
    """Four kinds of rows: by content alone, to have learned from one row of each would be to have seen all."""
    kinds = pd.DataFrame({"good": [1.0, -1.0] * 100, "bad": [0.5, 0.5, -0.5, -0.5] * 50, "y": [1, 0] * 100})
    kinds.loc[::7, "y"] = 1 - kinds.loc[::7, "y"]
    asked = dataclasses.replace(learn(kinds), equal_rows_differ=True)
    training, holdout = halves(kinds)
    kept, _ = split.fingerprint_both(training, holdout, asked)
    challenger = Answering(asked, "good", None, "2")
    assert compare(challenger, Answering(asked, "bad", kept, "1"), training, holdout).rows == 100
    more = np.union1d(kept, split.identify(kinds, asked)[150:])
    assert compare(challenger, Answering(asked, "bad", more, "1"), training, holdout).rows == 50
    by_content = dataclasses.replace(asked, equal_rows_differ=False)
    seen = split.identify(kinds, by_content)[:4]
    assert compare(challenger, Answering(by_content, "bad", seen, "1"), training, holdout).rows == 0


@pytest.mark.parametrize(
    ("before", "now", "cautioned"),
    [
        ({}, {}, False),
        ({}, {"split": "group", "split_by": "g"}, True),
        ({"split": "group", "split_by": "id"}, {"split": "group", "split_by": "g"}, True),
        ({"split": "group", "split_by": "g"}, {"split": "group", "split_by": "g"}, False),
        ({}, {"split": "time", "split_by": "g"}, True),
        ({"split": "group", "split_by": "g"}, {}, False),
    ],
)
def test_a_champion_of_another_split_is_compared_with_a_caution(before, now, cautioned):
    table = rows()
    champion, challenger = (
        model(table, column, version, id_columns=[], ignore_columns=[], **keys)
        for column, version, keys in (("bad", "1", before), ("good", "2", now))
    )
    verdict = compare(challenger, champion, *halves(table))
    assert verdict.decision == "promoted"
    said = (
        "so it may have learned from rows newer than these" if now.get("split") == "time" else "from rows of the same g"
    )
    assert (said in verdict.reason) == ("may have learned from rows" in verdict.reason) == cautioned


def test_a_champion_reads_the_rows_by_its_contract():
    """It was trained where 1.234 is a thousand and more; to the challenger it is little more than one."""
    generator = np.random.default_rng(2)
    thousands = generator.integers(1001, 9999, 200)
    texts = pd.Series([f"{number // 1000}.{number % 1000:03d}" for number in thousands])
    table = pd.DataFrame({"a": texts, "y": thousands / 1000})
    contract = dataclasses.replace(learn(table, metric="MAE"), columns={"a": Format("number", ".")})
    other = dataclasses.replace(contract, columns={"a": Format("number", ",")})
    scores = compare(Answering(contract, "a", None), Answering(other, "a", None, "8"), *halves(table)).table()
    assert scores.at["challenger", "MAE"] == pytest.approx(0, abs=1e-9)
    assert scores.at["champion", "MAE"] == pytest.approx(thousands[100:].mean() * 0.999)


def asked(labels, task="binary", target="y", columns=("a",), optional=()) -> Contract:
    return Contract("demo", target, [], dict.fromkeys(columns, Format("number")), task, "AUC", [*labels], optional=[*optional])  # fmt: skip


@pytest.mark.parametrize(
    ("champion", "challenger", "expected"),
    [
        (["a", "b", "c"], ["a", "b", "c"], [0.5, 0.3, 0.2]),
        (["c", "b", "a"], ["a", "b", "c"], [0.2, 0.3, 0.5]),
        (["a", "b", "c"], ["a", "b", "c", "d"], [0.5, 0.3, 0.2, 0.0]),
        (["a", "b", "c"], ["a", "c"], [0.5, 0.2]),
        (["b", "c", "d"], ["a", "b", "c", "d"], [0.0, 0.5, 0.3, 0.2]),
        ([0, 1, 2], [0.0, 1.0, 2.0], [0.5, 0.3, 0.2]),
    ],
)
def test_a_champion_of_other_classes_is_scored_in_the_challengers_order(champion, challenger, expected):
    """A class that it never saw can't be, to it; one that is gone can't be right."""
    found = comparison.align(
        np.array([[0.5, 0.3, 0.2]]), asked(champion, "multiclass"), asked(challenger, "multiclass")
    )
    assert found.tolist() == [pytest.approx(expected)]


@pytest.mark.parametrize(
    ("champion", "table", "said"),
    [
        (None, {}, None),
        (asked(["no", "yes"]), {"a": [1]}, None),
        (asked(["yes", "no"]), {"a": [1]}, None),
        (asked(["no", "yes"], columns="ab", optional="b"), {"a": [1]}, None),
        (asked(["no", "yes"], columns="ab"), {"a": [1]}, "the table lacks 1 of the columns it needs: 'b'"),
        (asked(["no", "yes"]), {"a": ["x"]}, "1 of 1 values are not a number, the first of them 'x'"),
        (asked(["no", "yes"], target="z"), {"a": [1]}, "it answers binary 'z'"),
        (asked([], task="regression"), {"a": [1]}, "it answers regression 'y'"),
        (asked([0, 1]), {"a": [1]}, "it tells apart the classes 0, 1, and this table has 'no', 'yes'"),
        (asked(["no", "maybe"]), {"a": [1]}, "it tells apart the classes 'no', 'maybe', and this table has 'no', 'yes'"),
    ],
    ids=["none", "same", "other order", "optional", "column", "kind", "target", "task", "types", "classes"],
)  # fmt: skip
def test_a_champion_that_cannot_be_compared_is_refused_before_training(champion, table, said):
    compared = (asked(["no", "yes"]), champion, pd.DataFrame(table))
    if said is None:
        comparison.require_comparable(*compared)
        return
    with pytest.raises(BatonError, match=f"the champion of 'demo' can't.*{said}.*Give this training a name of its own"):
        comparison.require_comparable(*compared)


def test_challenger_and_champion_name_classes_by_thresholds_of_their_own():
    """The champion's is one of its own positive class, which is the challenger's other one."""
    table = rows(400).assign(bad=lambda rows: -rows["bad"], plan=["u", "v"] * 200)
    keys = {"metric": "F1", "ignore_columns": ["g", "plan"]}
    challenger, champion = model(table, "good", "8", **keys), model(table, "bad", "9", positive="0", **keys)
    assert (challenger.contract.labels, champion.contract.labels) == ([0, 1], [1, 0])
    usual = compare(challenger, champion, *halves(table))
    challenger = challenger._replace(contract=dataclasses.replace(challenger.contract, threshold=0.8))
    champion = champion._replace(contract=dataclasses.replace(champion.contract, threshold=0.3))
    verdict = compare(challenger, champion, *halves(table), slices="plan")
    holdout = halves(table)[1]
    truth, first = holdout["y"].to_numpy(), (holdout["plan"] == "u").to_numpy()
    called = {
        "challenger": registry.predict(challenger, holdout)[:, 1] >= 0.8,
        "champion": registry.predict(champion, holdout)[:, 1] < 0.3,
    }
    for name, one in called.items():
        expected = evaluation.score(truth, np.eye(2)[one.astype(int)], "binary")
        for metric in ("Accuracy", "Recall", "Prec.", "F1", "Kappa", "MCC"):
            assert verdict.scores[name][metric]["value"] == pytest.approx(expected[metric])
    reached = [verdict.scores[name]["F1"]["value"] for name in called]
    assert verdict.leads["champion"].value == pytest.approx(reached[0] - reached[1])
    [slice_] = [one for one in verdict.slices if one["value"] == "u"]
    for name, one in called.items():
        on_slice = evaluation.score(truth[first], np.eye(2)[one[first].astype(int)], "binary", "F1")["F1"]
        assert slice_[name] == pytest.approx(on_slice)
        assert usual.scores[name]["AUC"] == verdict.scores[name]["AUC"]
        assert usual.scores[name]["Recall"] != verdict.scores[name]["Recall"]


def test_to_call_every_row_positive_is_the_baseline_of_an_f1_that_chooses_the_threshold():
    table = rows(400)
    truth = halves(table)[1]["y"].to_numpy()

    def baseline(threshold, metric="F1", how="auto"):
        one = model(table, "good", metric=metric)
        one = one._replace(contract=dataclasses.replace(one.contract, threshold=threshold))
        return compare(one, None, *halves(table), threshold=how).scores["baseline"]["F1"]["value"]

    everything = 2 * truth.mean() / (1 + truth.mean())
    likelier = everything if halves(table)[0]["y"].mean() > 0.5 else 0.0
    assert baseline(0.3) == pytest.approx(everything)
    assert baseline(0.3, how={"cost": {"miss": 1, "alarm": 99}}) == 0
    assert baseline(None) == baseline(0.3, "Recall") == pytest.approx(likelier)


def test_a_refit_is_held_to_the_classes_that_it_names():
    """Both answers name the same classes at 0.2, while at 0.5 the second names none."""
    table = rows()
    contract = dataclasses.replace(learn(table, metric="Accuracy"), threshold=0.2)
    positive = np.where(table["y"] == 1, 0.6, 0.1) + np.arange(len(table)) / 1e4
    lower = np.where(table["y"] == 1, positive / 2, positive)
    before, after = (np.column_stack([1 - one, one]) for one in (positive, lower))
    assert promotion._differs_wildly(before, after, table, contract) == ""
    without = dataclasses.replace(contract, threshold=None)
    assert "it is worse by" in promotion._differs_wildly(before, after, table, without)


@pytest.mark.parametrize("numbers", [False, True])
def test_a_decision_goes_by_the_weights_of_the_challenger(numbers):
    """The rows that weigh most are those in which the challenger is wrong: by weight it leads by less."""
    table = rows(400, numbers)
    near = np.abs(table["good"] - table["y"]) < 0.8 if numbers else (table["good"] > 0) == (table["y"] == 1)
    table["w"] = np.where(near, 0.02, 1.0)
    old = model(table, "bad", ignore_columns=["g", "w"])
    keys = {"slices": ["half"], "confidence": 0.9}
    table["half"] = np.where(table["noise"] > 0, "up", "down")
    new = model(table, "good", "8", weight="w", ignore_columns=["g", "half"])
    plain = model(table, "good", "8", ignore_columns=["g", "w", "half"])
    verdict, by_count = (compare(one, old, *halves(table), promote="always", **keys) for one in (new, plain))
    holdout, (y, second, task) = halves(table)[1], predicted(table, old)
    first, weights, metric = predicted(table, new)[1], halves(table)[1]["w"].to_numpy(), verdict.metric
    expected = gate.measure_lead(y, first, second, task, metric, None, 0.9, weights=weights)
    assert verdict.leads["champion"] == expected
    assert by_count.leads["champion"] == gate.measure_lead(y, first, second, task, metric, None, 0.9)
    assert expected.value < by_count.leads["champion"].value
    assert verdict.scores["champion"][metric] == gate.measure_score(y, second, task, metric, None, weights)._asdict()
    up = (holdout["half"] == "up").to_numpy()
    (of_slice,) = (one for one in verdict.slices if one["value"] == "up")
    assert of_slice["lead"] == gate.measure_lead(y[up], first[up], second[up], task, metric, weights=weights[up]).value
    mean = np.average(halves(table)[0]["y"], weights=halves(table)[0]["w"])
    guess = np.full(200, mean) if numbers else np.tile([1 - mean, mean], (200, 1))
    assert verdict.scores["baseline"][metric]["value"] == pytest.approx(
        evaluation.score(y, guess, task, metric, weights=weights)[metric]
    )
    assert f"{metric} on 200 holdout rows, weighted by 'w': challenger" in verdict.reason
    assert (verdict.to_dict()["weight"], by_count.to_dict()["weight"]) == ("w", None)


def test_a_first_champion_is_held_against_chance_by_its_weights(monkeypatch):
    table = rows().assign(w=np.arange(200.0) + 1)
    given = {}
    monkeypatch.setattr(evaluation, "chance", lambda *args, **named: given.update(named) or 0.9)
    verdict = compare(model(table, "good", weight="w"), None, *halves(table))
    assert given["weights"].tolist() == halves(table)[1]["w"].tolist()
    assert "90.0% of random assignments" in verdict.reason


def test_newer_rows_and_intervals_are_weighted():
    table = rows(400, numbers=True).assign(w=np.random.default_rng(2).lognormal(size=400))
    champion = model(table, "bad", "1", ignore_columns=["g", "w"])
    champion = champion._replace(judged_on=np.unique(split.identify(table, champion.contract)[200:300]))
    kept = intervals.Residuals("plain", 99, [50, 99], [1.0, 2.0])
    challenger = model(table, "good", "2", weight="w")._replace(residuals=kept)
    verdict, later = compare(challenger, champion, *halves(table)), table.tail(100)
    expected = gate.measure_score(
        later["y"].to_numpy(), registry.predict(champion, later), "regression", "R2", None, later["w"].to_numpy()
    )
    assert verdict.newer == {"rows": 100} | expected._asdict()
    y, answers, _ = predicted(table, challenger)
    assert verdict.interval == intervals.measure(kept, y, answers, 0.9, halves(table)[1]["w"].to_numpy())


def test_a_refit_is_doubted_by_weight():
    """It is worse in a few rows, which weigh much or hardly anything."""
    table = rows(400, numbers=True)
    few = np.arange(400) % 8 == 0
    before = table["y"].to_numpy() + 0.3 * table["noise"].to_numpy()
    after = table["y"].to_numpy() + np.where(few, 1.2, 0.1) * table["noise"].to_numpy()
    said = []
    for heavy in (1.0, 0.001):
        weighted = table.assign(w=np.where(few, heavy, 1.0 if heavy < 1 else 0.01))
        contract = learn(weighted, weight="w", metric="MAE")
        said.append(promotion._differs_wildly(before, after, weighted, contract))
    assert ("it is worse by" in said[0], said[1]) == (True, "")


def test_of_a_challenger_that_is_no_version_no_fingerprints_are_missed():
    table = rows()
    new = model(table, "good", None)._replace(fingerprints=None)
    assert "may have learned" not in compare(new, model(table, "bad", "1"), *halves(table)).reason


def test_rows_that_the_reference_has_learned_from_are_left_out(monkeypatch):
    table = rows()
    monkeypatch.setattr(history, "read", lambda *_: [FIRST, event(PROMOTED, "7", "1", -0.01)])
    monkeypatch.setattr(registry, "version_of", lambda name, number, uri: model(table, "noise", number, learned=SEEN))
    asked = settings(promote="not_worse", margin=0.1)
    verdict = comparison.compare(model(table, "good", "10"), model(table, "bad", "7"), *halves(table), asked)
    assert (verdict.rows, verdict.seen) == (50, 50)


def test_rows_of_one_class_alone_decide_nothing_though_the_others_are_of_both():
    table = rows().sort_values("y", ignore_index=True)
    table.loc[100, "y"] = 0
    table.loc[101, "y"] = 1
    champion = model(table, "bad", "1", learned=range(60, 165))
    verdict = compare(model(table, "good", "2"), champion, *halves(table))
    assert (verdict.decision, verdict.rows) == ("undecided", 35)


def test_where_there_is_a_champion_it_is_not_held_against_chance(monkeypatch):
    monkeypatch.setattr(evaluation, "chance", lambda *_, **__: 0.9)
    table = rows()
    assert compare(model(table, "good", "2"), model(table, "bad", "1"), *halves(table)).decision == "promoted"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (
            [
                FIRST,
                event(PROMOTED, "7", "1", -0.01),
                event(PROMOTED, "8", "7", 0.1),
                event(ROLLED_BACK, "7", "8", by_hand=True),
            ],
            "1",
        ),
        ([FIRST, event(PROMOTED, "7", "1", -0.01), event(REFUSED, "7", "1", 0.3)], "1"),
        ([FIRST, event(PROMOTED, "7", "1", 0.0)], "1"),
    ],
)
def test_only_a_promotion_by_its_policy_makes_a_reference(monkeypatch, events, expected):
    table = rows()
    monkeypatch.setattr(history, "read", lambda *_: events)
    fetched = []
    monkeypatch.setattr(
        registry, "version_of", lambda name, number, uri: fetched.append(number) or model(table, "noise", number)
    )
    asked = settings(promote="not_worse", margin=0.1)
    comparison.compare(model(table, "good", "10"), model(table, "bad", "7"), *halves(table), asked)
    assert fetched == [expected]


def test_a_champion_without_a_history_is_its_own_reference(monkeypatch):
    monkeypatch.setattr(history, "read", lambda *_: [])
    table = rows()
    one, champion = model(table, "good", "10"), model(table, "bad", "7")
    found = comparison.compare(one, champion, *halves(table), settings(promote="not_worse", margin=0.1)).leads
    y, first, task = predicted(table, one)
    second = predicted(table, champion)[1]
    assert found["champion"] == gate.measure_lead(y, first, second, task, "AUC", looks=2, least=-0.1)


def test_a_refusal_and_a_rollback_count_as_looks_as_they_are(monkeypatch):
    events = [FIRST, event(REFUSED, "8", "1", -0.1), event(ROLLED_BACK, "7", "1", by_hand=True)]
    monkeypatch.setattr(history, "read", lambda *_: events)
    table = rows()
    assert (
        comparison.compare(model(table, "good", "10"), model(table, "bad", "7"), *halves(table), settings()).looks == 1
    )


def test_whoever_has_learned_from_the_rows_is_named():
    table = rows()
    new, old = model(table, "good", None, learned=range(100, 175)), model(table, "bad", "1")
    assert compare(new, old, *halves(table)).reason.startswith("the challenger may have learned from 75 of the 100")
    both = compare(new, model(table, "bad", "1", learned=[199]), *halves(table)).reason
    assert both.startswith("demo version 1 and the challenger may have learned from 76 of the 100")


def test_the_models_as_judged_are_compared(monkeypatch):
    table = rows()
    monkeypatch.setattr(
        Answering, "judged", property(lambda one: one._replace(column="good") if one.column == "bad" else one)
    )
    verdict = compare(model(table, "good", "2"), model(table, "bad", "1"), *halves(table))
    assert verdict.leads["champion"].value == 0


@pytest.mark.parametrize(("new", "told"), [(30, True), (29, False)])
def test_the_score_on_newer_rows_is_told_of_thirty_that_were_compared(new, told):
    table = rows(400)
    champion = model(table, "bad", "1", learned=range(360, 400))  # of the newest, it has learned from 40
    champion = champion._replace(judged_on=np.unique(split.identify(table, champion.contract)[200 : 360 - new]))
    newer = compare(model(table, "good", "2"), champion, *halves(table)).newer
    assert newer["rows"] == new if told else newer is None


def test_the_figures_of_a_sentence_are_those_of_the_decision():
    table = rows()
    verdict = compare(model(table, "good", "2"), model(table, "bad", "1", learned=range(100, 140)), *halves(table))
    lead = verdict.leads["champion"]
    assert "AUC on 60 holdout rows of 100, which none of them has learned from: challenger" in verdict.reason
    assert f"lead {lead.value:+.4f} (95% interval {lead.low:+.4f} to {lead.high:+.4f})" in verdict.reason


def test_an_interval_that_the_challenger_cannot_give_is_told():
    table = rows(numbers=True)
    with pytest.raises(Exception, match="interval is 0.9"):
        compare(model(table, "good", "2"), None, *halves(table), interval=0.9)


def test_the_policy_of_a_decision_is_kept_whole():
    table = rows()
    keys = {"at_most": {"megabytes": 5}, "at_least": {"AUC": 0.5}, "confidence": 0.9}
    policy = compare(model(table, "good", "2"), None, *halves(table), **keys).policy
    assert policy == {"promote": "superior", "margin": 0, "final_fit": "all"} | keys


@pytest.mark.parametrize(("mine", "told"), [(0.5, True), (0.3, False), (None, False)])
def test_probabilities_that_tell_less_than_the_share_of_each_class_are_told(mine, told):
    scores = {
        "challenger": {} if mine is None else {"Log Loss": {"value": mine}},
        "baseline": {"Log Loss": {"value": 0.3}},
    }
    reason = comparison.Verdict("promoted", "Found", "it follows", "AUC", scores=scores).reason
    said = "their log loss is 0.5000, and 0.3000 with the share of each class for every row"
    assert (said in reason) == told == (reason != "Found. So it follows.")
