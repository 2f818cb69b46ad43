"""The model card of real fitted models, read back: what stands where, and that nothing in a table can bend it."""

import dataclasses
import html.parser
import re

import numpy as np
import pandas as pd
import pytest
from conftest import learn
from markdown_it import MarkdownIt
from scipy import stats
from sklearn import metrics as sk
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline

from baton.handover import card, effects, profile
from baton.training import evaluation, preparation

SECTIONS = [
    "Model details", "Intended use", "Out-of-scope use", "Training data", "Evaluation data", "Metrics", "Results by class",
    "Results by slice", "Calibration", "Features and their effects", "How it was chosen", "Caveats and recommendations",
    "Environment",
]  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>",
    "a|b",
    "`tick`",
    "**bold** _it_",
    "[l](javascript:x)",
    "![i](http://e.x/i.png)",
    "\\|",
    "$x$ &lt;",
]


class Page(html.parser.HTMLParser):
    """The tags of a page with their attributes, and the text of its table cells."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.cells, self.within = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "td":
            self.within = True
            self.cells.append("")

    def handle_endtag(self, tag):
        self.within = self.within and tag != "td"

    def handle_data(self, data):
        if self.within:
            self.cells[-1] += data


def decide(asked, reached: dict, **keys) -> dict:
    """A decision as `Verdict.to_dict` says it, of a first champion, with what differs."""
    found = {metric: {"value": value, "low": value - 0.05, "high": value + 0.05} for metric, value in reached.items()}
    return {
        "decision": "promoted", "reason": "It is better than the baseline.", "choice": "lr has the best mean, 0.8",
        "policy": {"promote": "superior", "confidence": 0.95, "margin": 0.0, "at_least": {"AUC": 0.75}},
        "task": asked.task, "metric": asked.metric, "time": "2026-11-26T07:30:00+00:00", "git_commit": "1d839c9",
        "data_digest": "abc", "challenger": {"candidate": "lr", "model": "lr, C=1", "run_id": "564a"}, "champion": None,
        "rows": 200, "rows_digest": "0f3b", "holdout_rows": 200, "seen": 0, "looks": 0, "scores": {"challenger": found},
        "leads": {}, "slices": [], "newer": None, "serves": "all", "serves_reason": "final_fit: all",
    } | keys  # fmt: skip


def make(folder, table: pd.DataFrame, estimator=None, at: float | None = None, weight: str | None = None, **keys):
    """Fit a model of the first 400 rows of a table and write its card: Markdown, page, truth and predictions.

    `at` is its threshold, and `weight` the column that weighs the rows."""
    asked = dataclasses.replace(learn(table, weight=weight), threshold=at)
    estimator = estimator or (LogisticRegression() if asked.labels else LinearRegression())
    training, holdout = table[:400], table[400:]
    X = asked.read_features(training)
    pipeline = make_pipeline(preparation.prepare(None, X, asked.task), estimator).fit(X, training["y"])

    def predict(X):
        if not asked.labels:
            return pipeline.predict(X)
        return pipeline.predict_proba(X)[:, [[*pipeline.classes_].index(label) for label in asked.labels]]

    predictions, truth = predict(asked.read_features(holdout)), asked.encode(holdout["y"]).to_numpy()
    described = profile.describe(asked.read_features(table), table["y"], predictions, asked)
    facts = {
        "train_data": "t.csv",
        "rows": len(table) + 7,
        "without_target": 7,
        "training": 400,
        "holdout": len(holdout),
        "holdout_share": 0.3333,
        "data_digest": "abc",
    }
    decision = decide(asked, evaluation.score(truth, predictions, asked.task), **keys)
    explanation = effects.explain(training, holdout, asked, predict)
    card.write(folder, asked, decision, described, facts, explanation, holdout, predictions)
    return (folder / "card.md").read_text(), (folder / "card.html").read_text(), truth, predictions


def table(seed: int = 0, **columns) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    rows = pd.DataFrame({"x": generator.normal(size=600), "z": generator.normal(size=600)} | columns)
    return rows.assign(y=np.where(rows["x"] + generator.normal(size=600) > 0.5, "yes", "no"))


def section(text: str, title: str) -> str:
    return re.search(rf"^## {title}$(.*?)(?=^## |\Z)", text, re.M | re.S)[1]


def cells(text: str) -> list[list[str]]:
    """The tables of some Markdown, without their heads' lines."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [row for row in rows if set(row) != {"---"}]


def test_the_figures_of_a_card_are_those_of_the_model_as_judged(tmp_path):
    slices = [
        {
            "column": "plan",
            "value": "gold",
            "rows": 60,
            "challenger": 0.71,
            "champion": 0.78,
            "lead": -0.07,
            "low": -0.1,
            "high": -0.02,
            "worse": True,
        }
    ]
    lead = {"value": 0.0362, "low": 0.0062, "high": 0.0662, "bound": 0.0111, "detectable": 0.04, "method": "DeLong"}
    text, page, truth, predictions = make(
        tmp_path, table(), champion={"version": "3", "run_id": "a"}, slices=slices, leads={"champion": lead}, looks=2,
    )  # fmt: skip
    assert re.findall(r"^## (.*)$", text, re.M) == SECTIONS == re.findall(r"<h2>(.*?)</h2>", page)
    assert "It learned from 400 training rows and never saw the 200 holdout rows." in text
    assert "fitted anew, settings unchanged, on all 600 rows, the holdout included (final\\_fit: all)" in text

    auc = sk.roc_auc_score(truth, predictions[:, 1])
    assert ["**AUC**", "higher", f"{auc:.4f} ({auc - 0.05:.4f} to {auc + 0.05:.4f})"] in cells(section(text, "Metrics"))
    _, no, yes, *_ = cells(section(text, "Results by class"))
    said = predictions.argmax(axis=1)
    assert yes[:4] == ["yes", f"{(table()['y'] == 'yes').mean():.1%}", str(truth.sum()), str(said.sum())]
    assert yes[4].startswith(f"{sk.precision_score(truth, said):.1%} (")
    assert no[5].startswith(f"{sk.recall_score(truth, said, pos_label=0):.1%} (")
    assert cells(section(text, "Results by slice"))[1] == [
        "plan",
        "gold",
        "60",
        "0.71",
        "0.78",
        "-0.07 (-0.1 to -0.02)",
        "**worse**",
    ]
    assert "worse than the champion was for plan = gold" in section(text, "Caveats and recommendations")
    features = cells(section(text, "Features and their effects"))
    assert [row[1] for row in features[1:3]] == ["x", "z"]
    moved = [float(row[2]) for row in features if row[0] == "x"]
    assert moved == sorted(moved)
    assert moved[-1] - moved[0] > 0.7
    chosen = section(text, "How it was chosen")
    assert cells(chosen)[1] == ["champion, version 3", "+0.0362 (0.0062 to 0.0662)", "0.0111", "0.04", "DeLong"]
    assert "Among the candidates, cross-validated on the training rows**: lr has the best mean, 0.8\n" in chosen
    assert "promote superior, confidence 0.95, margin 0.0, AUC at least 0.75" in chosen
    assert "7 without a target" in section(text, "Training data")


def test_slices_of_a_first_champion_are_shown_beside_the_baselines(tmp_path):
    part = {"column": "plan", "value": "gold", "rows": 60, "challenger": 0.42, "baseline": 0.5, "lead": -0.08}
    text, *_ = make(tmp_path, table(), slices=[part | {"low": -0.1, "high": -0.06, "worse": True}])
    head, row = cells(section(text, "Results by slice"))
    assert (head[4], row[3:6]) == ("Baseline", ["0.42", "0.5", "-0.08 (-0.1 to -0.06)"])
    assert "It is worse than the baseline is for plan = gold." in section(text, "Caveats and recommendations")


def test_a_card_says_so_where_what_serves_is_what_was_judged(tmp_path):
    text, *_ = make(tmp_path, table(), serves="training", serves_reason="the refit differs too much")
    assert "**What serves** is the same model (the refit differs too much)." in text
    assert "fitted anew" not in text
    assert "there was none; it had to beat the baseline" in text


def test_a_card_says_which_rows_were_scored_and_how_often_the_champion_was_compared_on_them(tmp_path):
    scores = {"challenger": {"AUC": {"value": 0.8}}, "champion": {"AUC": {"value": 0.7}}}
    compared = {
        "rows": 150,
        "holdout_rows": 200,
        "seen": 50,
        "champion": {"version": "3", "run_id": "a"},
        "scores": scores,
    }
    text, *_ = make(tmp_path, table(), looks=1, **compared)
    assert "- **Scored**: 150 of 200; those compared had learned from 50 others" in text
    assert cells(section(text, "Metrics")) == [
        ["Metric", "Better is", "This model", "Champion then, version 3"], ["**AUC**", "higher", "0.8", "0.7"],
    ]  # fmt: skip
    assert "**Looks**" not in text
    text, *_ = make(tmp_path, table(), looks=2, **compared)
    assert "**Looks**: the champion has been compared on this holdout 2 times" in text


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return make(tmp_path_factory.mktemp("card"), table())


def test_what_only_a_person_can_say_is_left_to_one_and_marked(usual):
    text, page, *_ = usual
    for title in ("Intended use", "Out-of-scope use", "Caveats and recommendations"):
        assert section(text, title).count("> **To be written by a person.**") == 1
    marked = [attributes for tag, attributes in Page(page).tags if tag == "blockquote"]
    assert marked.count({"class": "person"}) == 3
    assert marked.count({}) == 1  # which figures belong to which


@pytest.mark.parametrize("way", ["page", "markdown"])
def test_names_and_values_are_shown_as_they_are(tmp_path, way):
    """By our own page, and by another reader of the Markdown that lets HTML through."""
    rows = table(**{name: np.random.default_rng(1).choice(HOSTILE, 600) for name in HOSTILE[:2]})
    rows = rows.rename(columns={"x": "line\nbreak \u202eback"})
    rows["y"] = pd.qcut(rows.iloc[:, 0], len(HOSTILE), labels=HOSTILE).astype(str)
    text, page, *_ = make(tmp_path, rows)
    other = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    read = Page(page if way == "page" else other)
    assert {*HOSTILE, "line break back"} <= {*read.cells}  # the classes have a table, and so have the columns
    assert {tag for tag, _ in read.tags} & {"script", "a", "em", "iframe"} == set()
    for tag, attributes in read.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "img" or attributes["src"].startswith("data:image/png;base64,")
    assert [tag for tag, _ in read.tags].count("h2") == len(SECTIONS)


def test_a_page_needs_nothing_else(usual):
    _, page, *_ = usual
    read = Page(page)
    pictures = [attributes["alt"] for tag, attributes in read.tags if tag == "img"]
    assert pictures == [
        "Calibration: probability of yes against share of yes",
        "Importance of the columns",
        "Effect of x",
    ] + ["Effect of z"] * (len(pictures) - 3)
    assert not {tag for tag, _ in read.tags} & {"script", "link", "iframe"}
    assert re.findall(r"(?:https?:)?//[a-z]", re.sub(r"base64,[^\"]*", "", page)) == []
    assert len(page) < 500_000


def test_a_card_says_how_many_rows_the_intervals_hold(tmp_path):
    rows = table().assign(y=lambda rows: rows["x"])
    found = {
        "level": 0.9, "rows": 1200, "coverage": 0.912, "low": 0.8946, "high": 0.9268, "below": 0.03, "above": 0.058,
        "width": 24.5, "reach": 12.25, "scale": "plain",
    }  # fmt: skip
    text, *_ = make(tmp_path, rows, interval=found)
    said = section(text, "Intervals").strip()
    assert said == (
        "Intervals of 90% hold 91.2% (95% interval 89.5% to 92.7%) of 1,200 holdout rows; 3.0% lie below, 5.8% above."
        " Their mean width is 24.5: the prediction minus and plus 12.25. That is a share of all such rows, not of each"
        " kind of row."
    )
    text, *_ = make(tmp_path, rows, interval=found | {"level": 0.975, "reach": np.log(1.5), "scale": "log"})
    said = section(text, "Intervals").strip()
    assert said.startswith("Intervals of 97.5% hold")
    assert "is 24.5: from the prediction divided by 1.5 to the prediction times 1.5." in said


def test_a_number_and_many_classes_have_cards_too(tmp_path):
    rows = table()
    policy = {"promote": "superior", "at_least": {"R2": 0.1, "MAE": 90}, "at_most": {"megabytes": 5}}
    text, _, truth, predictions = make(tmp_path, rows.assign(y=1000 * rows["x"] + rows["z"]), policy=policy)
    assert "promote superior, R2 at least 0.1, MAE at most 90, megabytes at most 5\n" in text
    assert "It predicts y, a number. R2 1 (0.95 to 1.05) on 200 holdout rows." in text
    errors = cells(section(text, "Results by size of the prediction"))
    assert [row[1] for row in errors[1:]] == ["40"] * 5
    assert "## Intervals" not in text  # of a model that keeps no residuals
    text, _, truth, predictions = make(tmp_path, rows.assign(y=rows["x"] + rows["z"] ** 2))
    errors = cells(section(text, "Results by size of the prediction"))
    error = predictions - truth
    last = error[np.argsort(predictions)[-40:]]
    assert [*map(float, errors[-1][2:])] == pytest.approx([np.abs(last).mean(), last.mean()], rel=0.01)
    told = re.search(r"off by less than (\S+), nine of ten by less than (\S+)\. ", text)
    assert [*map(float, told.groups())] == pytest.approx([*np.quantile(np.abs(error), [0.5, 0.9])], rel=0.01)
    classes = pd.qcut(rows["x"] + rows["z"], 40, labels=[f"class {number}" for number in range(40)]).astype(str)
    text, *_ = make(tmp_path, rows.assign(y=classes), scores={})
    assert len(cells(section(text, "Results by class"))) == 31
    assert "nothing was decided on them, so there are no intervals" in section(text, "Metrics")
    assert "Fewer than 30 holdout rows of class 0" in text


def test_of_many_classes_the_most_frequent_are_shown(tmp_path):
    code = np.arange(600) % 31
    code = np.where((code == 7) & (np.arange(600) % 2 == 0), 0, code)  # class 7 is the rarest
    text, *_ = make(tmp_path, table().assign(y=[f"class {one}" for one in code]), DummyClassifier())
    shown = [row[0] for row in cells(section(text, "Results by class"))[1:]]
    assert {*shown} == {f"class {one}" for one in range(31)} - {"class 7"}


def test_a_model_that_answers_every_row_alike_has_a_card(tmp_path):
    text, *_ = make(tmp_path, table(), DummyClassifier(strategy="uniform"))
    calibration, share = section(text, "Calibration"), (table()["y"][400:] == "yes").mean()
    _, row = cells(calibration)
    assert (row[0], row[2], share < 0.4) == ("0.5", "200", True)
    assert row[1].startswith(f"{share:.4g} (")
    assert "in 1 of 1 bins the prediction lies outside the 95% interval" in calibration
    assert "No column matters by itself" in text


def test_a_limit_is_the_least_of_a_score_and_the_most_of_an_error(tmp_path):
    policy = {"promote": "superior", "at_least": {"AUC": 0.75, "Log Loss": 0.5}}
    text, *_ = make(tmp_path, table(), policy=policy)
    assert "promote superior, AUC at least 0.75, Log Loss at most 0.5" in section(text, "How it was chosen")


def test_calibration_has_bins_of_equal_size_with_intervals():
    generator = np.random.default_rng(2)
    asked = learn(table())
    chance = generator.random(1000)
    truth = (generator.random(1000) < chance**2).astype(int)  # too high by up to 0.25
    bins = card.calibrate(truth, np.column_stack([1 - chance, chance]), asked)
    assert bins["rows"].tolist() == [100] * 10
    assert bins["predicted"].is_monotonic_increasing
    fifth = truth[np.argsort(chance)][400:500]
    assert bins["observed"].iloc[4] == fifth.mean()
    wilson = stats.binomtest(int(fifth.sum()), 100).proportion_ci(method="wilson")
    assert (bins["low"].iloc[4], bins["high"].iloc[4]) == (wilson.low, wilson.high)
    assert (bins["predicted"] - bins["observed"]).iloc[4] == pytest.approx(0.45 - 0.45**2, abs=0.1)

    several = learn(table().assign(y=np.array([*"abc"])[np.arange(600) % 3]))
    likely = np.array([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7], [0.7, 0.1, 0.2]] * 10)
    bins = card.calibrate(np.array([0, 1, 2, 1] * 10), likely, several)
    assert (bins["predicted"].tolist(), bins["observed"].tolist()) == ([pytest.approx(0.7)], [0.75])

    number = learn(table().assign(y=np.arange(600) / 7))
    bins = card.calibrate(
        np.array([1.0, 2.0, 3.0, 10.0, 20.0, 30.0]), np.array([2.0, 2.0, 2.1, 19.0, 20.0, 21.0]), number
    )
    assert bins["observed"].tolist() == [2, 20]
    assert bins["high"].iloc[0] == pytest.approx(2 + stats.t.ppf(0.975, 2) / np.sqrt(3))


@pytest.mark.parametrize(
    ("at", "how", "said"),
    [
        (None, 0.5, "the likeliest"),
        (0.25, "auto", "yes where its probability is 0.25 or more, else no: F1 is best there, out of fold"),
        (0.25, 0.25, "yes where its probability is 0.25 or more, else no: env.yaml says so"),
        (
            0.25,
            {"cost": {"miss": 10, "alarm": 2.5}},
            "yes where its probability is 0.25 or more, else no: the errors cost least there, out of fold, at 10 for a miss"
            " and 2.5 for a false alarm",
        ),
        (0.25, None, "yes where its probability is 0.25 or more, else no"),
    ],
)
def test_a_card_names_the_threshold_and_the_errors_at_it(tmp_path, at, how, said):
    text, _, truth, predictions = make(tmp_path, table(), at=at, threshold=how, scores={})
    assert re.search(r"Threshold.*", section(text, "Model details"))[0].endswith(said)
    called = predictions[:, 1] >= (at or 0.5)
    of_class = section(text, "Results by class")
    assert f"The predicted class is {said.partition(':')[0]}." in of_class
    *_, head, no, yes = cells(of_class)
    assert head == ["It was", "predicted no", "predicted yes"]
    counted = [[str(one) for one in line] for line in sk.confusion_matrix(truth, called)]
    assert [no, yes] == [["no", *counted[0]], ["yes", *counted[1]]]
    assert cells(of_class)[2][3:5] == [str(called.sum()), cells(of_class)[2][4]]
    assert cells(of_class)[2][4].startswith(f"{sk.precision_score(truth, called):.1%} (")
    reached = {row[0]: row[2] for row in cells(section(text, "Metrics"))}  # nothing was compared
    assert float(reached["F1"]) == pytest.approx(sk.f1_score(truth, called), abs=1e-4)


def test_a_card_says_what_is_weighted_and_what_is_not(tmp_path):
    weights = np.random.default_rng(1).lognormal(size=600)
    text, _, truth, predictions = make(tmp_path, table(w=weights), weight="w", scores={})
    assert "- **Weights**: w says how much each row counts" in text
    metrics = section(text, "Metrics")
    expected = evaluation.score(truth, predictions, "binary", weights=weights[400:])
    plain = evaluation.score(truth, predictions, "binary")
    reached = {row[0].strip("*"): row[2] for row in cells(metrics)[1:]}
    assert float(reached["AUC"]) == pytest.approx(expected["AUC"], rel=1e-3) != pytest.approx(plain["AUC"], rel=1e-3)
    assert " Rows are weighted by w, here and in all leads." in metrics
    assert "the results by class or size, and the calibration below the metrics" in text
    other = tmp_path / "other"
    other.mkdir()
    assert "eight" not in section(make(other, table())[0], "Metrics")


def test_a_card_tells_the_champions_score_on_newer_rows(tmp_path):
    newer = {"rows": 40, "value": 0.71, "low": 0.66, "high": 0.76}
    text, *_ = make(tmp_path, table(), champion={"version": "3", "run_id": "a"}, newer=newer)
    told = "**Champion on newer rows**: AUC 0.71 (0.66 to 0.76) on 40 rows that it was not judged on"
    assert told in section(text, "How it was chosen")
    assert "newer rows" not in make(tmp_path, table())[0]


def test_a_lead_without_an_interval_or_of_nothing_is_shown_without(tmp_path):
    lead = {"value": 0.0, "low": np.nan, "high": np.nan, "bound": np.nan, "detectable": np.nan, "method": "DeLong"}
    text, *_ = make(tmp_path, table(), leads={"baseline": lead})
    assert cells(section(text, "How it was chosen"))[1] == ["baseline", "0", "–", "–", "DeLong"]


@pytest.mark.parametrize(("rare", "said"), [(29, True), (30, False)])
def test_fewer_than_thirty_rows_of_a_class_say_little(tmp_path, rare, said):
    rows = table()
    rows["y"] = np.where(np.arange(600) % 2, "no", "yes")
    rows.loc[400:, "y"] = ["yes"] * rare + ["no"] * (200 - rare)
    text, *_ = make(tmp_path, rows)
    assert ("Fewer than 30 holdout rows of yes" in section(text, "Caveats and recommendations")) == said
