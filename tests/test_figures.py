"""What is drawn, read back from the figures: bars, lines and labels, for every question and every kind of column."""

import dataclasses
import io
import itertools
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import learn, settings
from matplotlib.colors import to_hex
from matplotlib.text import Text
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve
from sklearn.dummy import DummyClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression

from baton import figures
from baton.data import contract
from baton.training.study import Trial

ROWS = 60
COLUMNS = ["number", "text", "constant", "empty", "date", "blank"]
ANSWERS = {
    "binary": [0, 0, 1] * 20,
    "floats": [0.0, 0.0, 1.0] * 20,
    "booleans": [False, False, True] * 20,
    "yes/no": ["no", "yes", "no"] * 20,
    "leaves/stays": ["stays", "leaves", "stays"] * 20,
    "multiclass": ["a", "b", "c", "c"] * 15,
    "regression": (np.arange(ROWS) * 0.37) % 5,
}


@pytest.fixture(autouse=True)
def _nothing_stays_open():
    """A worker runs notebook after notebook, and every figure left open would stay in its memory."""
    before = plt.get_fignums()
    yield
    assert plt.get_fignums() == before


def ask(rows: pd.DataFrame, target, task: str = "auto") -> contract.Contract:
    return learn(rows.assign(y=target), task=task)


def table(kind: str = "binary"):
    """Rows as a contract gives them, their target, and the contract: one column of each awkward kind."""
    generator = np.random.default_rng(4)
    raw = pd.DataFrame(
        {
            "number": generator.normal(size=ROWS),
            "text": generator.choice(["u", "v", "w"], ROWS, p=[0.6, 0.3, 0.1]),
            "constant": 1.0,
            "empty": np.nan,
            "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(ROWS) // 20, "D"),
            "blank": pd.Series([None] * ROWS, dtype=object),
        },
        index=range(100, 100 + ROWS),
    )
    raw.loc[generator.random(ROWS) < 0.25, "number"] = np.nan
    raw.loc[generator.random(ROWS) < 0.25, "text"] = None
    target = pd.Series(ANSWERS[kind], index=raw.index, name="y")
    # When the contract was learned, the dull columns had something to tell.
    asked = ask(raw.assign(constant=range(ROWS), empty=range(ROWS), blank=[*"uvw"] * 20), target)
    return asked.read_features(raw), asked.read_target(raw.assign(y=target)), asked


def answers(asked: contract.Contract) -> np.ndarray:
    """Random predictions, in the shape that the task has."""
    generator = np.random.default_rng(6)
    classes = len(asked.labels)
    return generator.dirichlet(np.ones(classes), ROWS) if classes else generator.normal(size=ROWS)


def widths(axes) -> list:
    return [bar.get_width() for bar in axes.patches]


def heights(axes) -> list:
    return [bar.get_height() for bar in axes.patches]


def texts(labels) -> list:
    return [label.get_text() for label in labels]


def names(axes) -> list:
    return texts(axes.get_yticklabels())


def shown(figure) -> list:
    return [axes for axes in figure.axes if axes.axison]


@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_every_figure_of_an_awkward_table_is_drawn(kind, tmp_path):
    rows, target, asked = table(kind)
    drawn = {
        "target_balance": figures.target_balance(target, asked),
        "missing_values": figures.missing_values(rows),
        "distributions": figures.distributions(rows, target, asked),
        "columns": figures.columns(rows),
        "correlations": figures.correlations(rows, target, asked),
        **figures.evaluation_figures(asked.encode(target), answers(asked), asked),
    }
    figures.save(drawn, tmp_path / "figures")
    assert {path.stem for path in (tmp_path / "figures").glob("*.png")} == set(drawn)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_alone_is_drawn_with_bars_that_have_a_length(kind, column):
    rows, target, asked = table(kind)
    with np.errstate(invalid="raise"):
        [axes] = figures.distributions(rows[[column]], target, asked).axes
    assert np.isfinite([*widths(axes), *heights(axes), *axes.get_xlim()]).all()


def test_a_class_that_has_no_value_in_a_column_has_no_bars_there():
    rows, target, asked = table("binary")
    with np.errstate(invalid="raise"):
        figure = figures.distributions(rows[["number"]].where(target == 0), target, asked)
    assert np.isfinite(heights(figure.axes[0])).all()


@pytest.mark.parametrize(
    ("kind", "bars", "said"),
    [
        ("binary", {"0": 40, "1": 20}, [" 40  (66.7%)", " 20  (33.3%)"]),
        ("floats", {"0": 40, "1": 20}, [" 40  (66.7%)", " 20  (33.3%)"]),
        ("booleans", {"False": 40, "True": 20}, [" 40  (66.7%)", " 20  (33.3%)"]),
        ("yes/no", {"no": 40, "yes": 20}, [" 40  (66.7%)", " 20  (33.3%)"]),
        ("leaves/stays", {"stays": 40, "leaves": 20}, [" 40  (66.7%)", " 20  (33.3%)"]),
        ("multiclass", {"a": 15, "b": 15, "c": 30}, [" 15  (25.0%)", " 15  (25.0%)", " 30  (50.0%)"]),
    ],
)
def test_the_balance_of_classes_is_counted_in_the_order_of_the_labels(kind, bars, said):
    _, target, asked = table(kind)
    [axes] = figures.target_balance(target, asked).axes
    assert dict(zip(names(axes), widths(axes), strict=True)) == bars
    assert texts(axes.texts) == said
    assert axes.get_title() == "y: 60 training rows"


def test_the_distribution_of_a_number_counts_every_row():
    _, target, asked = table("regression")
    [axes] = figures.target_balance(target, asked).axes
    assert heights(axes) == np.histogram(target, bins=40)[0].tolist()


def test_missing_values_are_shown_in_percent_the_most_at_the_top():
    rows = pd.DataFrame(
        {"half": [1, None, 2, None], "whole": [1, 2, 3, 4], "blank": [None] * 4, "text": ["a", "b", "c", None]}
    )
    [axes] = figures.missing_values(rows).axes
    assert dict(zip(names(axes), widths(axes), strict=True)) == {"whole": 0, "text": 25, "half": 50, "blank": 100}
    assert names(axes) == ["whole", "text", "half", "blank"]
    assert axes.get_xlim() == (0, 100)


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_each_column_has_its_panel_and_each_class_its_colour(kind):
    rows, target, asked = table(kind)
    figure = figures.distributions(rows, target, asked)
    assert [axes.get_title() for axes in shown(figure)] == COLUMNS
    [legend] = figure.legends
    assert texts(legend.get_texts()) == [f"y = {label}" for label in asked.labels]
    colours = [to_hex(patch.get_facecolor()) for patch in legend.get_patches()]
    assert colours == figures.COLOURS[: len(asked.labels)]


@pytest.mark.parametrize("kind", ["binary", "leaves/stays", "multiclass"])
def test_a_number_is_drawn_as_the_density_of_each_class_over_common_bins(kind):
    rows, target, asked = table(kind)
    axes = figures.distributions(rows, target, asked).axes[0]
    values = rows["number"].dropna()
    edges = np.histogram_bin_edges(values, bins=30)
    expected = [
        np.histogram(values[target.loc[values.index] == label], edges, density=True)[0] for label in asked.labels
    ]
    np.testing.assert_allclose(heights(axes), np.concatenate(expected))


@pytest.mark.parametrize("kind", ["binary", "leaves/stays", "multiclass"])
def test_a_text_is_drawn_as_shares_of_each_class(kind):
    rows, target, asked = table(kind)
    axes = figures.distributions(rows, target, asked).axes[1]
    order = rows["text"].value_counts().index
    expected = [
        rows["text"][target == label].value_counts(normalize=True).reindex(order, fill_value=0)
        for label in asked.labels
    ]
    np.testing.assert_allclose(widths(axes), np.concatenate(expected))
    assert names(axes) == [*order]


def test_a_number_is_drawn_against_a_target_that_is_one():
    rows, target, asked = table("regression")
    figure = figures.distributions(rows[["number", "constant"]], target, asked)
    [dots] = figure.axes[0].lines
    np.testing.assert_array_equal(dots.get_xdata(), rows["number"])
    np.testing.assert_array_equal(dots.get_ydata(), target)
    assert figure.axes[0].get_ylabel() == "y"
    assert figure.legends == []


def test_a_text_is_counted_where_the_target_is_a_number():
    rows, target, asked = table("regression")
    axes = figures.distributions(rows[["number", "text"]], target, asked).axes[1]
    counts = rows["text"].value_counts()
    assert dict(zip(names(axes), widths(axes), strict=True)) == counts.to_dict()
    assert texts(axes.texts)[0] == f" {counts.iloc[0] / 60:.1%}"


def test_columns_are_counted_whatever_the_target():
    rows, _, _ = table()
    figure = figures.columns(rows)
    assert [axes.get_title() for axes in shown(figure)] == COLUMNS
    sums = [sum(heights(axes)) for axes in (figure.axes[0], figure.axes[2])]
    assert sums == [rows["number"].notna().sum(), ROWS]
    counts = rows["text"].value_counts()
    assert dict(zip(names(figure.axes[1]), widths(figure.axes[1]), strict=True)) == counts.to_dict()
    assert widths(figure.axes[3]) == widths(figure.axes[5]) == []


def test_of_many_columns_a_readable_number_is_shown():
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 30)), columns=[f"c{number}" for number in range(30)])
    assert [axes.get_title() for axes in shown(figures.columns(rows))] == [f"c{number}" for number in range(24)]
    target = pd.Series([0, 1] * 10, name="y")
    correlated = names(figures.correlations(rows, target, ask(rows, target)).axes[0])
    assert (len(correlated), correlated[-1]) == (24, "y (target)")


def test_of_many_values_of_a_text_the_most_frequent_are_shown():
    rows = pd.DataFrame(
        {"town": [f"a town with quite a long name {number}" for number in range(30) for _ in range(number)]}
    )
    [axes] = figures.columns(rows).axes
    assert widths(axes) == [29, 28, 27, 26, 25, 24, 23, 22]
    assert [bar.get_y() + bar.get_height() / 2 for bar in axes.patches] == pytest.approx([*range(8)])
    assert names(axes) == [f"a town with qui…{number}" for number in range(29, 21, -1)]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["short", "a long name without a like"], ["short", "a long name witho…"]),
        (["product_category_small", "product_category_large"], ["product_cate…small", "product_cate…large"]),
        (
            ["https://host/home/1/index.html", "https://host/home/2/index.html"],
            ["https:/…1/index.h…", "https:/…2/index.h…"],
        ),
        (["x" * 39 + "1", "x" * 39 + "2"], ["x" * 11 + "…xxxxx1", "x" * 11 + "…xxxxx2"]),
        (["the same beginning", "the same beginning and more"], ["the same beginning", "the same beginnin…"]),
        (["the same beginnings", "the same beginnings and more"], ["the same beginnin…", "the sam…nings and…"]),
    ],
)
def test_long_names_that_begin_alike_keep_the_part_that_differs(values, labels):
    lacking = pd.DataFrame({name: [None, 1] for name in values})
    rows = pd.DataFrame({"text": np.repeat(values, [3, 2])})
    assert names(figures.columns(rows).axes[0]) == labels
    assert names(figures.missing_values(lacking).axes[0]) == values  # there is room for 40 characters


def classes(count: int):
    """So many classes, the later ones the more frequent, with a column that tells nothing of them."""
    target = pd.Series([f"c{number:02d}" for number in range(count) for _ in range(number + 3)], name="y")
    rows = pd.DataFrame({"a": np.arange(len(target)) % 7 / 3})
    return rows, target, ask(rows, target)


def test_of_many_classes_the_most_frequent_are_shown():
    rows, target, asked = classes(40)
    often = [f"c{number:02d}" for number in range(16, 40)]
    [axes] = figures.target_balance(target, asked).axes
    assert dict(zip(names(axes), widths(axes), strict=True)) == {label: int(label[1:]) + 3 for label in often}
    assert axes.get_title() == "y: 900 training rows\nthe 24 most frequent of 40 classes"
    [legend] = figures.distributions(rows, target, asked).legends
    assert texts(legend.get_texts()) == [f"y = {label}" for label in often[-8:]]
    codes = asked.encode(target)
    drawn = figures.evaluation_figures(codes, np.eye(40)[codes], asked)
    axes = drawn["confusion"].axes[0]
    assert names(axes) == often
    assert axes.images[0].get_array().diagonal().tolist() == [int(label[1:]) + 3 for label in often]
    assert [text[:3] for text in texts(drawn["roc"].axes[0].get_legend().get_texts())] == often[-8:]


def test_of_many_columns_those_that_lack_most_are_shown():
    rows = pd.DataFrame({f"c{number}": [None] * number + [1] * (1000 - number) for number in range(1000)})
    [axes] = figures.missing_values(rows).axes
    assert names(axes) == [f"c{number}" for number in range(976, 1000)]


@pytest.mark.parametrize("count", [2, 3])
def test_rows_that_lack_a_class_are_drawn_for_the_others(count):
    """As a fold, or rows of one year, may."""
    _, target, asked = classes(count)
    codes = asked.encode(target)[target != "c01"]
    drawn = figures.evaluation_figures(codes, np.eye(count)[codes] * 0.8 + 0.2 / count, asked)
    assert names(drawn["confusion"].axes[0]) == asked.labels
    drawn_classes = [text[:3] for text in texts(drawn["precision_recall"].axes[0].get_legend().get_texts())]
    assert drawn_classes == {2: ["c00"], 3: ["c00", "c02"]}[count]


ODD = ["a b", "[x]", "a<b", 'q"r', "{z}", "ü漢", "$x_1$", "_under", "line\nbreak", "t" * 300, "y (target)"]


@pytest.mark.filterwarnings("ignore:Glyph")
def test_names_and_values_may_be_odd_or_long(tmp_path):
    generator = np.random.default_rng(1)
    rows = pd.DataFrame(
        {
            name: generator.normal(size=60) if number % 2 else generator.choice(["$a", "_b", "c" * 300], 60)
            for number, name in enumerate(ODD)
        }
    )
    target = pd.Series(["$p$", "_q", "r{" * 100] * 20, name="y")
    asked = ask(rows, target)
    drawn = {
        "balance": figures.target_balance(target, asked),
        "missing": figures.missing_values(rows),
        "distributions": figures.distributions(rows, target, asked),
        "columns": figures.columns(rows),
        "correlations": figures.correlations(rows, target, asked),
        "predictions": figures.predictions(
            pd.DataFrame({"prediction": target, "probability_$p$": 0.5, "probability__q": 0.2}), None
        ),
        **figures.evaluation_figures(asked.encode(target), generator.dirichlet(np.ones(3), 60), asked),
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="constrained_layout not applied")
        figures.save(drawn, tmp_path / "figures")
    assert len([*(tmp_path / "figures").iterdir()]) == len(drawn)


@pytest.mark.parametrize("kind", ["binary", "regression"])
@pytest.mark.parametrize("ends", [["2020-01-01", "9999-12-31"], ["0001-01-01", "2020-01-01"], ["9999-12-31"]])
def test_a_date_that_means_for_ever_is_drawn(tmp_path, kind, ends):
    rows = pd.DataFrame({"until": pd.Series(ends * ROWS)[:ROWS].astype("datetime64[us]")})
    target = pd.Series(ANSWERS[kind], name="y")
    drawn = {
        "distributions": figures.distributions(rows, target, ask(rows.assign(a=range(ROWS)), target)),
        "columns": figures.columns(rows),
    }
    figures.save(drawn, tmp_path / "figures")
    for figure in drawn.values():
        first, last = figure.axes[0].get_xlim()
        assert first < last
        assert texts(figure.axes[0].get_xticklabels()) == ends


@pytest.mark.parametrize("kind", ["binary", "regression"])
@pytest.mark.parametrize(
    ("step", "labels"),
    [
        ("0s", ["2025-12-01"]),
        ("1D", ["2025-12-01", "2026-01-29"]),
        ("20min", ["2025-12-01\n00:00:00", "2025-12-01\n19:40:00"]),
        ("90min", ["2025-12-01", "2025-12-04"]),
    ],
)
def test_a_date_axis_names_the_first_and_the_last_date_and_nothing_else(kind, step, labels):
    dates = pd.Series(pd.Timestamp("2025-12-01") + pd.Timedelta(step) * np.arange(ROWS)).sample(frac=1, random_state=0)
    target = pd.Series(ANSWERS[kind], index=dates.index, name="y")
    rows = pd.DataFrame({"when": dates})
    for figure in (figures.distributions(rows, target, ask(rows.assign(a=range(ROWS)), target)), figures.columns(rows)):
        figure.draw_without_rendering()
        assert texts(figure.axes[0].get_xticklabels()) == labels
        assert figure.axes[0].xaxis.get_offset_text().get_text() == ""


def test_correlations_are_spearmans_and_blank_where_there_is_none():
    rows, target, asked = table("binary")
    axes, _ = figures.correlations(rows, target, asked).axes
    numbers = rows[["number", "constant", "empty"]].assign(y=target)
    expected = numbers.corr("spearman").to_numpy()
    np.testing.assert_allclose(np.ma.filled(axes.images[0].get_array(), np.nan), expected)
    assert names(axes) == texts(axes.get_xticklabels()) == ["number", "constant", "empty", "y (target)"]
    r = f"{expected[0, 3]:.1f}"
    assert texts(axes.texts) == ["1.0", "", "", r, "", "", "", "", "", "", "", "", r, "", "", "1.0"]


@pytest.mark.parametrize(
    ("target", "task", "ordered"),
    [
        ([0, 1] * 20, "auto", True),
        (["no", "yes"] * 20, "auto", True),
        (["a", "b", "c", "c"] * 10, "auto", False),
        ([1, 2, 3, 4] * 10, "auto", False),
        (np.arange(40) / 3, "auto", True),
        # Ages, counts and prices in whole numbers have an order as well.
        (np.arange(40), "auto", True),
        ([1, 2, 3, 4] * 10, "regression", True),
    ],
    ids=["0/1", "yes/no", "names", "codes", "fractions", "whole numbers", "a few whole numbers"],
)
def test_the_target_is_among_the_correlations_where_it_has_an_order(target, task, ordered):
    rows = pd.DataFrame({"a": np.arange(40.0) % 7})
    answer = pd.Series(target, name="y")
    axes = figures.correlations(rows, answer, ask(rows, answer, task)).axes[0]
    assert names(axes) == (["a", "y (target)"] if ordered else ["a"])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("binary", ["confusion", "roc", "precision_recall", "calibration", "threshold"]),
        ("multiclass", ["confusion", "roc", "precision_recall", "calibration"]),
        ("regression", ["predicted_actual", "residuals"]),
    ],
)
def test_each_task_has_its_figures(kind, expected):
    _, target, asked = table(kind)
    assert [*figures.evaluation_figures(asked.encode(target), answers(asked), asked)] == expected


@pytest.mark.parametrize("kind", ["binary", "leaves/stays", "booleans", "multiclass"])
def test_the_confusion_counts_each_class_under_its_name(kind):
    _, target, asked = table(kind)
    axes = figures.evaluation_figures(asked.encode(target), answers(asked), asked)["confusion"].axes[0]
    called = np.array(asked.labels)[answers(asked).argmax(axis=1)]
    expected = [[int(((target == true) & (called == said)).sum()) for said in asked.labels] for true in asked.labels]
    assert axes.images[0].get_array().tolist() == expected
    assert names(axes) == [str(label) for label in asked.labels]


def test_of_two_classes_the_confusion_is_that_at_the_threshold():
    _, target, asked = table("leaves/stays")
    asked = dataclasses.replace(asked, threshold=0.2)
    axes = figures.evaluation_figures(asked.encode(target), answers(asked), asked)["confusion"].axes[0]
    expected = sk.confusion_matrix(asked.encode(target), answers(asked)[:, 1] >= 0.2)
    assert axes.images[0].get_array().tolist() == expected.tolist()
    assert axes.get_title() == "Confusion at 0.2, out of fold"


@pytest.mark.parametrize("chosen", [None, 0.3])
@pytest.mark.parametrize("cost", [None, {"miss": 10, "alarm": 2}])
def test_what_each_threshold_would_cost_is_drawn_with_the_chosen_one_and_a_half(chosen, cost):
    _, target, asked = table("yes/no")
    truth, certain = asked.encode(target).to_numpy(), answers(asked)[:, 1]
    how = {"cost": cost} if cost else "auto"
    drawn = figures.evaluation_figures(
        asked.encode(target), answers(asked), dataclasses.replace(asked, threshold=chosen), ["threshold"], how
    )["threshold"]

    def told(at):
        called = certain >= at
        if cost:
            return {"cost per 1,000 rows": 1000 * np.mean(np.where(called < truth, 10, 2 * (called > truth)))}
        found = sk.precision_recall_fscore_support(truth, called, average="binary", zero_division=np.nan)
        return dict(zip(("precision", "recall", "F1"), found[:3], strict=True))

    lines = {line.get_label(): line for line in drawn.axes[0].lines}
    values = {at: ", ".join(f"{name} {value:.3g}" for name, value in told(at).items()) for at in (0.5, 0.3)}
    expected = [*told(0.5), f"0.5: {values[0.5]}", *([f"0.3, chosen: {values[0.3]}"] if chosen else [])]
    assert [*lines] == expected == texts(drawn.legends[0].get_texts())
    there = np.unique([0, *certain, 1])
    for name in told(0.5):
        at, values = lines[name].get_xdata(), lines[name].get_ydata()
        np.testing.assert_allclose(at, ((there[1:] + there[:-1]) / 2)[::-1])
        np.testing.assert_allclose(values, [told(one)[name] for one in at])


def test_a_figure_of_weighted_rows_is_that_of_as_many_rows():
    _, target, asked = table("leaves/stays")
    asked, times = dataclasses.replace(asked, threshold=0.2), np.arange(ROWS) % 4 + 1
    truth, many = asked.encode(target), np.repeat(np.arange(ROWS), times)
    cost = {"cost": {"miss": 10, "alarm": 2}}
    wanted = ["confusion", "roc", "precision_recall", "threshold"]
    found = figures.evaluation_figures(truth, answers(asked), asked, wanted, cost, None, 3.0 * times)
    repeated = figures.evaluation_figures(truth.iloc[many], answers(asked)[many], asked, wanted, cost)
    for name in wanted[1:]:
        lines = [[line.get_xydata() for line in drawn[name].axes[0].lines] for drawn in (found, repeated)]
        np.testing.assert_allclose(lines[0][0], lines[1][0])
    assert texts(found["threshold"].legends[0].get_texts()) == texts(repeated["threshold"].legends[0].get_texts())
    counted, expected = (drawn["confusion"].axes[0].images[0].get_array() for drawn in (found, repeated))
    assert counted.sum() == pytest.approx(ROWS, abs=2)
    np.testing.assert_allclose(counted / ROWS, expected / len(many), atol=0.5 / ROWS)


@pytest.mark.parametrize("kind", ["binary", "leaves/stays", "multiclass"])
def test_the_curves_are_scikit_learns_for_each_class_that_is_drawn(kind):
    _, target, asked = table(kind)
    predictions = answers(asked)
    drawn = figures.evaluation_figures(asked.encode(target), predictions, asked)
    labels = asked.labels[-1:] if asked.task == "binary" else asked.labels
    curves = {name: [line for line in drawn[name].axes[0].lines if len(line.get_xdata()) > 2] for name in drawn}
    assert [len(curves[name]) for name in ("roc", "precision_recall", "calibration")] == [len(labels)] * 3
    for number, label in enumerate(labels):
        truth, score = target == label, predictions[:, asked.labels.index(label)]
        x, y, _ = sk.roc_curve(truth, score)
        np.testing.assert_allclose(curves["roc"][number].get_xydata(), np.column_stack([x, y]))
        y, x, _ = sk.precision_recall_curve(truth, score)
        np.testing.assert_allclose(curves["precision_recall"][number].get_xydata(), np.column_stack([x, y]))
        y, x = calibration_curve(truth, score, n_bins=8, strategy="quantile")
        np.testing.assert_allclose(curves["calibration"][number].get_xydata(), np.column_stack([x, y]))
        for name in ("roc", "precision_recall"):
            assert texts(drawn[name].axes[0].get_legend().get_texts())[number].startswith(f"{label} (")
        assert f"{label}" in texts(drawn["calibration"].axes[0].get_legend().get_texts())


def test_a_prediction_is_drawn_against_what_was_true():
    _, target, asked = table("regression")
    drawn = figures.evaluation_figures(target, answers(asked), asked)
    points = {name: drawn[name].axes[0].collections[0].get_offsets() for name in drawn}
    np.testing.assert_allclose(points["predicted_actual"], np.column_stack([answers(asked), target]))
    np.testing.assert_allclose(points["residuals"], np.column_stack([answers(asked), target - answers(asked)]))
    assert drawn["residuals"].axes[0].get_title() == "y: residuals, out of fold"


@pytest.mark.parametrize(
    ("model", "target", "scoring", "lost"),
    [
        (LogisticRegression(), "class", "neg_log_loss", "log loss gained"),
        (LinearRegression(), "number", "r2", "R2 lost"),
    ],
)
def test_importance_is_what_shuffling_a_column_costs(model, target, scoring, lost, monkeypatch):
    generator = np.random.default_rng(2)
    rows = pd.DataFrame(generator.normal(size=(200, 3)), columns=["useless", "weak", "strong"])
    signal = 3 * rows["strong"] + rows["weak"]
    answer = pd.Series(np.where(signal > 0, "yes", "no") if target == "class" else signal, name="y")
    model.fit(rows, answer)
    [axes] = figures.importance(model, rows, answer, ask(rows, answer), seed=3).axes
    assert names(axes) == ["useless", "weak", "strong"]
    monkeypatch.setattr(figures, "SHUFFLES", 100)  # of three, the mean is as chance has it
    [axes] = figures.importance(model, rows, answer, ask(rows, answer), seed=3).axes
    expected = permutation_importance(model, rows, answer, scoring=scoring, n_repeats=100, random_state=3)
    np.testing.assert_allclose(widths(axes), expected.importances_mean, rtol=0.1, atol=2e-3)
    assert axes.get_xlabel().startswith(lost)
    monkeypatch.setattr(figures, "SHOWN", 2)
    [axes] = figures.importance(model, rows, answer, ask(rows, answer), seed=3).axes
    assert names(axes) == ["weak", "strong"]


def test_importance_stands_a_class_too_rare_for_the_sample_it_takes():
    """Of 5,000 rows 1,000 are drawn, and among those there may be none of the three."""
    rows = pd.DataFrame({"a": np.random.default_rng(2).normal(size=5000)})
    target = pd.Series(["rare"] * 3 + ["often", "more"] * 2498 + ["more"], name="y")
    model = DummyClassifier(strategy="prior").fit(rows, target)
    for seed in range(3):
        [axes] = figures.importance(model, rows, target, ask(rows, target), seed).axes
        assert widths(axes) == [0]


def test_importance_stands_an_index_that_repeats():
    """As in a Parquet file that was put together from several."""
    rows = pd.DataFrame({"a": np.arange(40.0) % 7}, index=[*range(20)] * 2)
    target = pd.Series(rows["a"] * 2, name="y")
    [axes] = figures.importance(LinearRegression().fit(rows, target), rows, target, ask(rows, target), 1).axes
    assert names(axes) == ["a"]
    assert widths(axes)[0] > 1


def ranking(behind: list, reach: float) -> pd.DataFrame:
    behind = pd.Series(behind, index=[f"c{number}" for number in range(len(behind))])
    reach = pd.Series(reach, index=behind.index).where(behind > 0, reach * 0)
    frame = pd.DataFrame({"mean": 0.8 - behind, "behind": behind, "low": behind - reach, "high": behind + reach})
    return frame.assign(level=~(frame["low"] > 0))


def intervals(axes) -> list:
    return [line for line in axes.lines if line.get_linewidth() == 2]


def dots(axes) -> list:
    return [line for line in axes.lines if line.get_marker() == "o"]


@pytest.mark.parametrize(("metric", "better"), [("AUC", "higher"), ("Log Loss", "lower")])
def test_the_leaderboard_shows_how_far_each_is_behind_the_best_at_the_top(metric, better):
    ranked = ranking([0, 0.25, 0.75], 0.5)
    [axes] = figures.leaderboard(ranked, metric, {"c0": "lr", "c1": "rf, " + "a=1, " * 30}).axes
    assert names(axes) == ["c2", "c1", "c0"]
    assert [[*line.get_xdata()] for line in intervals(axes)] == [[0.25, 1.25], [-0.25, 0.75], [0, 0]]
    assert [line.get_xdata()[0] for line in dots(axes)] == [0.75, 0.25, 0]
    for lines in (intervals(axes), dots(axes)):
        assert [line.get_color() for line in lines] == [figures.GREY, figures.BLUE, figures.BLUE]
    beside = {text.get_text(): text.xy[1] for text in axes.texts if text.get_text()}
    settings = "rf, " + "a=1, " * 11 + "a=1,…"
    assert beside == pytest.approx({"0.0500": 0, "0.5500": 1, "0.8000": 2, settings: 1, "lr": 2, "mean": 2.6})
    assert f"({better} is better)" in axes.get_title()
    assert "the interval includes 0" in axes.get_xlabel()


def found(value: float) -> dict:
    return {"value": value, "low": value - 0.25, "high": value + 0.25, "detectable": 0.125, "bound": value - 0.1875}


def test_a_decision_shows_scores_leads_slices_the_margin_and_what_stays_unseen():
    scores = {name: {"AUC": found(value)} for name, value in (("challenger", 0.75), ("champion", 0.5))}
    leads = {"champion": found(0.25), "baseline": found(0.5)}
    slices = [
        {"column": "plan", "value": value, "lead": lead, "low": lead, "high": lead, "worse": lead < 0}
        for value, lead in (("a", -0.5), ("b", 0.5))
    ]
    verdict = {
        "scores": scores,
        "leads": leads,
        "slices": slices,
        "metric": "AUC",
        "rows": 90,
        "decision": "refused",
        "policy": {"margin": 0.0625},
    }
    figure = figures.decision(verdict)
    left, right = figure.axes
    assert (names(left), names(right)) == (
        ["champion", "challenger"], ["plan = b", "plan = a", "over baseline", "over champion"],
    )  # fmt: skip
    assert [line.get_xdata()[0] for line in dots(right)] == [0.5, -0.5, 0.5, 0.25]
    assert [line.get_color() for line in dots(right)] == [figures.GREY, figures.ORANGE, figures.BLUE, figures.BLUE]
    [band] = right.patches
    assert (band.get_x(), band.get_width()) == (-0.0625, 0.1875)  # from the margin on
    assert [line.get_xdata()[0] for line in right.lines if line.get_linestyle() == "--"] == [-0.0625]
    assert [text.xy[0] for text in right.texts if text.get_text() == "margin"] == [-0.0625]
    assert bounds(right) == [[0.0625, 3]]  # of the lead over the champion, in the uppermost row
    assert "orange: worse there" in figure.get_supxlabel()
    assert right.get_title() == "The challenger's lead: refused"


def test_all_that_is_written_on_a_decision_is_within_its_figure():
    """However long the names of metric and slices are."""
    scores = {name: {"Average Precision": found(0.5)} for name in ("challenger", "reference", "champion", "baseline")}
    part = {"column": "where the customer lives", "value": "far away, and further"}
    verdict = {
        "scores": scores, "leads": {"reference": found(0.25)}, "metric": "Average Precision", "rows": 90_000,
        "slices": [part | found(0.5) | {"lead": 0.5, "worse": True}], "decision": "undecided", "policy": {"margin": 0},
    }  # fmt: skip
    figure = figures.decision(verdict)
    figure.savefig(io.BytesIO(), dpi=figure.dpi)  # which puts everything in its place
    written = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    ends = [text.get_window_extent() for text in written]
    assert min(end.x0 for end in ends) >= 0
    assert max(end.x1 for end in ends) <= figure.bbox.width


def bounds(axes) -> list:
    return [line.get_xydata()[0].tolist() for line in axes.lines if line.get_marker() == "|"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["baseline"], [0.0625, 0]), (["champion", "reference", "baseline"], [0.3125, 1])],
)
def test_the_lead_that_decides_shows_its_bound(names, expected):
    leads = {name: found(value) for name, value in zip(names, (0.25, 0.5, 0.75), strict=False)}
    verdict = {
        "scores": {"challenger": {"AUC": found(0.75)}}, "leads": leads, "slices": [], "metric": "AUC", "rows": 90,
        "decision": "refused", "policy": {"margin": 0},
    }  # fmt: skip
    right = figures.decision(verdict).axes[1]
    assert bounds(right) == [expected]
    assert right.patches[0].get_x() == 0


def test_a_decision_without_a_comparison_says_so():
    axes = figures.decision({"scores": {}, "leads": {}, "slices": [], "policy": {"margin": 0}}).axes
    assert axes[0].get_title(loc="left") == "Nothing was compared"


def test_of_many_candidates_the_best_are_on_the_leaderboard():
    [axes] = figures.leaderboard(ranking([*range(40)], 0.5), "AUC", {}).axes
    assert names(axes) == [f"c{number}" for number in range(19, -1, -1)]
    assert len(intervals(axes)) == len(dots(axes)) == 20
    assert axes.get_title().endswith("\nthe best 20 of 40 candidates")


ALL = ["confusion", "roc", "precision_recall", "calibration", "threshold", "importance"]


@pytest.mark.parametrize(
    ("asked", "swept", "expected"),
    [
        (["auto"], {}, ALL),
        (["auto"], {"C": 1}, []),
        (["all"], {"C": 1}, ALL),
        (["none"], {}, []),
        (["roc", "importance"], {"C": 1}, ["roc", "importance"]),
        (["residuals"], {}, []),  # of a regression alone
    ],
)
def test_of_a_candidate_those_figures_are_drawn_that_are_asked_for(asked, swept, expected):
    rows, target, of = table()
    target = pd.Series(list(target), rows.index)
    validated = pd.Series(np.arange(ROWS) >= 10, rows.index)
    model = DummyClassifier().fit(rows, target)
    predictions = np.where(validated.to_numpy()[:, None], answers(of), np.nan)  # of rows that no fold validates: none
    wanted = figures.of_candidate(asked, swept)
    assert [*figures.candidate(model, rows, target, validated, predictions, of, settings(), wanted)] == expected


def swept_over(**values) -> dict[str, dict]:
    combinations = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    return {"-".join(["en", *(f"{name}={value}" for name, value in one.items())]): one for one in combinations}


def ranked_by(means: dict[str, float]) -> pd.DataFrame:
    return pd.DataFrame({"mean": pd.Series(means)})


def test_a_sweep_of_two_parameters_is_a_line_for_each_candidate_and_a_map():
    swept = swept_over(alpha=[0.1, 10, 1], ratio=["low", "high"])
    means = {name: 10 - place for place, name in enumerate(swept)}
    figure = figures.sweep(ranked_by(means | {"lr": 3.5}), swept | {"lr": {}}, "R2")
    lines, map_, _ = figure.axes
    curves = [line.get_ydata().tolist() for line in lines.lines if len(line.get_ydata()) == 3]
    assert len(curves) == 7  # and the best again
    assert curves[-1] == [0, 0, 1] == curves[-2]  # alpha is the least of three, ratio the first, the mean the best
    assert curves[0] == [0.5, 1, 0]  # 1 lies between 0.1 and 10, whatever order they come in
    assert lines.lines[6].get_color() == figures.ORANGE
    assert map_.images[0].get_array().tolist() == [[10, 6, 8], [9, 5, 7]]
    assert ([t.get_text() for t in map_.get_xticklabels()], names(map_)) == (["0.1", "1", "10"], ["low", "high"])
    assert map_.lines[0].get_xydata().tolist() == [[0, 0]]
    assert lines.get_title() == "en: 6 candidates, the best in orange"


def test_a_sweep_of_three_parameters_maps_the_best_over_the_third():
    swept = swept_over(a=[1, 2, 3], b=[1, 2], c=[1, 2, 3])
    means = {name: one["a"] + 10 * one["b"] + 100 * one["c"] for name, one in swept.items()}
    map_ = figures.sweep(ranked_by(dict(sorted(means.items(), key=lambda pair: pair[1]))), swept, "Log Loss").axes[1]
    assert (map_.get_xlabel(), map_.get_ylabel()) == ("a", "c")
    assert map_.images[0].get_array().tolist() == [[111, 112, 113], [211, 212, 213], [311, 312, 313]]
    assert map_.get_title() == "mean Log Loss, the best over the others"


def test_a_sweep_of_one_parameter_is_a_curve_and_each_entry_has_its_own():
    swept = swept_over(C=[10, 1]) | {"knn-n=5": {"n": 5}, "knn-n=9": {"n": 9}}
    figure = figures.sweep(ranked_by({"en-C=10": 4, "knn-n=5": 3, "en-C=1": 2, "knn-n=9": 1}), swept, "R2")
    assert [axes.get_title() for axes in figure.axes[::2]] == [
        "en: 2 candidates, the best in orange", "knn: 2 candidates, the best in orange",
    ]  # fmt: skip
    curve, best = figure.axes[1].lines
    assert (curve.get_xydata().tolist(), best.get_xydata().tolist()) == ([[0, 2], [1, 4]], [[1, 4]])


def trial(number: int, score: float, state: str = "finished", **params) -> Trial:
    return Trial(number, params, state, score, 0.0, 1.0, None)


TRIALS = [
    trial(0, 0.5, x=1, kind="a"), trial(1, 0.25, x=200, kind="b"), trial(2, 0.9, "pruned", x=3, kind="a"),
    trial(3, 0.75, x=60, kind="a"), trial(4, np.nan, "failed", x=4, kind="b"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "best", "so_far"), [("AUC", 3, [0.5, 0.5, 0.75]), ("Log Loss", 1, [0.5, 0.25, 0.25])]
)
def test_a_search_shows_its_history_what_mattered_and_the_score_by_each_parameter(metric, best, so_far):
    history, importance, x, kind = figures.study(TRIALS, {"x": 0.75, "kind": 0.25}, metric)["study"].axes
    steps, others, *points = history.lines
    assert (steps.get_xdata().tolist(), steps.get_ydata().tolist()) == ([0, 1, 3], so_far)
    assert [*others.get_xdata()] == [2, 4]
    assert history.get_title() == "3 trials, 2 pruned (x)"
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in points] == [(0, 0.5), (1, 0.25), (3, 0.75)]
    assert [line.get_color() == figures.ORANGE for line in points] == [number == best for number in (0, 1, 3)]
    assert (names(importance), widths(importance)) == (["kind", "x"], [0.25, 0.75])
    assert (x.get_title(), x.get_xscale()) == ("x", "log")
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in x.lines] == [(1, 0.5), (200, 0.25), (60, 0.75)]
    assert [line.get_xdata(orig=True)[0] for line in kind.lines] == ["a", "b", "a"]


@pytest.mark.parametrize("odd", [None, float("nan"), True, [9, 9], {"a": 1}, "sqrt"])
def test_what_is_no_number_is_a_value_of_a_sweep_like_any_other(odd):
    for values in ({"x": [odd, 3]}, {"x": [odd, 3], "y": [1, 2]}, {"x": [1, 2], "y": [3, odd, 4]}):
        swept = {str(number): one for number, one in enumerate(swept_over(**values).values())}
        means = {name: float(place) for place, name in enumerate(swept)}
        ranked = ranked_by(dict(sorted(means.items(), key=lambda pair: -pair[1])))
        _, map_, *_ = figures.sweep(ranked, swept, "R2").axes
        labels = {text.get_text() for text in [*map_.get_xticklabels(), *map_.get_yticklabels()]}
        assert str(odd) in labels
        if map_.images:
            assert sorted(map_.images[0].get_array().ravel().tolist()) == sorted(means.values())


def test_without_trials_or_when_it_is_not_wanted_there_is_no_figure_of_a_search():
    assert figures.study([], {}, "AUC") == figures.study(TRIALS[4:], {}, "AUC") == {}
    assert figures.study(TRIALS, {}, "AUC", ["roc"]) == {}
    assert [*figures.study(TRIALS, {}, "AUC", ["study"])] == ["study"]


@pytest.mark.parametrize(("metric", "sign"), [("R2", 1), ("RMSE", -1)])
def test_candidates_that_diverged_leave_the_others_their_colours(metric, sign):
    swept = {str(number): one for number, one in enumerate(swept_over(x=[1, 2, 3, 4], y=[1, 2]).values())}
    means = {name: sign * (0.9 - 0.01 * place) for place, name in enumerate(swept)} | {"7": sign * -1e7}
    lines, map_, *_ = figures.sweep(ranked_by(means), swept, metric).axes
    middle = np.median([*means.values()])
    assert lines.get_title().endswith("; far worse ones are drawn at the end of the scale")
    drawn = sorted(map_.images[0].get_array().ravel().tolist(), key=lambda mean: -sign * mean)
    assert drawn[:7] == [*means.values()][:7]
    assert drawn[7] == pytest.approx(means["0"] - 10 * (means["0"] - middle))


def test_without_a_sweep_there_is_no_figure_of_one():
    assert figures.sweep(ranked_by({"lr": 1, "rf": 0}), {"lr": {}, "rf": {}}, "AUC") is None


def test_one_fold_alone_gives_no_interval(tmp_path):
    figure = figures.leaderboard(ranking([0, 0.1], np.nan), "AUC", {"c0": "lr", "c1": "rf"})
    figures.save({"leaderboard": figure}, tmp_path)
    assert intervals(figure.axes[0]) == []
    assert [line.get_xdata()[0] for line in dots(figure.axes[0])] == [0.1, 0]


@pytest.mark.parametrize("labels", [["no", "yes"], [0, 1], [0.0, 1.0], [False, True]], ids=str)
def test_a_batch_of_two_classes_shows_labels_and_the_probability_of_the_positive(labels):
    batch = pd.DataFrame({"row": range(5), "prediction": [labels[code] for code in (0, 0, 1, 0, 1)]})
    first, second = figures.predictions(batch.assign(probability=[0.02, 0.12, 0.97, 0.11, 1.0]), labels[1]).axes
    assert dict(zip(names(first), widths(first), strict=True)) == {str(labels[0]): 3, str(labels[1]): 2}
    assert texts(first.texts) == [" 3  (60.0%)", " 2  (40.0%)"]
    assert first.get_title() == "Predictions of 5 rows"
    assert heights(second) == [1, 0, 2, *[0] * 16, 2]
    assert second.get_xlabel() == f"probability of {labels[1]}"


def test_a_batch_of_more_classes_shows_the_probability_of_the_likeliest():
    batch = pd.DataFrame(
        {
            "prediction": ["a", "c", "a"],
            "probability_a": [0.72, 0.1, 0.42],
            "probability_b": [0.2, 0.13, 0.33],
            "probability_c": [0.08, 0.77, 0.25],
        }
    )
    first, second = figures.predictions(batch, None).axes
    assert dict(zip(names(first), widths(first), strict=True)) == {"a": 2, "c": 1}
    assert [number for number, height in enumerate(heights(second)) for _ in range(int(height))] == [8, 14, 15]
    assert second.get_xlabel() == "probability of the likeliest class"


def test_a_batch_of_numbers_shows_their_distribution():
    batch = pd.DataFrame({"row": range(100), "prediction": np.arange(100.0) ** 2})
    [axes] = figures.predictions(batch, None).axes
    assert heights(axes) == np.histogram(batch["prediction"], bins=40)[0].tolist()
    assert axes.get_title() == "100 rows"


def test_saved_figures_are_pngs_and_replace_those_of_the_last_build(tmp_path):
    folder = tmp_path / "deep" / "figures"
    drawn = figures.missing_values(table()[0])
    figures.save({"old": drawn}, folder)
    figures.save({"a": drawn, "b": drawn}, str(folder))
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "b.png"]
    assert {path.read_bytes()[:8] for path in folder.iterdir()} == {b"\x89PNG\r\n\x1a\n"}


def test_importance_is_drawn_with_the_spread_of_its_shuffles():
    found = pd.DataFrame(
        {"mean": [0.3, 0.1], "least": [0.2, -0.1], "most": [0.4, 0.2]}, index=["first", "second column"]
    )
    axes = figures.column_importance(found, "AUC").axes[0]
    assert widths(axes) == [0.1, 0.3]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["second column", "first"]
    segments = [line.tolist() for line in axes.collections[0].get_segments()]
    assert segments == [[[-0.1, 0], [0.2, 0]], [[0.2, 1], [0.4, 1]]]
    assert axes.get_xlabel() == "AUC lost when the column is shuffled"
    assert "log loss gained" in figures.column_importance(found, "Log Loss").axes[0].get_xlabel().lower()


def test_effects_are_drawn_on_one_scale_each_in_a_figure_of_its_own():
    days = [*pd.to_datetime(["2026-01-01", "2026-02-01", "2026-03-01"])]
    tables = {
        "number": pd.DataFrame({"a": [0.1, 0.2, 0.3], "b": [0.9, 0.5, 0.4]}, index=pd.Index([1.0, 2.0, None], dtype=object)),
        "text": pd.DataFrame({"a": [0.2, 0.3], "b": [0.8, 0.7]}, index=pd.Index(["u", None], dtype=object)),
        "date": pd.DataFrame({"a": [0.4, 0.5, 0.6], "b": [0.5, 0.5, 0.5]}, index=pd.Index(days, dtype=object)),
        "flag": pd.DataFrame({"a": [0.4, 0.5], "b": [0.6, 0.5]}, index=pd.Index([False, True], dtype=object)),
    }  # fmt: skip
    sample = pd.DataFrame(
        {
            "number": [1.0, 2.0, np.nan, 2.0],
            "text": ["u", "u", "u", None],
            "date": [*days, pd.NaT],
            "flag": [0.0, 1, 1, 1],
        }
    )
    drawn = {column: figure.axes[0] for column, figure in figures.column_effects(tables, sample, "probability").items()}
    limits = pytest.approx((0.1 - 0.048, 0.9 + 0.048))
    assert drawn["number"].get_ylim() == drawn["date"].get_ylim() == drawn["text"].get_xlim() == limits
    first, missing, second, _ = drawn["number"].lines
    assert (first.get_xdata().tolist(), first.get_ydata().tolist()) == ([1, 2], [0.1, 0.2])
    assert (missing.get_ydata(), second.get_ydata().tolist()) == ([0.3, 0.3], [0.9, 0.5])
    assert [label.get_text() for label in drawn["text"].get_yticklabels()] == ["u (75%)", "missing (25%)"]
    assert [label.get_text() for label in drawn["flag"].get_yticklabels()] == ["False (25%)", "True (75%)"]
    assert drawn["text"].lines[0].get_xdata().tolist() == [0.2, 0.3]
    assert [label.get_text() for label in drawn["date"].get_xticklabels()] == ["2026-01-01", "2026-03-01"]


def test_long_numbers_below_an_effect_do_not_run_into_each_other():
    heating = pd.DataFrame({"price": [150_000.0, 170_000.0]}, index=pd.Index(["gas", "heat pump"], dtype=object))
    metres = pd.DataFrame({"price": [40_000.0, 440_000.0]}, index=pd.Index([20_000.0, 99_000.0], dtype=object))
    sample = pd.DataFrame({"heating": ["gas", "heat pump"], "metres": [20_000.0, 99_000.0]})
    for figure in figures.column_effects({"heating": heating, "metres": metres}, sample, "price").values():
        axes = figure.axes[0]
        figure.draw_without_rendering()
        low, high = sorted(axes.get_xlim())
        shown = [tick.label1 for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
        boxes = [label.get_window_extent() for label in shown]
        assert len(boxes) >= 2
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_calibration_is_drawn_with_its_intervals():
    bins = pd.DataFrame({"predicted": [0.2, 0.6], "observed": [0.3, 0.5], "low": [0.1, 0.45], "high": [0.5, 0.8]})
    axes = figures.calibration(bins, "probability of 1", "share of 1").axes[0]
    diagonal, points = axes.lines[:2]
    assert diagonal.get_xdata().tolist() == diagonal.get_ydata().tolist() == [0.1, 0.8]
    assert points.get_ydata().tolist() == [0.3, 0.5]
    assert [[*map(tuple, line)] for line in axes.collections[0].get_segments()] == [
        [pytest.approx((0.2, 0.1)), pytest.approx((0.2, 0.5))],
        [pytest.approx((0.6, 0.45)), pytest.approx((0.6, 0.8))],
    ]


def test_the_importance_of_columns_is_weighted():
    """One column tells of the rows that weigh much, the other of those that are many."""
    generator, heavy = np.random.default_rng(3), np.arange(300) % 10 == 0
    rows = pd.DataFrame(generator.normal(size=(300, 2)) * np.column_stack([2 * heavy, ~heavy]), columns=["few", "many"])
    target = rows.sum(axis=1).rename("y")
    model = LinearRegression().fit(rows, target)
    asked = ask(rows, target)
    assert names(figures.importance(model, rows, target, asked, 1).axes[0])[-1] == "many"
    weights = np.where(heavy, 200.0, 1.0)
    assert names(figures.importance(model, rows, target, asked, 1, weights).axes[0])[-1] == "few"


@pytest.mark.parametrize(("names", "least"), [(["baseline"], 0), (["champion", "reference", "baseline"], -0.0625)])
def test_the_margin_is_drawn_where_it_decides(names, least):
    leads = {name: found(value) for name, value in zip(names, (0.25, 0.5, 0.75), strict=False)}
    verdict = {
        "scores": {"challenger": {"AUC": found(0.75)}}, "leads": leads, "slices": [], "metric": "AUC", "rows": 90,
        "decision": "refused", "policy": {"margin": 0.0625},
    }  # fmt: skip
    right = figures.decision(verdict).axes[1]
    assert right.patches[0].get_x() == least
    assert [line.get_xdata()[0] for line in right.lines if line.get_linestyle() == "--"] == [least] * (least != 0)
