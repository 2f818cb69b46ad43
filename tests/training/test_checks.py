"""What is said of a table before training: each warning where it belongs, and none where all is well."""

import re
import time
import uuid

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from baton import config
from baton.data import contract, split, tables
from baton.training import checks, preparation

ROWS = 400
GROUPS = [f"g{number // 4}" for number in range(ROWS)]
NUMBERS = np.random.default_rng(1).normal(size=(ROWS, 3))
SIGNAL = NUMBERS[:, 0] - NUMBERS[:, 1] + np.random.default_rng(2).normal(size=ROWS)
ANSWERS = {
    "binary": np.where(SIGNAL > 0.5, "yes", "no"),
    "multiclass": pd.cut(SIGNAL, [-9, -1, 1, 9], labels=["u", "v", "w"]).astype(str),
    "numbers": SIGNAL * 100,
    "skewed numbers": np.exp(2 * SIGNAL),
    "whole numbers": np.clip((SIGNAL * 8).round(), -12, 12) + 12.0,
}


def table(answer="binary", **columns) -> pd.DataFrame:
    """A table of which there is nothing to say, and what makes the difference."""
    rows = pd.DataFrame(NUMBERS, columns=["a", "b", "c"]).assign(
        y=ANSWERS[answer] if isinstance(answer, str) else answer
    )
    return rows.assign(**columns)


COARSE = table().assign(a=np.arange(ROWS) % 3, b=np.arange(ROWS) % 5, c="x")


def look(rows: pd.DataFrame, target="y", ids=(), ignore=(), how="hash", by=None, **changed) -> list[str]:
    """What is said of a table; unless it is asked for, not that there are no ids."""
    settings = config.Settings(
        train_data="y.csv", score_data="y.csv", target=target, id_columns=[*ids], ignore_columns=[*ignore], split=how,
        split_by=by, **changed,
    )  # fmt: skip
    division = split.separate(rows, contract.learn_contract(rows, settings), settings)
    return [said for said in checks.check(rows, division, settings) if "no id_columns" not in said]


def look_for_ids(rows: pd.DataFrame, **changed) -> list[str]:
    settings = config.Settings(train_data="y.csv", score_data="y.csv", target="y", **changed)
    division = split.separate(rows, contract.learn_contract(rows, settings), settings)
    return [said for said in checks.check(rows, division, settings) if " id" in said]


def starts(warnings: list[str], *expected: str) -> bool:
    return len(warnings) == len(expected) and all(map(str.startswith, warnings, expected))


@pytest.mark.parametrize("answer", [*ANSWERS])
def test_of_a_good_table_nothing_is_said(answer):
    assert look(table(answer)) == []


def test_of_the_sample_table_nothing_is_said():
    assert look(tables.read_table(str(config.ROOT / "data" / "diabetes_train.csv")), "Outcome") == []


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (
            datasets.load_iris,
            [
                "columns 'petal length (cm)' (AUC 0.980), 'petal width (cm)' (AUC 0.975) nearly tell the target, each alone. ",
                "1 of 150 rows equal another in all columns, target included. ",
            ],
        ),  # so it is
        (datasets.load_wine, []),
        (
            datasets.load_breast_cancer,
            ["columns 'mean concave points' (AUC 0.965), 'worst radius' (AUC 0.967), 'worst perimeter' (AUC 0.971), "],
        ),  # so it is, too
        (datasets.load_diabetes, []),
    ],
)
def test_well_known_tables_raise_no_false_alarm(load, said):
    assert starts(look(load(as_frame=True).frame, "target"), *said)


def leak(answer: str, kind: str) -> pd.Series | np.ndarray | None:
    """A column that was written down after the target was known."""
    known = table(answer)["y"]
    classes = known.dtype == "str"
    code = pd.Series(pd.factorize(known, sort=True)[0]) if classes else known
    noise = np.random.default_rng(3).normal(size=ROWS)
    return {
        "number": code,
        "text": known.map(lambda value: f"group {value}") if classes or known.nunique() < 100 else None,
        "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(code.rank(), "D"),
        "noisy copy": code + noise * (0.05 if classes else 0.01 * code.std()) if answer != "skewed numbers" else None,
        "in per cent off": code * (1 + 0.005 * noise),
        "with holes": code.where(np.arange(ROWS) % 250 > 0),
    }[kind]


KINDS = ["number", "text", "date", "noisy copy", "in per cent off", "with holes"]
# A text with a value of its own in every row can't be told from an id.
LEAKS = [(answer, kind) for answer in ANSWERS for kind in KINDS if leak(answer, kind) is not None]


@pytest.mark.parametrize(("answer", "kind"), LEAKS)
def test_a_column_that_gives_the_target_away_is_named(answer, kind):
    told = leak(answer, kind)
    first, *others = look(table(answer, leak=told))
    assert first.startswith("column 'leak' gives the target away: alone it reaches ")
    assert ("AUC" in first) == (answer in {"binary", "multiclass"})
    assert first.endswith("If it is only known once the target is, put it in ignore_columns")
    assert [said for said in others if "gives the target away" in said] == []
    assert [said for said in look(table(answer, leak=told), ignore=["leak"]) if "leak" in said] == []


@pytest.mark.parametrize(
    ("answer", "noise", "said"),
    [
        ("binary", 0.4, "column 'd' (AUC 0.9"),
        ("binary", 0.8, "column 'd' (AUC 0.95"),
        ("binary", 1.2, None),
        ("multiclass", 0.1, "column 'd' (AUC 0."),
        ("multiclass", 1.2, None),
        ("numbers", 0.3, "column 'd' (R2 (of ranks) 0.970) nearly tells the target alone. "),
        ("numbers", 0.5, None),
        ("skewed numbers", 0.7, None),
        ("whole numbers", 0.7, None),
    ],
)
def test_a_column_that_tells_much_of_the_target_is_suspicious_from_095_alone(answer, noise, said):
    """Below, a strong predictor is what one hopes for."""
    for sign in (1, -1):  # whether the column grows with the target or falls
        assert starts(look(table(answer, d=sign * (SIGNAL + noise * NUMBERS[:, 2]))), *([said] if said else []))


def flipped(rows: int, share: float, wrong: float, missed: float = 0.0) -> pd.DataFrame:
    """Rows of which a share is positive, and a copy of that with some rows wrong, and some positives missed."""
    generator = np.random.default_rng(5)
    y, draw = generator.random(rows) < share, generator.random(rows)
    copy = np.where(draw < wrong, ~y, y & (draw >= missed))
    return pd.DataFrame(generator.normal(size=(rows, 3)), columns=[*"abc"]).assign(d=copy.astype(int), y=y.astype(int))


def replaced(rows: int, wrong: float) -> pd.DataFrame:
    """Rows of which the target is a number, and a copy of that with some rows drawn anew."""
    generator = np.random.default_rng(5)
    y, other = generator.normal(size=(2, rows))
    return pd.DataFrame(generator.normal(size=(rows, 3)), columns=[*"abc"]).assign(
        d=np.where(generator.random(rows) < wrong, other, y), y=y
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (flipped(2000, 0.5, 0.03), ["column 'd' (AUC 0.9"]),
        (flipped(2000, 0.5, 0.2), []),
        (flipped(2000, 0.1, 0.03), ["column 'd' (AUC 0.9"]),
        (flipped(2000, 0.1, 0.0, missed=0.16), ["column 'd' (Kappa 0.884"]),
        (flipped(2000, 0.1, 0.0, missed=0.4), []),
        (flipped(20_000, 0.03, 0.0, missed=0.1), ["column 'd' (Kappa 0.931"]),
        (replaced(2000, 0.05), ["column 'd' gives the target away: alone it reaches R2 (of ranks, without the worst 15%) 1.000"]),
        (replaced(2000, 0.4), []),
        (replaced(2000, 1.0).assign(y=lambda rows: np.maximum(rows["y"] - 1, 0)), []),
    ],
    ids=[
        "even", "no copy", "rare", "rare and missed", "missed too often", "very rare", "numbers", "no copy of numbers",
        "nearly all are zeros",
    ],
)  # fmt: skip
def test_a_copy_of_the_target_with_errors_is_named(rows, said):
    found = [told for told in look(rows) if "rare" not in told and "equal another" not in told]
    assert starts(found, *said), found


def passengers(survivors: float, others: float, **columns) -> pd.DataFrame:
    """A table with a column that this share of the survivors has a value in, and that share of all others."""
    generator = np.random.default_rng(3)
    y = np.arange(1000) % 8 < 3
    boat = pd.Series(generator.choice([*"ABCDEFGH"], 1000))
    rows = pd.DataFrame(generator.normal(size=(1000, 3)), columns=[*"abc"])
    return rows.assign(
        boat=boat.where(generator.random(1000) < np.where(y, survivors, others)), y=y.astype(int), **columns
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            passengers(0.95, 0.02),
            ["column 'boat' has a value in 94.1% of the rows of class 1, and in 3.4% of the others. "],
        ),
        (
            passengers(0.02, 0.95),
            ["column 'boat' has a value in 2.4% of the rows of class 1, and in 94.8% of the others. "],
        ),
        (passengers(0.8, 0.2), []),
        (passengers(0.95, 0.3), []),
        (passengers(0.95, 0.95), []),
    ],
)
def test_a_column_filled_for_one_class_only_is_named(rows, said):
    assert starts(look(rows), *said), look(rows)


def test_the_holdout_is_not_looked_at_for_leaks():
    """A copy of the target in the training rows is named, one in the holdout rows is not."""
    rows = table(id=range(ROWS), d=NUMBERS[:, 2].round(1))
    settings = config.Settings(train_data="y.csv", score_data="y.csv", target="y", id_columns=["id"])
    aside = rows["id"].isin(split.separate(rows, contract.learn_contract(rows, settings), settings).holdout["id"])
    copied = rows["y"].map({"yes": 1.0, "no": 0.0})
    assert look(rows.assign(d=rows["d"].where(~aside, copied)), ids=["id"]) == []
    assert starts(look(rows.assign(d=rows["d"].where(aside, copied)), ids=["id"]), "column 'd' gives the target away")


def test_the_targets_of_the_holdout_are_not_looked_at_for_contradictions():
    rows = COARSE.assign(id=range(ROWS))
    settings = config.Settings(train_data="y.csv", score_data="y.csv", target="y", id_columns=["id"])
    aside = rows["id"].isin(split.separate(rows, contract.learn_contract(rows, settings), settings).holdout["id"])
    alike = rows["y"].where(aside, np.where(rows["a"] == 1, "yes", "no"))  # the training rows contradict nothing
    assert [said for said in look(rows.assign(y=alike), ids=["id"]) if "no model can be right" in said] == []


def visits(customers=200, each=6, effect=0.8, seed=0, fixed=True) -> pd.DataFrame:
    """Some rows a customer, each of whom has an effect on the target besides that of what the row says."""
    generator = np.random.default_rng(seed)
    who = generator.permutation(np.repeat(np.arange(customers), each))
    rows = pd.DataFrame({"visit": np.arange(len(who)) * 3 + 500, "spent": generator.normal(size=len(who))})
    rows["customer"] = [f"C-{number}" for number in generator.permutation(9000)[:customers][who] + 1000]
    if fixed:
        rows["age"] = generator.integers(18, 80, customers)[who]
        rows["income"] = generator.normal(50, 9, customers).round(2)[who]
    latent = effect * generator.normal(size=customers)[who] + 0.4 * rows["spent"] + generator.normal(size=len(who))
    return rows.assign(y=np.where(latent > 0, "yes", "no"), latent=latent)


VISITS = visits().drop(columns="latent")
FEW = visits(customers=12, each=100).drop(columns="latent")
ENTITY = "column 'customer' names what rows have in common: 200 values, some 6 rows each, which share "


@pytest.mark.parametrize(
    ("rows", "how", "said"),
    [
        (VISITS, {}, [ENTITY + "'age', 'income' and much of the target. The holdout has other rows of the same values, so models look better there than on new ones. If rows to be scored bring new values, set split: group, split_by: customer"]),
        (VISITS.assign(customer=VISITS["customer"].str[2:].astype(int)), {}, [ENTITY]),
        (VISITS, {"ignore": ["customer"]}, [ENTITY]),
        (VISITS.drop(columns=["age", "income"]), {}, [ENTITY + "much of the target. "]),
        (VISITS.drop(columns=["age", "income"]), {"ignore": ["customer"]}, []),  # nothing tells a model who it is
        (VISITS.drop(columns="customer"), {}, ["column 'income' names what rows have in common: 194 values"]),
        (VISITS.assign(y=VISITS.groupby("customer")["y"].transform("first")), {}, [ENTITY]),  # and no leak
        (visits().drop(columns="y").rename(columns={"latent": "y"}), {}, [ENTITY]),
        (visits(effect=0).drop(columns="latent"), {}, []),
        (FEW, {}, ["column 'customer' names what rows have in common: 12 values, some 100 rows each, which share 'age', 'income' and much of the target"]),
        (FEW[FEW.groupby("customer").cumcount() < 8 * FEW["customer"].rank(method="dense")], {}, ["column 'customer' names what rows have in common: 12 values, some 52 rows each"]),
        (FEW.drop(columns="age"), {}, []),  # as a plan has its price
        (VISITS, {"ids": ["customer"], "ignore": ["visit"]}, []),  # rows of an id stay together
        (VISITS, {"how": "group", "by": "customer"}, []),
    ],
    ids=[
        "text", "numbers", "ignored", "nothing else is fixed", "nobody knows", "no name", "one target each",
        "a number", "no effect", "few", "few, of unequal size", "few, with one feature of their own", "is the id", "split by",
    ],
)  # fmt: skip
def test_an_entity_that_rows_share_is_noticed(rows, how, said):
    found = look(rows, **{"ids": ["visit"]} | how)
    assert starts(found, *said), found


def test_where_an_entity_is_noticed_a_holdout_by_hash_flatters():
    """The figures behind the warning: by hash a forest looks better than it is for new customers."""
    y, X = VISITS["y"] == "yes", VISITS[["spent", "age", "income"]]
    generator = np.random.default_rng(1)
    by_row = generator.random(len(X)) < 0.2
    by_customer = VISITS["customer"].isin(generator.permutation(VISITS["customer"].unique())[:40]).to_numpy()
    scores = []
    for aside in (by_row, by_customer):
        forest = RandomForestClassifier(200, random_state=0).fit(X[~aside], y[~aside])
        scores.append(roc_auc_score(y[aside], forest.predict_proba(X[aside])[:, 1]))
    assert scores[0] > scores[1] + 0.05


@pytest.mark.parametrize("answer", ["yes or no", "number"])
@pytest.mark.parametrize("rows", [300, 1500])
@pytest.mark.parametrize("seed", range(3))
def test_what_repeats_by_itself_is_no_entity(rows, seed, answer):
    generator = np.random.default_rng(seed)
    hidden = generator.normal(size=(rows, 4))
    latent = np.sin(2 * hidden[:, 0]) + hidden[:, 1] + (hidden[:, 2] > 0.3) + hidden[:, 3] + generator.normal(size=rows)
    columns = {
        "id": np.arange(rows),
        "age": (40 + 12 * hidden[:, 0]).round(),
        "price": np.exp(4 + hidden[:, 1]).round(),
        "glucose": (120 + 30 * hidden[:, 2]).round(),
        "bmi": (28 + 5 * hidden[:, 3]).round(1),
        "year": 1985 + ((hidden[:, 0] * 90) % 39 // 1),
        "rating": generator.integers(1, 6, rows),
        "postcode": [f"{number:05d}" for number in generator.integers(0, rows // 60, rows) * 37 + 1000],
        "street": [f"street {number}" for number in generator.integers(0, rows // 10, rows)],
        "y": latent if answer == "number" else np.where(latent > 1, "yes", "no"),
    }
    assert look(pd.DataFrame(columns), ids=["id"]) == []


NOT_IN_HOLDOUT = "classes of 'y' without a holdout row: "


def test_a_class_of_a_row_and_few_rows_in_all_stand_no_search_for_a_giveaway():
    assert not any("gives" in said for said in look(table().head(20).assign(d=lambda rows: rows["y"] == "yes")))


@pytest.mark.parametrize(
    ("answer", "how", "said"),
    [
        (["a"] * 3 + ["b", "c"] * 198 + ["b"], {}, [NOT_IN_HOLDOUT + "'a'. How well they are predicted will not be measured. ", "1 of the 3 classes of 'y' have fewer training rows than there are folds, 5, so some folds validate without them: 'a' has 3. "]),
        (["a"] * 3 + ["b", "c"] * 198 + ["b"], {"folds": 3}, [NOT_IN_HOLDOUT, "class 'a' of 'y' is rare, 0.8% of the rows: "]),
        (["a", "d", "d"] + ["b", "c"] * 198 + ["b"], {}, [NOT_IN_HOLDOUT + "'a', 'd'. ", "2 of the 4 classes of 'y' have fewer training rows than there are folds, 5, so some folds validate without them: 'a' has 1, 'd' has 2. "]),
        ([f"k{number // 2:03d}" for number in range(60)] + ["b", "c"] * 170, {}, ["classes of 'y' without a training row: k013, k021. No model can predict them, so their 4 holdout rows are left out. ", NOT_IN_HOLDOUT + "'k000', 'k001', 'k002', 'k003', 'k004', …. ", "28 of the 30 classes of 'y' have fewer training rows than there are folds, 5, so some folds validate without them: 'k000' has 2, 'k001' has 2, 'k002' has 2, 'k003' has 2, 'k004' has 2, …. "]),
        (["no"] * 18 + ["yes"] * 382, {}, ["class 'no' of 'y' is rare, 4.5% of the rows: the likeliest class will hardly ever be it, so go by the probability"]),
        (["no"] * 22 + ["yes"] * 378, {}, []),
        ([f"k{number % 20}" for number in range(400)], {}, []),  # each is 5% of the rows, and none is rarer
    ],
    ids=["too few for the folds", "enough", "two", "many", "rare", "less so", "many even ones"],
)  # fmt: skip
def test_rare_classes_are_counted(answer, how, said):
    assert starts(look(table(answer), **how), *said)


def test_a_metric_that_a_rare_class_flatters_is_named():
    rows = table(["a"] * 18 + ["b"] * 382)
    assert look(rows, metric="Accuracy")[0].endswith("Accuracy flatters a model that never predicts it, AUC does not")
    assert "flatters" not in look(rows, metric="F1")[0]


def test_rows_without_a_target_are_counted():
    answer = table()["y"].where(np.arange(ROWS) % 100 > 0)
    assert look(table(answer)) == ["column 'y' has no value in 4 of 400 rows, which are left out"]


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ([f"{'$€'[number % 2]}{number % 40 + 1000:,}" for number in range(ROWS)], True),
        ([f"{number % 40}" for number in range(ROWS - 8)] + ["sold"] * 8, True),
        ([f"k{number % 40}" for number in range(ROWS)], False),
        ([f"0{number % 40}" for number in range(ROWS)], False),  # codes
        (["1", "2", "3", "none given"] * 100, False),
    ],
    ids=["two currencies", "a word among numbers", "names", "codes", "few"],
)
def test_a_quantity_that_counts_as_classes_is_named(answer, named):
    expected = (
        "column 'y' counts as 4[01] classes, but nearly all look like numbers, such as '.*'. If it is a quantity, "
    )
    assert any(re.match(expected, said) for said in look(table(answer))) == named


def doubled(rows: pd.DataFrame, again: int, **changed) -> pd.DataFrame:
    return pd.concat([rows, rows.head(again).assign(**changed)], ignore_index=True).assign(
        id=lambda own: range(len(own))
    )


@pytest.mark.parametrize(
    ("rows", "how", "said"),
    [
        (doubled(table(), 7), {"ignore": ["id"]}, ["7 of 407 rows equal another in all columns, target included. "]),
        (doubled(table(), 7), {"ids": ["id"]}, ["7 of 407 rows equal another in all columns but 'id': they count as different cases. "]),
        (pd.concat([table(id=range(ROWS)), table(id=range(ROWS)).head(7)]), {"ids": ["id"]}, ["7 of 407 rows equal another in every column, ids too: as copies they are left out"]),
        (doubled(table(), 7, a=0.0), {"ids": ["id"]}, []),
        (doubled(table(), 7, y="maybe"), {"ids": ["id"]}, ["12 of 315 training rows equal another in all columns but 'id', 'y': "]),
        (doubled(doubled(table(), 7, y="maybe"), 7), {"ids": ["id"]}, ["7 of 414 rows equal another in all columns but 'id': ", "20 of 322 training rows equal another in all columns but 'id', 'y': "]),
        (COARSE, {}, ["400 rows hold only 15 different ones, so those that are equal count as different cases that look alike. ", "column 'c' is left out"]),
        (COARSE.assign(id=range(ROWS)), {"ids": ["id"]}, ["370 of 400 rows equal another in all columns but 'id': ", "308 of 308 training rows equal another in all columns but 'id', 'y': ", "column 'c' is left out"]),
    ],
    ids=["same without ids", "cases that look alike", "copies", "no copy", "contrary", "contrary and twice", "coarse", "coarse cases"],
)  # fmt: skip
def test_equal_rows_are_counted(rows, how, said):
    found = [told for told in look(rows, **how) if "classes of 'y'" not in told and "class 'maybe'" not in told]
    assert starts(found, *said), found


@pytest.mark.parametrize(
    ("column", "named"),
    [
        (np.arange(ROWS), True),
        (np.arange(ROWS)[::-1] + 5000, True),
        (np.random.default_rng(1).permutation(ROWS), True),
        (np.cumsum(np.random.default_rng(1).integers(1, 900, ROWS)), True),  # given one after the other
        ([f"C-{number:05d}" for number in range(ROWS)], True),
        ([f"{number:05d}" for number in range(ROWS)], True),
        ([str(uuid.UUID(int=number * 7**40 % 2**128)) for number in range(ROWS)], True),
        ([f"{number * 7**80 % 2**256:064x}" for number in range(ROWS)], True),
        ([f"C-{number:05d}" for number in range(ROWS - 2)] + [None, "C-00000"], True),
        (NUMBERS[:, 0] * 3, False),
        (np.random.default_rng(1).integers(0, 10**6, ROWS), False),  # all different, as whole numbers of grams are
        (np.arange(ROWS) % 200, False),
        ([f"town {number % 100}" for number in range(ROWS)], False),
        ([f"they called again for the {number}th time and had a long complaint" for number in range(ROWS)], False),
    ],
    ids=[
        "running number", "backwards", "shuffled", "with gaps", "text", "leading zeros", "uuid", "digest", "some missing",
        "measurement", "whole measurement", "twice each", "names", "sentences",
    ],
)  # fmt: skip
def test_what_looks_like_an_id_is_named_and_a_measurement_is_not(column, named):
    rows = table(d=column, key=[f"k-{number:03d}" for number in range(ROWS)])
    found = [said for said in look(rows, ids=["key"]) if "looks like" in said]
    assert starts(found, *(["column 'd' looks like an id: "] if named else []))
    assert look(table(d=column), ignore=["d"]) == []
    assert ("Column 'd' looks like an id: " in look_for_ids(table(d=column))[0]) == named


NO_IDS = "there are no id_columns, and without ids a changed value, or a new column, moves rows between training and holdout. "
PAIR = table(customer=[f"C-{number // 4}" for number in range(ROWS)], visit=np.arange(ROWS) % 4 + 1)
NEITHER = "No column, and no pair of columns, would do: "
TIME = "there are no id_columns, and without ids a row with a changed value can't be told from one that no model has seen. "


@pytest.mark.parametrize(
    ("rows", "how", "said"),
    [
        (table(d=np.arange(ROWS)), {}, [NO_IDS + "Column 'd' looks like an id: 400 different values in 400 rows. Set id_columns: d"]),
        (table(d=np.arange(ROWS), e=[f"C-{number}" for number in range(ROWS)]), {}, [NO_IDS + "Column 'd' looks like an id: 400 different values in 400 rows. Set id_columns: d; 'e' would do as well, or belong in ignore_columns"]),
        (table(d=np.arange(ROWS)), {"ignore_columns": ["d"]}, [NO_IDS + "Column 'd' looks like an id: "]),
        (table(d=np.arange(1, ROWS + 1) * 7919 % 100_003 * 811), {}, [NO_IDS + "Column 'd' would do, if its values never change: set id_columns: d"]),
        (PAIR, {}, [NO_IDS + "Columns 'customer' and 'visit' together tell all rows apart: set id_columns: customer, visit"]),
        (PAIR.assign(visit=PAIR["visit"].mask(PAIR.index % 4 == 3, 1)), {}, [NO_IDS + NEITHER]),
        (table(), {}, [NO_IDS + NEITHER]),
        (table(m=NUMBERS[:, 0].round(1) * 10, n=NUMBERS[:, 1].round(1) * 10), {}, [NO_IDS + NEITHER]),  # chance
        (table(d=np.arange(ROWS) // 4), {"split": "group", "split_by": "d"}, [TIME + NEITHER]),
        (table(d=np.arange(ROWS)), {"split": "time", "split_by": "d"}, [TIME + "Column 'd' would do, if its values never change: set id_columns: d"]),
        (PAIR, {"id_columns": ["customer", "visit"]}, []),
    ],
    ids=[
        "id", "two", "ignored", "scattered number", "pair", "no pair", "fractions", "measurements", "group", "time", "given",
    ],
)  # fmt: skip
def test_ids_are_asked_for_and_what_would_do_is_named(rows, how, said):
    found = look_for_ids(rows, **how)
    assert starts(found, *said), found


@pytest.mark.parametrize(
    ("column", "how", "said"),
    [
        (pd.date_range("2024-01-01", periods=ROWS), {}, ["column 'd' holds 400 dates from 2024-01-01 to 2025-02-03. If the rows to be scored come later than these, set split: time, split_by: d"]),
        (pd.date_range("2024-01-01", periods=ROWS).strftime("%d.%m.%Y"), {}, ["column 'd' holds 400 dates from 2024-01-01 to 2025-02-03. "]),
        (pd.date_range("2024-01-01", periods=ROWS), {"how": "time", "by": "d"}, []),
        (pd.date_range("2024-01-01", periods=ROWS), {"how": "group", "by": "g"}, []),
        ([f"{number // 60 % 24:02d}:{number % 60:02d}" for number in range(ROWS)], {}, []),
        (pd.to_datetime(["2024-01-01", "2024-07-01"] * 200), {}, []),
    ],
    ids=["dates", "as text", "already split by", "split by group", "times of day", "two days"],
)  # fmt: skip
def test_dates_suggest_to_split_by_time(column, how, said):
    assert starts(look(table(d=column, g=np.arange(ROWS) // 4), **how), *said)


@pytest.mark.parametrize(
    ("how", "column", "said"),
    [
        ("group", [None, "", "g", "h"] * 5 + GROUPS[20:], ["column 'd', which rows are split by, has no value in 10 of 400 rows: these are split by hash"]),
        ("group", ["NA"] * 3 + GROUPS[3:], ["column 'd', which rows are split by, has no value in 3 of 400 rows: "]),
        ("group", GROUPS, []),
        ("time", [np.nan, *range(1, 400)], ["column 'd', which rows are split by, has no value in 1 of 400 rows: "]),
    ],
    ids=["groups", "marked", "none", "times"],
)  # fmt: skip
def test_rows_that_lack_what_they_are_split_by_are_counted(how, column, said):
    assert starts(look(table(d=column), how=how, by="d"), *said), look(table(d=column), how=how, by="d")


@pytest.mark.parametrize(
    ("rows", "how", "said"),
    [
        (table(d=["f", "e", "g", "h"] * 100), {"how": "group", "by": "d"}, ["the holdout is 50.0% of the rows, and holdout asks for 20%: the groups of 'd' are few, or of unequal size. Split by a column with more groups"]),
        (table(d=[2022, 2023] * 180 + [2024] * 40), {"how": "time", "by": "d"}, ["the holdout is 10.0% of the rows, and holdout asks for 20%: many rows have the same 'd'. Split by a finer one"]),
        (table(d=[2022, 2023] * 160 + [2024] * 80), {"how": "time", "by": "d"}, []),
        (table(d=GROUPS), {"how": "group", "by": "d"}, []),
        (table(), {}, []),
    ],
    ids=["few groups", "a small year", "years", "many groups", "hash"],
)  # fmt: skip
def test_a_holdout_of_another_share_than_asked_for_is_named(rows, how, said):
    assert starts(look(rows, **how), *said), look(rows, **how)


OUTCOMES = np.where(np.arange(ROWS) % 10 == 3, "failure", "success")
SCORES = np.clip((SIGNAL + 5.5).round(), 3, 8).astype(int)
CLASSES = "column 'y' holds 6 whole numbers, from 3 to 8, which count as classes. If they are amounts or scores, where 4 is nearer to 5 than to 8, set task: regression"
AMOUNTS = "column 'y' holds 6 whole numbers, from 3 to 8, which count as amounts. If they are codes of classes, set task: multiclass"


@pytest.mark.parametrize(
    ("rows", "how", "said"),
    [
        (table(OUTCOMES), {}, ["class 'failure' of 'y' counts as positive, because it is the rarer one, 10.0% of the rows: its probability is given. To choose the other, set positive: success"]),
        (table(OUTCOMES), {"positive": "success"}, []),
        (table(["p", "q"] * 200), {}, ["class 'p' of 'y' counts as positive, because neither is rarer: "]),
        (table(np.where(OUTCOMES == "failure", "yes", "no")), {}, []),
        (table((OUTCOMES == "failure").astype(int)), {}, []),
        (table(SCORES), {}, [CLASSES]),
        (table(SCORES), {"task": "multiclass"}, []),
        (table(SCORES), {"task": "regression"}, []),
        (table(SCORES).head(50), {}, [AMOUNTS]),
        (table(np.arange(ROWS) % 3), {}, []),  # codes of classes
        (table(np.arange(ROWS) % 40), {}, []),  # amounts
        (table([f"score {score}" for score in SCORES]), {}, []),
    ],
    ids=[
        "the rarer", "chosen", "neither", "affirmative", "larger", "scores", "classes", "amounts", "few scores", "three codes",
        "many amounts", "names",
    ],
)  # fmt: skip
def test_what_is_asked_by_guess_is_said_with_the_way_to_choose(rows, how, said):
    found = [told for told in look(rows, **how) if re.search("counts? as", told)]
    assert starts(found, *said), found


CODED = [f"{number % 9 + 1}.{number * 7 % 1000:03d}" for number in range(ROWS)]
COMMAS = [f"{number % 90},5" for number in range(ROWS)]


@pytest.mark.parametrize(
    ("columns", "decimal", "said"),
    [
        ({"d": CODED}, None, ["column 'd' can be read in two ways: '1.000' is taken for 1, with a decimal point, because nothing in the table says otherwise. If that is wrong, write it in the table as 1000, or 1.0000"]),
        ({"d": CODED}, ",", ["column 'd' can be read in two ways: '1.000' is taken for 1000, with a decimal comma, because that is usual in a file like this. "]),
        ({"d": CODED, "e": COMMAS}, None, ["column 'd' can be read in two ways: '1.000' is taken for 1000, with a decimal comma, because the numbers of 'e' have one. "]),
        ({"d": ["0.5", *CODED[1:]]}, None, []),
        ({"d": COMMAS}, None, []),
        ({"d": np.arange(ROWS) % 70 / 8}, ",", []),
    ],
    ids=["by itself", "file", "as another", "a point", "a comma", "numbers"],
)  # fmt: skip
def test_numbers_that_can_be_read_in_two_ways_are_named(columns, decimal, said):
    rows = table(**columns)
    rows.attrs = {"decimal": decimal} if decimal else {}
    assert starts(look(rows), *said), look(rows)


def test_that_nothing_is_learned_from_a_text_that_looks_like_an_id_is_told():
    said = look(table(id=range(ROWS), d=[f"k{number}" for number in range(ROWS)]), ids=["id"])
    assert starts(said, "column 'd' looks like an id: 400 different values", "nothing is learned from 'd': texts that ")


@pytest.mark.parametrize(
    ("different", "used"),
    [(201, False), (200, True)],
)
def test_a_text_that_hardly_repeats_is_named_where_it_is_left_out(different, used):
    texts = [
        f"they called for the {number % different}th time, and had a long complaint to make" for number in range(ROWS)
    ]
    rows = table(d=texts)
    left_out = (
        "nothing is learned from 'd': texts that hardly repeat. Derive something from them in features.py, or put"
    )
    assert starts(look(rows), *([] if used else [left_out]))
    prepared = preparation.prepare(None, rows.drop(columns="y"), "binary").fit(
        rows.drop(columns="y"), rows["y"] == "yes"
    )
    assert any("__d" in name for name in prepared.get_feature_names_out()) == used


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([None] * ROWS, ["column 'd' is left out: it has no value"]),
        (["n/a"] * ROWS, ["column 'd' is left out: it has no value"]),
        ([7] * ROWS, ["column 'd' is left out: it has the same value in every row"]),
        ([7.5] * 13 + [1, 2, 3] + [None] * 384, ["column 'd' has a value in 4.0% of the rows only; consider ignore_columns"]),
        ([np.inf, -np.inf] + [1.5] * 398, ["column 'd': 2 infinite values count as missing"]),
        ([f"{number}" for number in range(397)] + ["low", "low", "high"], ["column 'd' counts as text because 3 of 400 values are no number: 'low', 'high'. "]),
        ([f"{number % 90}" for number in range(395)] + ["?"] * 4 + ["many"], ["column 'd' counts as text because 1 of 396 values are no number: 'many'. "]),
        ([f"{number % 90} {number:03d}" for number in range(400)], ["column 'd' counts as text, but its 400 values look like numbers, such as '0 000': "]),
        ([f"{'$€'[number % 2]} {number % 90 / 4}" for number in range(400)], ["column 'd' counts as text, but its 400 values look like numbers, such as '$ 0.0': "]),
        ([f"{number % 90}%" for number in range(400)], []),
        ([f"0{number % 90}" for number in range(400)], []),  # codes
        (["1", "2", "3", "4", "many"] * 80, []),
    ],
    ids=[
        "no value", "marked as missing", "constant", "hardly any", "infinite", "some words", "missing ones do not count",
        "odd thousands", "two currencies", "per cent", "codes", "words and numbers",
    ],
)  # fmt: skip
def test_columns_that_tell_little_or_are_read_otherwise_than_meant_are_named(column, said):
    found = look(table(d=column))
    assert starts(found, *said), found


def test_few_rows_for_many_columns_are_counted():
    rows = pd.DataFrame(np.random.default_rng(1).normal(size=(60, 7)), columns=[*"abcdefg"]).assign(
        y=["yes", "no"] * 30
    )
    assert starts(look(rows), "60 rows are few for 7 columns: less than ten a column. ")
    assert look(rows.drop(columns="a")) == []


@pytest.mark.parametrize(
    "answer",
    [["no"] * 34 + ["yes"] * 6, ["yes", "no"] * 20, [*"pqrs"] * 10, np.arange(40) / 3],
    ids=["one", "two", "four", "numbers"],
)
@pytest.mark.parametrize("count", [20, 31, 40])
@pytest.mark.parametrize(
    "kinds", [["number"], ["text"], ["number", "text", "empty", "same", "date", "rarely"]], ids=str
)
def test_every_odd_table_is_looked_at(answer, count, kinds):
    columns = {
        "number": np.arange(40) % 7 / 3,
        "text": [f"t{number % 9}" for number in range(40)],
        "empty": None,
        "same": 1,
        "date": pd.date_range("2024-01-01", periods=40),
        "rarely": [None, None, 1] + [None] * 37,
    }
    rows = pd.DataFrame({kind: columns[kind] for kind in kinds}, index=range(40)).assign(y=answer)
    rows = pd.concat([rows.head(count - 6), rows.tail(6)]).set_axis([0] * count).assign(id=range(count))
    expected = {"empty", "same"} & {*kinds}
    assert {said.split("'")[1] for said in look(rows, ids=["id"], holdout=0.4) if "is left out" in said} == expected


def test_a_wide_table_takes_seconds():
    generator = np.random.default_rng(1)
    texts = {f"t{number}": [f"v{value}" for value in generator.integers(0, 400, 1000)] for number in range(50)}
    rows = pd.DataFrame(generator.normal(size=(1000, 100)), columns=[f"n{number}" for number in range(100)])
    rows = pd.concat([rows, pd.DataFrame(texts)], axis=1)
    started = time.process_time()
    said = look(rows.assign(y=generator.integers(0, 1000, 1000)))
    assert starts(said, "1000 rows are few for 150 columns")
    assert time.process_time() - started < 10


def test_weights_that_leave_few_rows_are_told_of_and_nothing_else_of_their_column():
    """It would look like an id, an entity, and a leak."""
    even, uneven = 5.0 + np.arange(ROWS), np.exp(4 * np.arange(ROWS) / ROWS)
    assert look(table(w=even), weight="w") == []
    assert look_for_ids(table(w=even), weight="w") == look_for_ids(table())
    many = look(table(w=np.repeat([1, 2, 3, 4, 5] * 20, ROWS // 100)), weight="w")
    assert many == []
    (said,) = look(table(w=uneven**2), weight="w")
    effective = np.sum(uneven**2) ** 2 / np.sum(uneven**4)
    assert said.startswith(f"column 'w': the weights are so uneven that {ROWS} rows tell as much as {effective:.0f} of")
    assert look(table(w=uneven), weight="w") == []
