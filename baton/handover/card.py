"""The model card: what a version predicts, on what evidence, and what is left for a person to say.

Its sections are those of "Model Cards for Model Reporting" (Mitchell et al., 2019). It is written once, as Markdown,
and turned into a page that needs nothing else: pictures inside, no script, nothing fetched.
"""

import base64
import html
import io
import platform
import re
from pathlib import Path

import mistune
import numpy as np
import pandas as pd
from scipy import stats

from baton import figures
from baton.data.contract import IGNORED, Contract
from baton.handover import gate
from baton.handover.effects import MOST, Explanation
from baton.training import evaluation

SHOWN = 30  # columns, classes or slices in a table
CLIPPED = 60  # characters of a name or a value
FEW = 30  # holdout rows of a class, below which its figures say little

PERSON = "> **To be written by a person.** "

# What Markdown, or GitHub's, would read as its own.
MARKS = re.compile(r"([\\`*_\[\]<>#|~&$])")

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ max-width: 60rem; margin: 0 auto; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; color: #1a202c;
  overflow-wrap: anywhere; }}
h1 {{ line-height: 1.2; }}
h2 {{ margin-top: 2.5rem; padding-bottom: .2rem; border-bottom: 1px solid #cbd5e0; }}
blockquote {{ margin: 1rem 0; padding: .1rem 1rem; border-left: .3rem solid #2b6cb0; background: #ebf4fb; }}
blockquote.person {{ border-color: #dd6b20; background: #fdf3ea; }}
table {{ display: block; overflow-x: auto; border-collapse: collapse; font-size: .875rem; overflow-wrap: normal; }}
th, td {{ padding: .25rem .6rem; border-bottom: 1px solid #e2e8f0; text-align: left; vertical-align: top;
  white-space: nowrap; }}
th {{ border-bottom: 2px solid #a0aec0; white-space: normal; }}
details {{ margin: 1rem 0; }}
summary {{ cursor: pointer; color: #2b6cb0; }}
.pictures {{ display: grid; gap: .5rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17.5rem), 1fr)); }}
.pictures.one {{ display: block; }}
img {{ max-width: 100%; height: auto; }}
@media print {{
  body {{ font-size: 10pt; max-width: none; padding: 0; }}
  table {{ display: table; }}
  th, td {{ white-space: normal; }}
  h2 {{ break-after: avoid; }}
  img, tr, blockquote {{ break-inside: avoid; }}
}}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def write(
    folder: Path, contract: Contract, decision: dict, profile: dict, facts: dict, explanation: Explanation,
    holdout: pd.DataFrame, predictions: np.ndarray,
) -> None:  # fmt: skip
    """Write card.md and card.html into the folder of a version.

    `decision` is what `Verdict.to_dict` says, `profile` what `profile.describe` says of what serves, `facts` what
    `clean` found. `predictions` are of the model as judged for the raw `holdout` rows, probabilities (rows, classes) or
    numbers (rows,), and `explanation` is of that model too.
    """
    truth = contract.encode(holdout[contract.target]).to_numpy()
    bins = calibrate(truth, predictions, contract)
    parts = [
        f"# {_text(contract.name)}: model card",
        _summary(contract, decision),
        _which_figures(decision, facts),
        _details(contract, decision),
        _uses(contract),
        _training_data(contract, profile, facts, decision, explanation),
        _evaluation_data(contract, decision, facts, holdout),
        _metrics(contract, decision, truth, predictions, contract.read_weights(holdout)),
        _by_class(contract, profile, truth, predictions) if contract.labels else _by_size(truth, predictions),
        *_intervals(contract, decision),
        _by_slice(contract, decision),
        *_calibration(contract, bins),
        *_features(contract, explanation),
        _choice(contract, decision),
        *([{"The decision": figures.decision(decision)}] if decision.get("leads") else []),
        _caveats(contract, decision, truth),
        _environment(folder, decision),
    ]
    text = [part for part in parts if isinstance(part, str)]
    body = "\n".join(_render(part) for part in parts)
    body = body.replace("<blockquote>\n<p><strong>To be", '<blockquote class="person">\n<p><strong>To be')
    folder = Path(folder)
    (folder / "card.md").write_text("\n\n".join(text) + "\n", encoding="utf-8")
    page = PAGE.format(title=html.escape(f"{contract.name}: model card"), body=body)
    (folder / "card.html").write_text(page, encoding="utf-8")


class Folded(str):
    """Markdown that the page shows when it is asked to."""


def calibrate(truth: np.ndarray, predictions: np.ndarray, contract: Contract) -> pd.DataFrame:
    """Hold predictions against what came, in 2 to 10 bins of as many rows each, of 15 or more if there are.

    Of two classes this is the probability of the positive one; of more, that of the likeliest against how often it was
    the right one; of a number its mean. `low` and `high` bound the 95% interval of what was observed (Wilson's, or
    Student's), and take rows as independent.
    """
    if contract.task == "regression":
        predicted, observed = predictions, truth
    elif contract.task == "binary":
        predicted, observed = predictions[:, 1], truth == 1
    else:
        predicted, observed = predictions.max(axis=1), truth == predictions.argmax(axis=1)
    rows = pd.DataFrame({"predicted": predicted, "observed": observed.astype(float)})
    if not len(rows):
        return pd.DataFrame(columns=["rows", "predicted", "observed", "low", "high"])
    place = pd.qcut(rows["predicted"].rank(method="min"), int(np.clip(len(rows) // 15, 2, 10)), duplicates="drop")
    bins = rows.groupby(place.cat.codes).agg(
        rows=("predicted", "size"), predicted=("predicted", "mean"), observed=("observed", "mean"),
        std=("observed", "std"),
    )  # fmt: skip
    if contract.labels:
        ends = [_wilson(round(row.observed * row.rows), int(row.rows)) for row in bins.itertuples()]
    else:
        reach = stats.t.ppf(0.975, bins["rows"] - 1) * bins["std"] / np.sqrt(bins["rows"])
        ends = [*zip(bins["observed"] - reach, bins["observed"] + reach, strict=True)]
    return bins.drop(columns="std").assign(low=[low for low, _ in ends], high=[high for _, high in ends])


def _summary(contract, decision):
    scores = decision.get("scores", {}).get("challenger", {})
    reached = f" {contract.metric} {_interval(scores[contract.metric])}" if contract.metric in scores else ""
    on = f" on {decision['rows']} holdout rows." if reached else ""
    return f"It predicts {_question(contract)}.{reached}{on}"


def _which_figures(decision, facts):
    learned = (
        f"It learned from {facts['training']:,} training rows and never saw the {facts['holdout']:,} holdout rows."
    )
    if decision.get("serves") == "all":
        serves = (
            f"**What serves** is that model fitted anew, settings unchanged, on all"
            f" {facts['training'] + facts['holdout']:,} rows, the holdout included"
            f"{_because(decision.get('serves_reason'))}. It has no figures of its own: no row is left that it has not"
            " seen. The rows described under Training data are all that it learned from."
        )
    else:
        serves = f"**What serves** is the same model{_because(decision.get('serves_reason'))}."
    return (
        "> **Which figures belong to which.** Every metric, interval, importance and effect on this card is of the"
        " model **as judged**, but for the mean by which it was chosen, which is of the folds of its training rows."
        f" {learned}\n>\n> {serves}"
    )


def _details(contract, decision):
    challenger = decision.get("challenger") or {}
    model, candidate = (_text(challenger.get(key) or "unknown", 200) for key in ("model", "candidate"))
    lines = {
        "Model": f"{model}, candidate {candidate}",
        "Question": contract.task + (f", because {_text(contract.task_reason, 200)}" if contract.task_reason else ""),
        "Positive class": _text(contract.positive) if contract.task == "binary" else None,
        "Threshold": _threshold(contract, decision.get("threshold")) if contract.task == "binary" else None,
        "Classes": _list(contract.labels) if contract.task == "multiclass" else None,
        "Chosen by": contract.metric,
        "Decided": decision.get("time"),
        "Run in MLflow": challenger.get("run_id"),
        "Git commit": decision.get("git_commit"),
        "Data digest": decision.get("data_digest"),
    }
    return "## Model details\n\n" + _lines(lines)


def _uses(contract):
    where = (
        f"Write it in the description of the registered model {_text(contract.name)} in MLflow, where it holds for"
        " every version. This file stays as it was registered."
    )
    return (
        f"## Intended use\n\nIt answers one question for rows like those described below: {_question(contract)}.\n\n"
        f"{PERSON}Who uses the predictions, and for which decision? Who is affected, and who looks at doubtful cases?"
        f" {where}\n\n## Out-of-scope use\n\n"
        f"{PERSON}What must it not be used for? For which people, places or times has nobody tried it? Which decision"
        f" must no prediction make alone? {where}"
    )


def _training_data(contract, profile, facts, decision, explanation):
    what = "the model that serves" if decision.get("serves") == "all" else "the model"
    left_out = {
        "without a target": facts.get("without_target"),
        "copies of another row": facts.get("copies_left_out"),
        "of classes that training lacks": facts.get("holdout_of_unlearned_classes_left_out"),
    }
    reasons = {}
    for column, why in contract.ignored.items():
        reasons.setdefault(IGNORED.get(why, why), []).append(column)
    lines = {
        "Table": _text(facts.get("train_data", "unknown"), 200),
        "Digest": facts.get("data_digest"),
        "Rows": f"{facts['rows']:,}; training {facts['training']:,}, holdout {facts['holdout']:,}",
        "Left out": ", ".join(f"{count:,} {why}" for why, count in left_out.items() if count) or None,
        "Dates": _dates({name: entry for name, entry in profile["columns"].items() if entry["kind"] == "date"}),
        "Ids, no features": _list(contract.id_columns) or None,
        "Weights": f"{_text(contract.weight)} says how much each row counts" if contract.weight else None,
        "No features": "; ".join(f"{_list(columns)}: {why}" for why, columns in reasons.items()) or None,
    }
    order = explanation.importance.index
    table = _table(
        ["Column", "Kind", "Missing", "Values"],
        [
            [
                _text(name),
                profile["columns"][name]["kind"],
                f"{profile['columns'][name]['missing']:.1%}",
                _values(profile["columns"][name]),
            ]
            for name in order[:SHOWN]
        ],
    )
    more = f"\n\nThe other {len(order) - SHOWN} columns are in profile.json." if len(order) > SHOWN else ""
    return (
        f"## Training data\n\n{_lines(lines)}\n\nThe {len(order)} columns, the most important first, over the"
        f" {profile['rows']:,} rows that {what} learned from:\n\n{table}{more}"
    )


def _evaluation_data(contract, decision, facts, holdout):
    how = {
        "hash": "set aside at random, each row for good",
        "group": f"whole groups of {_text(contract.split_by)}",
        "time": f"the newest by {_text(contract.split_by)}",
    }
    X = contract.read_features(holdout)
    dates = {
        name: {"edges": [str(X[name].min()), str(X[name].max())]}
        for name, kind in contract.kinds.items()
        if kind == "date" and X[name].notna().any()
    }
    scored = f"{decision.get('rows', len(holdout)):,} of {decision.get('holdout_rows', len(holdout)):,}"
    seen = f"; those compared had learned from {decision['seen']:,} others" if decision.get("seen") else ""
    lines = {
        "Holdout": f"{facts['holdout']:,} rows ({facts['holdout_share']:.1%}), {how[contract.split]}",
        "Scored": f"{scored}{seen}",
        "Digest of those": decision.get("rows_digest"),
        "Dates": _dates(dates),
    }
    return (
        "## Evaluation data\n\n"
        + _lines(lines)
        + "\n\nNo candidate learned from them, was chosen or was tuned by them."
    )


def _metrics(contract, decision, truth, predictions, weights):
    scores = decision.get("scores") or {}
    caption = f"95% intervals{' by whole groups' if contract.split == 'group' else ''}; of the model as judged."
    weighted = f" Rows are weighted by {_text(contract.weight)}, here and in all leads." if contract.weight else ""
    if not scores:
        found = evaluation.score(truth, predictions, contract.task, None, contract.threshold, weights)
        scores = {"challenger": {metric: {"value": value} for metric, value in found.items()}}
        caption = f"On all {len(truth):,} holdout rows; nothing was decided on them, so there are no intervals."
    champion = decision.get("champion") or {}
    named = {
        "challenger": "This model",
        "champion": f"Champion then, version {champion.get('version')}",
        "reference": "Reference",
        "baseline": "Baseline",
    }
    who = [name for name in named if name in scores]
    rows = [
        [
            f"**{metric}**" if metric == contract.metric else metric,
            "higher" if evaluation.METRICS[metric].higher_is_better else "lower",
            *(_interval(scores[name].get(metric)) for name in who),
        ]
        for metric in scores["challenger"]
        if metric in evaluation.METRICS
    ]
    table = _table(["Metric", "Better is", *(named[name] for name in who)], rows)
    note = " The baseline looks at no column." if "baseline" in who else ""
    return f"## Metrics\n\n{table}\n\n{caption}{weighted}{note} Candidates were chosen by {contract.metric}."


def _by_class(contract, profile, truth, predictions):
    predicted = evaluation.predicted_classes(predictions, contract.threshold)
    codes = np.argsort(-np.bincount(truth.astype(int), minlength=len(contract.labels)), kind="stable")
    shares = profile["target"]["shares"]
    rows = []
    for code in sorted(codes[:SHOWN]):
        there, said = truth == code, predicted == code
        hits = int((there & said).sum())
        precision, recall = (_share(hits, int(of.sum())) for of in (said, there))
        rows.append(
            [
                _text(contract.labels[code]),
                f"{shares[code]:.1%}",
                f"{there.sum():,}",
                f"{said.sum():,}",
                precision,
                recall,
            ]
        )
    head = ["Class", "Share of rows learned from", "Holdout rows", "Predicted", "Precision", "Recall"]
    more = f" The {SHOWN} most frequent of {len(codes)} classes." if len(codes) > SHOWN else ""
    which = f"The predicted class is {_predicted_class(contract)}."
    return (
        f"## Results by class\n\n{_table(head, rows)}\n\n{which} 95% intervals (Wilson's)"
        f"{_independent(contract)}.{more}{_confusion(contract, truth, predicted)}"
    )


def _predicted_class(contract):
    if contract.threshold is None:
        return "the likeliest"
    other, positive = map(_text, contract.labels)
    return f"{positive} where its probability is {_number(contract.threshold)} or more, else {other}"


def _threshold(contract, how):
    """Which class is predicted and, as `threshold` in env.yaml was given, why from this probability on."""
    why = ""
    if contract.threshold is None:
        pass
    elif isinstance(how, dict):
        miss, alarm = (_number(how["cost"][error]) for error in ("miss", "alarm"))
        why = f": the errors cost least there, out of fold, at {miss} for a miss and {alarm} for a false alarm"
    elif how == "auto":
        metric = contract.metric if contract.metric in evaluation.BY_COUNTS else "F1"
        why = f": {metric} is best there, out of fold"
    elif how is not None:
        why = ": env.yaml says so"
    return _predicted_class(contract) + why


def _confusion(contract, truth, predicted):
    if contract.task != "binary":
        return ""
    names = [_text(label) for label in contract.labels]
    counts = np.bincount(2 * truth.astype(int) + predicted, minlength=4).reshape(2, 2)
    rows = [[name, *(f"{count:,}" for count in line)] for name, line in zip(names, counts, strict=True)]
    return "\n\nHoldout rows:\n\n" + _table(["It was", *(f"predicted {name}" for name in names)], rows)


def _by_size(truth, predictions):
    errors = np.abs(predictions - truth)
    half, most = (_number(np.quantile(errors, share)) for share in (0.5, 0.9))
    table = pd.DataFrame({"predicted": predictions, "error": predictions - truth, "off": errors})
    part = pd.qcut(table["predicted"].rank(method="first"), min(5, len(table)), labels=False)
    rows = [
        [
            f"{_number(some['predicted'].min())} to {_number(some['predicted'].max())}",
            f"{len(some):,}",
            _number(some["off"].mean()),
            _number(some["error"].mean()),
        ]
        for _, some in table.groupby(part)
    ]
    head = ["Prediction", "Holdout rows", "Mean absolute error", "Mean error"]
    return (
        f"## Results by size of the prediction\n\n{_table(head, rows)}\n\nHalf of the predictions are off by less than"
        f" {half}, nine of ten by less than {most}. A mean error above 0: predictions are too high there."
    )


def _intervals(contract, decision):
    found = decision.get("interval")
    if not found:
        return []
    if found["scale"] == "log":
        factor = _number(np.exp(found["reach"]))
        made = f"from the prediction divided by {factor} to the prediction times {factor}"
    else:
        made = f"the prediction minus and plus {_number(found['reach'])}"
    unlike = {
        "time": " Later rows may be unlike these: then it is not certain.",
        "group": " Rows of one group err alike, so of a single group it may be far off.",
    }.get(contract.split, "")
    sure = f"95% interval {found['low']:.1%} to {found['high']:.1%}{_independent(contract, 'takes', 'is')}"
    return [
        f"## Intervals\n\nIntervals of {100 * found['level']:.4g}% hold {found['coverage']:.1%} ({sure}) of"
        f" {found['rows']:,} holdout rows; {found['below']:.1%} lie below, {found['above']:.1%} above. Their mean width"
        f" is {_number(found['width'])}: {made}. That is a share of all such rows, not of each kind of row.{unlike}"
    ]


def _by_slice(contract, decision):
    slices = decision.get("slices") or []
    if not slices:
        return (
            "## Results by slice\n\nThere are none: `slices` in env.yaml named no column, or none of its values has"
            f" {gate.FEWEST} scored rows. So nobody has looked whether the model is worse for some."
        )
    other = "champion" if "champion" in slices[0] else "baseline"
    rows = [
        [
            _text(part["column"]), _text(part["value"]), f"{part['rows']:,}", _number(part.get("challenger")),
            _number(part.get(other)), _lead(part.get("lead"), part), "**worse**" if part.get("worse") else "",
        ]
        for part in slices[:SHOWN]
    ]  # fmt: skip
    named = {"champion": "Champion then", "baseline": "Baseline"}[other]
    head = ["Column", "Value", "Rows", f"{contract.metric}, this model", named, "Lead (95% interval)", ""]
    more = f"\n\nThe other {len(slices) - SHOWN} are in decision.json." if len(slices) > SHOWN else ""
    note = (
        "Each interval is of its slice alone: about one in twenty misses the truth by chance. **worse** marks what is"
        " beyond chance with all slices taken together."
    )
    return f"## Results by slice\n\n{_table(head, rows)}{more}\n\n{note}"


def _calibration(contract, bins):
    what = {
        "binary": (f"probability of {contract.positive}", f"share of {contract.positive}"),
        "multiclass": ("probability of the likeliest class", "share that was right"),
        "regression": (f"predicted {contract.target}", f"mean {contract.target}"),
    }[contract.task]
    if bins.empty:
        return ["## Calibration\n\nThere are no holdout rows to say."]
    off = float(np.average((bins["predicted"] - bins["observed"]).abs(), weights=bins["rows"]))
    outside = int(((bins["predicted"] < bins["low"]) | (bins["predicted"] > bins["high"])).sum())
    table = _table(
        ["Predicted (mean)", "Observed", "Rows"],
        [
            [
                _number(row.predicted),
                _interval({"value": row.observed, "low": row.low, "high": row.high}),
                f"{row.rows:,}",
            ]
            for row in bins.itertuples()
        ],
    )
    return [
        f"## Calibration\n\nThe {_text(what[0])}, against the {_text(what[1])}, in bins of holdout rows. They differ by"
        f" {_number(off)} on average; in {outside} of {len(bins)} bins the prediction lies outside the 95% interval"
        f"{_independent(contract, 'takes', 'is')}.",
        {f"Calibration: {what[0]} against {what[1]}": figures.calibration(bins, *what)},
        table,
    ]


def _features(contract, explanation):
    importance = explanation.importance
    rows = [
        [str(place), _text(column), _number(found["mean"]), f"{_number(found['least'])} to {_number(found['most'])}"]
        for place, (column, found) in enumerate(importance[:SHOWN].iterrows(), 1)
    ]
    lost = "lost" if evaluation.METRICS[contract.metric].higher_is_better else "gained"
    predicted = {
        "binary": f"probability of {contract.positive}",
        "multiclass": "probability",
        "regression": contract.target,
    }[contract.task]
    of = f" of {len(importance)}" if len(importance) > SHOWN else ""
    parts = [
        f"## Features and their effects\n\n**Importance**: the {contract.metric} that is {lost} when one raw column is"
        f" shuffled, over {explanation.rows:,} holdout rows. Columns that say the same share their importance.",
        {"Importance of the columns": figures.column_importance(importance, contract.metric)},
        _table(["", f"Column{of}", f"{contract.metric} {lost}", "From least to most, over the shuffles"], rows),
    ]
    if not explanation.effects:
        return [*parts, "No column matters by itself, so no effects are drawn."]
    effects = [
        [_text(column), _shown(value, contract.kinds[column]), *map(_number, table.iloc[place])]
        for column, table in explanation.effects.items()
        for place, value in _some(table.index)
    ]
    outputs = [*next(iter(explanation.effects.values()))]
    head = [f"Probability of {_text(output)}" if contract.labels else _text(output) for output in outputs]
    drawn = figures.column_effects(explanation.effects, explanation.sample, predicted)
    return [
        *parts,
        f"**Effects**: how the mean prediction ({_text(predicted)}) moves with each of the most important columns,"
        f" {MOST} at most. Lines are accumulated local effects, and grey bars show where the rows are; they add up"
        " differences, so at their ends they can pass what is possible, such as a probability of 1. Dots and missing"
        " values are the mean prediction if all rows had that value. All figures have one scale. They tell what the"
        " model does, not what causes what.",
        {f"Effect of {column}": figure for column, figure in drawn.items()},
        Folded(_table(["Column", "Value", *head], effects)),
    ]


def _choice(contract, decision):
    policy = decision.get("policy") or {}
    champion = decision.get("champion") or {}
    named = {
        "champion": f"champion, version {champion.get('version')}",
        "reference": "reference",
        "baseline": "baseline",
    }
    leads = decision.get("leads") or {}
    rows = [
        [
            named[name],
            _lead(lead.get("value"), lead),
            _number(lead.get("bound")),
            _number(lead.get("detectable")),
            _text(lead.get("method") or ""),
        ]
        for name in named
        if (lead := leads.get(name))
    ]
    table = _table(["Against the", "Lead (95% interval)", "One-sided bound", "Lead it could have seen", "Method"], rows)
    asked = ", ".join(f"{key} {_text(value)}" for key, value in policy.items() if not isinstance(value, dict))
    for metric, limit in (policy.get("at_least") or {}).items():
        asked += f", {metric} at {'least' if evaluation.METRICS[metric].higher_is_better else 'most'} {_number(limit)}"
    for cost, most in (policy.get("at_most") or {}).items():
        asked += f", {_text(cost)} at most {_number(most)}"
    looks, newer = decision.get("looks") or 0, decision.get("newer")
    times = f"the champion has been compared on this holdout {looks} times, this one included"
    later = f"{contract.metric} {_interval(newer)} on {newer['rows']:,} rows that it was not judged on" if newer else ""
    lines = {
        "Among the candidates, cross-validated on the training rows": _text(decision.get("choice") or "", 600),
        "Against the champion": "" if champion else "there was none; it had to beat the baseline",
        "Decision": f"{_text(decision.get('decision', 'unknown'))}. {_text(decision.get('reason', ''), 1000)}",
        "Policy": asked,
        "Looks": times if looks > 1 else "",
        "Champion on newer rows": later,
    }
    leads = f"\n\n{table}\n\nA lead above 0: this model is better. {contract.metric}, on the same rows." if rows else ""
    return f"## How it was chosen\n\n{_lines(lines)}{leads}"


def _caveats(contract, decision, truth):
    found = []
    if contract.labels:
        counts = np.bincount(truth.astype(int), minlength=len(contract.labels))
        rare = [label for label, count in zip(contract.labels, counts, strict=True) if count < FEW]
        found += [f"Fewer than {FEW} holdout rows of {_list(rare)}: figures of that class say little."] if rare else []
    if worse := [f"{part['column']} = {part['value']}" for part in decision.get("slices") or [] if part.get("worse")]:
        than = "champion was" if decision.get("champion") else "baseline is"
        found += [f"It is worse than the {than} for {_list(worse)}."]
    if contract.weight:
        found += [
            "Metrics, leads and slices are weighted. What counts rows is not: the results by class or size, and the"
            " calibration below the metrics."
        ]
    if contract.optional:
        found += [f"Rows may lack {_list(contract.optional)}: missing in training too, and predicted without."]
    if contract.split == "hash" and "date" in contract.kinds.values():
        found += ["The holdout is of the same time as training: nothing here says how it does on later rows."]
    if contract.split == "group":
        found += [f"Judged on groups of {_text(contract.split_by)} that it did not learn from."]
    listed = "\n".join(f"- {line}" for line in found) + "\n\n" * bool(found)
    return (
        f"## Caveats and recommendations\n\n{listed}{PERSON}What else should a user know: how the data came about, who"
        " is missing from them, what changes with time, whom errors hurt, and when to train anew?"
    )


def _environment(folder, decision):
    needed = Path(folder) / "requirements.txt"
    code = sorted(file.name for file in (Path(folder) / "code").glob("*.py"))
    model = Path(folder) / "model.skops"
    lines = {
        "Python": platform.python_version(),
        "Packages": ", ".join(map(_text, needed.read_text().split())) if needed.is_file() else None,
        "Feature code": _list(code) or "none",
        "Format": f"skops, {model.stat().st_size / 1e6:.1f} MB" if model.is_file() else None,
        "Git commit": decision.get("git_commit"),
        "System": f"{platform.system()}, {platform.machine()}",
    }
    return "## Environment\n\n" + _lines(lines)


def _question(contract):
    target = _text(contract.target)
    return {
        "binary": f"the probability that {target} is {_text(contract.positive)}",
        "multiclass": f"the probability of each of {len(contract.labels)} classes of {target}",
        "regression": f"{target}, a number",
    }[contract.task]


def _text(value, most: int = CLIPPED) -> str:
    """What comes from a table, in one line of Markdown that shows it as it is: clipped, no mark of it at work."""
    plain = " ".join("".join(sign if sign.isprintable() else " " for sign in str(value)).split())
    return MARKS.sub(r"\\\1", plain if len(plain) <= most else plain[: most - 1] + "…")


def _list(values, most: int = SHOWN) -> str:
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(map(_text, values[:most])) + more


def _number(value) -> str:
    """Four digits; below 1 four decimals, and large numbers to the unit."""
    if value is None or not np.isfinite(value):
        return "–"
    if abs(value) >= 10_000:
        return f"{value:,.0f}"
    if value == int(value):
        return f"{value:.0f}"
    return f"{round(value, 4):.4g}" if abs(value) > 0.001 else f"{value:.2g}"


def _interval(score: dict | None) -> str:
    """A value with its interval, if it has one."""
    if not score:
        return "–"
    bounded = score.get("low") is not None and np.isfinite(score["low"])
    return _number(score["value"]) + (f" ({_number(score['low'])} to {_number(score['high'])})" if bounded else "")


def _lead(value: float | None, bounds: dict) -> str:
    """A lead with its sign, and its interval."""
    return "–" if value is None else ("+" if value > 0 else "") + _interval(bounds | {"value": value})


def _share(hits: int, of: int) -> str:
    if not of:
        return "–"
    low, high = _wilson(hits, of)
    return f"{hits / of:.1%} ({low:.1%} to {high:.1%})"


def _wilson(hits: int, of: int) -> tuple[float, float]:
    found = stats.binomtest(hits, of).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def _independent(contract, take: str = "take", are: str = "are") -> str:
    narrow = f", which {take} rows of one group as independent and so {are} too narrow"
    return narrow if contract.split == "group" else ""


def _because(reason) -> str:
    return f" ({_text(reason, 400)})" if reason else ""


def _values(entry: dict) -> str:
    """What a column holds, in a few words."""
    if entry["kind"] == "number" and entry["edges"]:
        middle = entry["edges"][min(int(np.searchsorted(np.cumsum(entry["shares"]), 0.5)), len(entry["edges"]) - 1)]
        return f"{_number(entry['edges'][0])} to {_number(entry['edges'][-1])}, median {_number(middle)}"
    if entry["kind"] == "date" and entry["edges"]:
        return f"{_day(entry['edges'][0])} to {_day(entry['edges'][-1])}"
    if entry.get("values"):
        named = [
            f"{_text(value, 24)} {share:.0%}" for value, share in zip(entry["values"], entry["shares"], strict=False)
        ]
        others = entry["different"] - min(len(named), 3)
        return ", ".join(named[:3]) + (f", {others:,} other{'s' * (others > 1)}" if others else "")
    return f"{entry['different']:,} different" if entry.get("different") else "none"


def _shown(value, kind: str) -> str:
    if value is None:
        return "*missing*"
    if kind == "number":
        return _number(value)
    return _day(value) if kind == "date" else _text(value)


def _day(moment) -> str:
    return str(moment)[:19].replace("T", " ").removesuffix(" 00:00:00")


def _dates(entries: dict) -> str | None:
    spans = [
        f"{_text(name)} {_day(entry['edges'][0])} to {_day(entry['edges'][-1])}"
        for name, entry in entries.items()
        if entry["edges"]
    ]
    return "; ".join(spans[:SHOWN]) or None


def _some(index: pd.Index) -> list[tuple]:
    """Up to six of a column's values, both ends among them, and the missing one."""
    present = [place for place, value in enumerate(index) if value is not None]
    chosen = {present[place] for place in np.linspace(0, len(present) - 1, 6).round().astype(int)} if present else set()
    return [(place, value) for place, value in enumerate(index) if place in chosen or value is None]


def _lines(lines: dict) -> str:
    return "\n".join(f"- **{name}**: {value}" for name, value in lines.items() if value not in (None, ""))


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def _render(part: str | dict) -> str:
    """Turn a part of the card into HTML; a mapping holds pictures, by what they show."""
    if not isinstance(part, str):
        return _pictures(part)
    # What looks like HTML is shown as it is written.
    page = mistune.create_markdown(plugins=["table"], escape=True)(part)
    return f"<details><summary>The same in numbers</summary>\n{page}</details>" if isinstance(part, Folded) else page


def _pictures(drawn: dict) -> str:
    pictures = []
    for name, figure in drawn.items():
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=150)
        source = base64.b64encode(picture.getvalue()).decode()
        width = round(figure.get_figwidth() * 96)
        pictures.append(
            f'<img alt="{html.escape(name, quote=True)}" width="{width}" src="data:image/png;base64,{source}">'
        )
    return f'<div class="pictures{" one" * (len(pictures) == 1)}">\n' + "\n".join(pictures) + "\n</div>"
