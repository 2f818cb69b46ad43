"""The statistics of a decision, held against brute force, against DeLong's own formula, and against simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from baton import config
from baton.handover import gate
from baton.training import evaluation


def probabilities(odds: np.ndarray) -> np.ndarray:
    odds = np.column_stack([np.zeros(len(odds)), odds]) if odds.ndim == 1 else odds
    return np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)


def draw(task: str, rows: int, seed: int = 0, positives: float = 0.4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets, and two predictions of them that are equally good, wrong in different rows."""
    generator = np.random.default_rng(seed)
    if task == "regression":
        truth = np.abs(generator.normal(size=rows))
        return truth, *(truth + 0.4 * generator.normal(size=(2, rows)))
    classes = 2 if task == "binary" else 3
    truth = generator.choice(classes, rows, p=[1 - positives, positives] if classes == 2 else [0.6, 0.3, 0.1])
    odds = 1.5 * np.eye(classes)[truth] + generator.normal(size=(2, rows, classes))
    return truth, *(probabilities(one) for one in odds)


TASKS = [(task, metric) for task, metrics in config.METRICS.items() for metric in metrics]


@pytest.mark.parametrize(("task", "metric"), TASKS)
def test_the_spread_is_that_of_leaving_out_each_row(task, metric):
    truth, *both = draw(task, 60)

    def lead(rows):
        first, second = (evaluation.score(truth[rows], one[rows], task, metric)[metric] for one in both)
        return (first - second) * (1 if evaluation.METRICS[metric].higher_is_better else -1)

    whole, without = lead(np.arange(60)), np.array([lead(np.arange(60) != row) for row in range(60)])
    error = np.sqrt(59 / 60 * np.sum((without - whole) ** 2))
    found = gate.measure_lead(truth, *both, task, metric)
    assert found.value == pytest.approx(whole)
    assert found.detectable - (found.value - found.bound) == pytest.approx(0.8416 * error, rel=1e-3)
    assert found.low < found.bound < found.value < found.high
    swapped = gate.measure_lead(truth, *both[::-1], task, metric)
    assert (swapped.value, swapped.low, swapped.high) == pytest.approx((-found.value, -found.high, -found.low))


@pytest.mark.parametrize(
    ("confidence", "looks", "expected"), [(0.95, 1, 1.645), (0.9, 1, 1.2816), (0.95, 2, 1.96), (0.9, 10, 2.3263)]
)
def test_a_bound_is_one_sided_at_its_confidence_and_shares_the_error_among_looks(confidence, looks, expected):
    truth, first, second = draw("regression", 4000)
    error = np.std(np.abs(truth - first) - np.abs(truth - second), ddof=1) / np.sqrt(4000)
    found = gate.measure_lead(truth, first, second, "regression", "MAE", None, confidence, looks)
    assert found.value - found.bound == pytest.approx(expected * error, rel=3e-3)
    assert found.detectable == pytest.approx((expected + 0.8416) * error, rel=3e-3)
    assert (found.value - found.low, found.high - found.value) == pytest.approx((1.96 * error,) * 2, rel=3e-3)


def test_a_score_has_a_two_sided_interval_that_ends_where_its_range_does():
    truth, numbers, _ = draw("regression", 4000)
    off = np.abs(truth - numbers)
    reach = 1.96 * np.std(off) / np.sqrt(4000)
    found = gate.measure_score(truth, numbers, "regression", "MAE")
    assert found == pytest.approx((off.mean(), off.mean() - reach, off.mean() + reach), rel=1e-3)
    one_wrong = np.eye(2)[np.where(np.arange(40) == 3, 1 - TRUTH, TRUTH)]
    assert gate.measure_score(TRUTH, one_wrong, "binary", "Accuracy").high == 1
    assert gate.measure_score(np.zeros(40), np.eye(40)[0], "regression", "MAE").low == 0
    rare = np.eye(2)[(TRUTH > 2).astype(int)]
    rare[np.flatnonzero(TRUTH)[0]] = [0, 1]  # of the positive rows, one is found
    assert gate.measure_score(TRUTH, rare, "binary", "Recall").low == 0
    assert gate.measure_score(np.array([0, 1] * 3), np.eye(2)[[1, 0, 1, 0, 0, 1]], "binary", "MCC").low == -1
    assert gate.measure_score(np.array([0.0, 1, 2]), np.array([9.0, -5, 0]), "regression", "R2").low < -1


def test_with_few_rows_or_groups_an_interval_is_students():
    """Errors that are all of one size tell their spread best: then there are as many degrees of freedom as there can be."""
    truth = np.zeros(10)
    found = gate.measure_score(truth, np.tile([1.0, 3.0], 5), "regression", "MAE")
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 9) / 3)
    many = np.repeat(np.tile([1.0, 3.0], 5), 7), np.repeat(np.arange(10), 7)
    grouped = gate.measure_score(np.zeros(70), many[0], "regression", "MAE", many[1])
    assert grouped == pytest.approx(found)
    tail = np.exp(np.arange(30) / 6)  # a few rows make most of the spread, and so there are fewer
    squares = (tail - tail.mean()) ** 2
    freedom = 2 / (np.sum(squares**2) / np.sum(squares) ** 2 - 1 / 30)
    found = gate.measure_score(np.zeros(30), tail, "regression", "MAE")
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, freedom) * np.std(tail, ddof=1) / np.sqrt(30))
    assert freedom < 20


def test_one_group_alone_tells_nothing():
    truth, first, second = draw("regression", 50)
    found = gate.measure_lead(truth, truth + (first - truth) / 9, second, "regression", "MAE", np.zeros(50))
    assert found.value > 0
    assert np.isnan([found.low, found.high, found.bound, found.detectable]).all()


def test_the_spread_by_groups_is_that_of_leaving_out_each_group():
    truth, first, second, group = draw_uneven_groups(2)
    off = np.abs(truth - first) - np.abs(truth - second)
    names = np.unique(group)
    without = np.array([off[group != name].mean() for name in names])
    error = np.sqrt((len(names) - 1) / len(names) * np.sum((without - off.mean()) ** 2))
    found = gate.measure_lead(truth, first, second, "regression", "MAE", group)
    assert found.detectable - (found.value - found.bound) == pytest.approx(0.8416 * error, rel=1e-3)


def test_of_many_rows_the_spread_of_an_auc_is_delongs():
    """By its definition: for each row, the share of the other side that it is right of."""
    truth, first, second = draw("binary", 1500)
    above = [(one[truth == 1, 1][:, None] > one[truth == 0, 1]) for one in (first, second)]
    sides = [np.mean(above[0], axis=axis) - np.mean(above[1], axis=axis) for axis in (1, 0)]
    error = np.sqrt(sum(np.var(side, ddof=1) / len(side) for side in sides))
    found = gate.measure_lead(truth, first, second, "binary", "AUC")
    assert found.method == "DeLong"
    assert found.detectable - (found.value - found.bound) == pytest.approx(0.8416 * error, rel=3e-3)


def test_a_group_counts_as_one_row():
    """Every row ten times, in a group of its own, says what the rows said once."""
    truth, first, second = draw("binary", 80)
    once = gate.measure_lead(truth, first, second, "binary", "Log Loss")
    many = [np.repeat(one, 10, axis=0) for one in (truth, first, second)]
    grouped = gate.measure_lead(*many, "binary", "Log Loss", groups=np.repeat(np.arange(80), 10))
    assert grouped[:5] == pytest.approx(once[:5])
    assert gate.measure_lead(*many, "binary", "Log Loss").bound > once.bound


def draw_rare(seed: int):
    return draw("binary", 100, seed, positives=0.03)


def draw_uneven_errors(seed: int):
    """One model is wrong where the number is high, the other where it is low."""
    x, *errors = np.random.default_rng(seed).normal(size=(3, 30))
    return 2 * x, 2 * x + errors[0] * np.exp(x), 2 * x + errors[1] * np.exp(-x)


def draw_uneven_groups(seed: int):
    """Ten groups, one of them with much of the rows, each with errors of its own."""
    generator = np.random.default_rng(seed)
    group = generator.choice(10, 200, p=[0.4, 0.2, *[0.05] * 8])
    truth = generator.normal(size=200)
    return truth, *(truth + one[group] for one in generator.normal(size=(2, 10))), group


@pytest.mark.parametrize(
    ("task", "metric", "drawn"),
    [
        ("binary", "AUC", draw_rare),
        ("multiclass", "AUC", lambda seed: draw("multiclass", 30, seed)),
        ("regression", "RMSE", draw_uneven_errors),
        ("regression", "MAE", draw_uneven_groups),
    ],
)
def test_a_challenger_that_is_no_better_is_rarely_promoted(task, metric, drawn):
    """In at most 5%, but for three errors of so small a simulation.

    `lead > 0` promotes half of them, and the percentiles of a bootstrap about 10 to 20% in each of these cases.
    """
    bounds = [gate.measure_lead(*given[:3], task, metric, *given[3:]).bound for given in map(drawn, range(300))]
    assert np.mean(np.array(bounds) > 0) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def weigh(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(size=rows)


@pytest.mark.parametrize(("task", "metric"), TASKS)
def test_the_spread_of_weighted_rows_is_that_of_leaving_out_each_with_its_weight(task, metric):
    (truth, *both), weights = draw(task, 60), weigh(60)

    def lead(rows):
        first, second = (
            evaluation.score(truth[rows], one[rows], task, metric, weights=weights[rows])[metric] for one in both
        )
        return (first - second) * (1 if evaluation.METRICS[metric].higher_is_better else -1)

    whole, without = lead(np.arange(60)), np.array([lead(np.arange(60) != row) for row in range(60)])
    error = np.sqrt(59 / 60 * np.sum((without - whole) ** 2))
    found = gate.measure_lead(truth, *both, task, metric, weights=weights)
    assert found.value == pytest.approx(whole)
    assert found.detectable - (found.value - found.bound) == pytest.approx(0.8416 * error, rel=1e-3)
    assert found.method == "jackknife"
    scaled = gate.measure_lead(truth, *both, task, metric, weights=1e-6 * weights)
    assert scaled[:5] == pytest.approx(found[:5])
    ones = gate.measure_lead(truth, *both, task, metric, weights=np.ones(60))
    assert ones[:5] == pytest.approx(gate.measure_lead(truth, *both, task, metric)[:5])


def test_the_spread_of_weighted_groups_is_that_of_leaving_out_each_group():
    truth, first, second, group = draw_uneven_groups(2)
    weights, off = weigh(200), np.abs(truth - first) - np.abs(truth - second)
    whole, names = np.average(off, weights=weights), np.unique(group)
    without = np.array([np.average(off[group != name], weights=weights[group != name]) for name in names])
    error = np.sqrt((len(names) - 1) / len(names) * np.sum((without - whole) ** 2))
    found = gate.measure_lead(truth, first, second, "regression", "MAE", group, weights=weights)
    assert found.detectable - (found.value - found.bound) == pytest.approx(0.8416 * error, rel=1e-3)


def test_rows_of_uneven_weight_tell_as_much_as_fewer_rows():
    """Errors that move the score by the same: then the shares of the weight alone say how many rows there are."""
    weights = np.repeat([1.0, 9.0], 20)
    size = np.tile([1.0, -1.0], 20) / (weights / (weights.sum() - weights))
    truth = np.zeros(40)
    found = gate.measure_score(truth, 1000 + size, "regression", "MAE", weights=weights)
    freedom = weights.sum() ** 2 / np.sum(weights**2) - 1
    one = np.abs(size[0]) * weights[0] / (weights.sum() - weights[0])
    error = np.sqrt(39 / 40 * 40) * one
    assert found.value == pytest.approx(1000)
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, freedom) * error)


@pytest.mark.parametrize(
    ("task", "metric", "rows"),
    [("binary", "AUC", 100), ("binary", "Log Loss", 30), ("multiclass", "F1", 60), ("regression", "MAE", 30)],
)
def test_under_uneven_weights_what_is_no_better_is_rarely_promoted_and_intervals_hold_the_truth(task, metric, rows):
    """In at most 5% and at least 95%, but for three errors of so small a simulation."""
    leads = [
        gate.measure_lead(*draw(task, rows, seed), task, metric, weights=weigh(rows, 1000 + seed))
        for seed in range(300)
    ]
    assert np.mean([lead.bound > 0 for lead in leads]) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert np.mean([lead.low <= 0 <= lead.high for lead in leads]) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 300)


def test_a_slice_is_worse_by_weight():
    heavy = np.arange(60) % 6 == 0
    given = np.zeros(60), np.where(heavy, 1.4, 0.9) + np.arange(60) / 1000, np.ones(60)
    columns = pd.DataFrame({"town": ["a"] * 60})
    by = None, np.where(heavy, 20.0, 1.0)
    found = [gate.compare_slices(*given, columns, "regression", "MAE", weights=weights)[0]["worse"] for weights in by]
    assert found == [False, True]


def test_a_slice_is_weighted():
    truth, first, second = draw("regression", 120)
    town, weights = np.repeat(["a", "b"], 60), weigh(120)
    (one, _) = gate.compare_slices(
        truth, first, second, pd.DataFrame({"town": town}), "regression", "MAE", weights=weights
    )
    rows = town == one["value"]
    lead = gate.measure_lead(truth[rows], first[rows], second[rows], "regression", "MAE", weights=weights[rows])
    assert (one["lead"], one["low"], one["high"]) == (lead.value, lead.low, lead.high)
    assert (
        one["champion"]
        == evaluation.score(truth[rows], second[rows], "regression", "MAE", weights=weights[rows])["MAE"]
    )


def test_with_a_margin_a_smaller_lead_can_be_seen():
    truth, first, second = (np.random.default_rng(seed).normal(size=90) for seed in range(3))
    asked = (truth, first, second, "regression", "MAE")
    plain, by_margin = gate.measure_lead(*asked), gate.measure_lead(*asked, least=-0.25)
    assert by_margin == plain._replace(detectable=pytest.approx(plain.detectable - 0.25))


def test_the_detectable_lead_is_found_in_80_of_100_holdouts():
    def measure(seed, better):
        truth, first, second = draw("regression", 100, seed)
        return gate.measure_lead(truth, truth + (first - truth) * better, second, "regression", "MAE")

    mean = 0.4 * np.sqrt(2 / np.pi)
    detectable = np.median([measure(seed, 1).detectable for seed in range(100)])
    found = [measure(seed, 1 - detectable / mean).bound > 0 for seed in range(300)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.08)


def test_first_champions_of_noise_are_rare():
    promoted = []
    for seed in range(150):
        truth, first, _ = draw("binary", 40, seed, positives=0.1)
        noise = first[np.random.default_rng(seed).permutation(40)]
        lead = gate.measure_lead(truth, noise, np.full((40, 2), 0.5), "binary", "AUC")
        chance = evaluation.chance(truth, noise, "binary", "AUC", draws=99) if lead.bound > 0 else 1
        promoted.append(gate.decide("superior", "AUC", {"baseline": lead}, {}, {}, chance=chance)[0])
    assert np.mean(promoted) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 150)


TRUTH = np.array([0, 1] * 20)
EVEN, PERFECT = np.full((40, 2), 0.5), np.eye(2)[TRUTH]


@pytest.mark.parametrize(
    ("truth", "challenger", "champion", "metric"),
    [
        (TRUTH, EVEN, EVEN, "AUC"),
        (TRUTH, EVEN, EVEN, "F1"),
        (TRUTH, PERFECT, PERFECT, "Log Loss"),
        (TRUTH, PERFECT, PERFECT, "Average Precision"),
        (np.zeros(40, dtype=int), PERFECT, EVEN, "AUC"),
        (np.zeros(40, dtype=int), PERFECT, EVEN, "Average Precision"),
        (np.arange(40) // 39, np.eye(2)[np.arange(40) // 39], EVEN, "AUC"),
        (TRUTH, np.full((40, 2), np.nan), EVEN, "Log Loss"),
    ],
)
def test_what_cannot_be_told_apart_is_not_promoted(truth, challenger, champion, metric):
    """Ties, equal predictions, one class only, one row of a class, no finite score."""
    lead = gate.measure_lead(truth, challenger, champion, "binary", metric)
    sure = gate.Lead(1, 1, 1, 1, 0, "")
    assert gate.decide("superior", metric, {"baseline": sure, "champion": lead}, {}, {})[0] is False
    assert gate.decide("superior", metric, {"baseline": lead}, {}, {}, chance=0)[0] is False


def lead(value: float, bound: float) -> gate.Lead:
    return gate.Lead(value, bound, 2 * value - bound, bound, 0.03, "DeLong")


WORSE, ALONE = lead(-0.1, -0.15), gate.Lead(0.1, *[np.nan] * 4, "jackknife")
ABOVE, SURE, LEADS, BEHIND = lead(0.1, 0.05), lead(0.02, 0.005), lead(0.02, -0.01), lead(-0.01, -0.04)


@pytest.mark.parametrize(
    ("promote", "champion", "reference", "margin", "expected"),
    [
        ("superior", SURE, None, 0, True),
        ("superior", LEADS, None, 0, False),
        ("superior", LEADS, None, 0.02, False),  # the margin is `not_worse`'s
        ("better", LEADS, None, 0, True),
        ("better", BEHIND, None, 0, False),
        ("not_worse", LEADS, None, 0.02, True),
        ("not_worse", LEADS, None, 0.01, False),
        ("not_worse", SURE, BEHIND, 0.02, False),  # hardly worse than the champion, which was hardly worse itself
        ("not_worse", BEHIND, SURE, 0.02, True),
        ("superior", SURE, BEHIND, 0, True),  # the reference is `not_worse`'s
        ("always", BEHIND, None, 0, True),
        ("never", SURE, None, 0, False),
    ],
)
def test_the_policy_decides(promote, champion, reference, margin, expected):
    leads = {"baseline": ABOVE, "champion": champion} | ({"reference": reference} if reference else {})
    assert gate.decide(promote, "AUC", leads, {}, {}, margin)[0] is expected


@pytest.mark.parametrize("promote", ["superior", "not_worse", "better", "always"])
@pytest.mark.parametrize(
    ("baseline", "at_least", "chance", "reason"),
    [
        (LEADS, {}, None, "it is not certainly better than the baseline: lead +0.0200, lower bound -0.0100"),
        (ABOVE, {}, 0.2, "20.0% of random assignments of its predictions to the rows score as well"),
        (ABOVE, {"AUC": 0.81}, None, "its AUC is 0.8000, and must be 0.81 or more"),
        (ABOVE, {"Log Loss": 0.3}, None, "its Log Loss is 0.4000, and must be 0.3 or less"),
        (ABOVE, {"F1": 0.1}, None, "its F1 is nan, and must be 0.1 or more"),
    ],
)
def test_no_policy_promotes_what_is_not_good_in_itself(promote, baseline, at_least, chance, reason):
    scores = {"AUC": 0.8, "Log Loss": 0.4, "F1": np.nan}
    leads = {"baseline": baseline} if chance else {"baseline": baseline, "champion": ABOVE}
    promoted, (first, *_) = gate.decide(promote, "AUC", leads, scores, at_least, 0.1, chance)
    assert (promoted, first) == (False, reason)


def test_what_is_good_in_itself_is_the_first_champion():
    leads, passed = {"baseline": ABOVE}, {"AUC": 0.8, "Log Loss": 0.3}
    assert gate.decide("superior", "AUC", leads, passed, passed, chance=0.05)[0] is True


def test_a_no_says_what_these_rows_could_have_shown():
    leads = {"baseline": ABOVE, "champion": LEADS}
    assert gate.decide("superior", "AUC", leads, {}, {})[1] == [
        "it is not certainly better than the champion: AUC lead +0.0200, lower bound -0.0100",
        "rows like these show a true lead of +0.0300 in 80% of cases, and can miss a smaller one",
    ]
    first = [gate.decide("superior", "AUC", {"baseline": one}, {}, {}, chance=0.2)[1] for one in (LEADS, WORSE, ALONE)]
    assert first == [
        [
            "it is not certainly better than the baseline: lead +0.0200, lower bound -0.0100",
            "rows like these show a true lead of +0.0300 in 80% of cases, and can miss a smaller one",
        ],
        ["it is not certainly better than the baseline: lead -0.1000, lower bound -0.1500"],
        ["it is not certainly better than the baseline: lead +0.1000, and no lower bound on these rows"],
    ]
    assert gate.decide("not_worse", "AUC", leads, {}, {}, margin=0.008)[1] == [
        "it is not certainly at most 0.008 worse than the champion: AUC lead +0.0200, lower bound -0.0100",
        "rows like these show a true lead of +0.0300 in 80% of cases, and can miss a smaller one",
    ]


@pytest.mark.parametrize(
    ("slices", "changed", "expected"),
    [
        (1, {}, True),  # t is 1.87, and must be 1.68
        (4, {}, False),  # 2.33, since each of four slices has a quarter of the error
        (1, {"confidence": 0.99}, False),  # 2.43
        (1, {"groups": np.arange(40) // 4}, False),  # t is 0.90: there are ten groups
    ],
)
def test_a_slice_is_worse_beyond_chance_by_one_side_and_with_all_slices_together(slices, changed, expected):
    worse_by = np.tile(np.repeat([1.3, -0.7], 20), slices)
    columns = pd.DataFrame({"town": np.repeat([*"abcd"][:slices], 40)})
    given = np.zeros(len(worse_by)), 2 + worse_by, np.full(len(worse_by), 2.0)
    table = gate.compare_slices(*given, columns, "regression", "MAE", **changed)
    assert [one["worse"] for one in table] == [expected] * slices
    assert all(one["lead"] == pytest.approx(-0.3) and one["low"] < 0 < one["high"] for one in table)


def test_a_slice_has_thirty_rows():
    truth, first, second = draw("regression", 59)
    columns = pd.DataFrame({"town": np.repeat(["a", "b"], [30, 29])})
    table = gate.compare_slices(truth, first, second, columns, "regression", "MAE")
    assert [(one["value"], one["rows"]) for one in table] == [("a", 30)]


@pytest.mark.parametrize("town", [["a", None], [1.0, np.nan], [pd.Timestamp("2026-01-31"), pd.NaT]])
def test_those_of_whom_a_value_is_missing_are_a_slice(town):
    truth, first, second = draw("regression", 80)
    columns = pd.DataFrame({"town": pd.Series(town * 40)})
    found = gate.compare_slices(truth, np.where(columns["town"].isna(), 9, first), second, columns, "regression", "MAE")
    assert sorted((one["rows"], one["value"] == "missing", one["worse"]) for one in found) == [
        (40, False, False), (40, True, True),
    ]  # fmt: skip


def test_a_slice_on_which_the_challenger_is_worse_is_pointed_out():
    """Better on average, and no better than chance for the people of one town."""
    truth, challenger, champion = draw("binary", 900, 3)
    town = np.array(["a", "b", "c"])[np.arange(900) % 3]
    challenger[town != "c"] = 0.2 * challenger[town != "c"] + 0.8 * np.eye(2)[truth[town != "c"]]
    challenger[town == "c"] = challenger[town == "c"][::-1]
    columns = pd.DataFrame(
        {
            "town": np.where(np.arange(900) < 20, "few", town),
            "age": np.arange(900.0) % 90,
            "since": pd.date_range("2020-01-01", periods=900, freq="D"),
        }
    )
    table = pd.DataFrame(gate.compare_slices(truth, challenger, champion, columns, "binary", "AUC"))
    assert [*table["column"]] == 3 * ["town"] + 4 * ["age"] + 3 * ["since"]
    assert {*table["value"]} >= {"a", "b", "c", "2020", "2021", "2022"}
    assert table.loc[table["worse"] & (table["column"] == "town"), "value"].tolist() == ["c"]
    assert gate.compare_slices(truth, champion, challenger, columns[["town"]], "binary", "AUC")[0]["worse"] is False
    assert table["rows"].groupby(table["column"]).sum().to_dict() == {"age": 900, "since": 900, "town": 880}
    row, of = table.set_index("value").loc["c"], columns["town"] == "c"
    assert row["lead"] == row["challenger"] - row["champion"]
    assert row["champion"] == evaluation.score(truth[of], champion[of], "binary", "AUC")["AUC"]


def test_the_reference_is_named_where_it_refuses():
    said = gate.decide(
        "not_worse", "AUC", {"baseline": ABOVE, "champion": SURE, "reference": BEHIND}, {}, {}, margin=0.02
    )[1][0]
    assert said.startswith(
        "it is not certainly at most 0.02 worse than the last champion promoted as superior: AUC lead -0.0100"
    )


def test_a_lead_that_is_exactly_enough_is_enough():
    assert gate.decide("superior", "AUC", {"baseline": ABOVE}, {}, {}, chance=0.1, confidence=0.9)[0] is True


@pytest.mark.parametrize("values", ["abcdefgh", range(8)])
def test_each_of_eight_values_is_a_slice(values):
    truth, first = np.random.default_rng(1).normal(size=(2, 240))
    columns = pd.DataFrame({"town": [*values] * 30})
    found = gate.compare_slices(truth, first, truth, columns, "regression", "MAE")
    assert sorted(one["value"] for one in found) == [*map(str, values)]


def test_a_first_champion_is_not_decided_without_chance():
    with pytest.raises(ValueError, match="a first champion must be held against chance"):
        gate.decide("superior", "AUC", {"baseline": ABOVE}, {}, {})


def test_a_lead_by_rounding_is_none():
    truth, first = np.random.default_rng(1).normal(size=(2, 100))
    assert gate.measure_lead(truth, first, first * (1 - 1e-15), "regression", "MAE").value == 0


def test_where_no_lead_could_be_seen_none_is_told():
    assert gate.decide("superior", "AUC", {"baseline": ABOVE, "champion": ALONE}, {}, {})[1] == [
        "it is not certainly better than the champion: AUC lead +0.1000, and no lower bound on these rows"
    ]
