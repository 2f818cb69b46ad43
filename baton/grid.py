"""The candidates of a training: what a grid file asks for, each list of values taken apart into candidates, checked.

A grid file is a list of entries, in `grids/`. `model` is an id of `baton/models.py`, or several: `a+b` for a blend,
`stack(a+b)` for a stack, or `ensemble` for one of the other candidates. A parameter that is a list of values is a
sweep: the entry stands for each combination.
"""

import itertools
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from baton import SettingsError, config, models
from baton.training.study import SAMPLERS

# The keys of an entry; None has to be given.
KEYS = {"candidate": None, "model": None, "model_params": {}, "tune": 0, "prepare": "auto"}
NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")  # which YAML takes for a text: 1e-3
FEWEST_ROWS = 100  # by which settings may be searched
THREADS = ("n_jobs", "num_threads", "num_thread", "nthread", "nthreads", "thread_count")  # as each package calls them
LONGEST = 150  # letters in the name of a candidate, which names a folder


def file_of(grid: str) -> Path:
    """The file that `grid` in `env.yaml` means: one in `grids/` by its name alone, or any by its path."""
    return config.ROOT / (grid if "/" in grid or grid.endswith((".yaml", ".yml")) else f"grids/{grid}.yaml")


def read(grid: str) -> list[dict]:
    """Read the candidates of a grid file, in its order, with the keys of `KEYS` and `swept`.

    `swept` are the parameters of a candidate, by name, whose entry gives several values for them. Raises `BatonError`
    naming the first entry that is written wrongly.
    """
    file = file_of(grid)
    where = str(file.relative_to(config.ROOT) if file.is_relative_to(config.ROOT) else file)
    if not os.path.isfile(file):  # False, too, for a name that is too long
        there = ", ".join(sorted(one.stem for one in (config.ROOT / "grids").glob("*.yaml")))
        nearest = config.did_you_mean(grid, there.split(", "))
        raise SettingsError(f"grid: there is no file {where}{nearest}. In grids/ there are: {there}")
    try:
        entries = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, ValueError) as error:  # such as a date that there is not
        raise SettingsError(f"{where}: this is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(entries, list) or not entries:
        raise SettingsError(f"{where}: write a list of entries, such as `- {{candidate: forest, model: rf}}`")
    candidates = {}
    for number, entry in enumerate(entries, 1):
        _require_entry(entry, f"{where}, entry {number}")
        try:
            json.dumps(entry)
        except (TypeError, ValueError, RecursionError):
            raise SettingsError(
                f"{where}, entry {number}: it holds a value that is no number, text, list or mapping (or holds itself)."
                " Put a date in quotes"
            ) from None
        try:
            expanded = [*_candidates(KEYS | entry)]
            for candidate in expanded:
                check(candidate)
        except SettingsError as error:
            raise SettingsError(f"{where}: {error}") from None
        for candidate in expanded:
            if candidate["candidate"] in candidates:
                tip = ". A list is values to try; one value that is a list is written [[50, 50]]"
                raise SettingsError(
                    f"{where}: two candidates are called {candidate['candidate']!r}{tip if len(expanded) > 1 else ''}"
                )
            candidates[candidate["candidate"]] = candidate
    ensembles = [name for name, candidate in candidates.items() if candidate["model"] == models.ENSEMBLE]
    if len(ensembles) > 1:
        raise SettingsError(
            f"{where}: candidates {ensembles[0]!r} and {ensembles[1]!r} are the same ensemble; keep one"
        )
    if ensembles and len(candidates) - len(ensembles) < 2:
        raise SettingsError(
            f"{where}: candidate {ensembles[0]!r}: an ensemble is made of two other candidates or more; add some"
        )
    return [*candidates.values()]


def check(candidate: dict, task: str | None = None) -> None:
    """Raise `BatonError` if a candidate is written wrongly, or can't answer the question.

    `task` is the kind of question, once that is known.
    """
    name, model, model_params, tune, prepare = ((KEYS | candidate)[key] for key in KEYS)
    where, members = f"candidate {name!r}", models.members(str(model))
    if str(model).startswith("stack") and not (models.is_stack(model) and len(members) > 1):
        raise SettingsError(f"{where}: a stack is written stack(rf+lightgbm), of two models or more (it is {model!r})")
    for member in members:
        if member not in models.CATALOGUE:
            nearest, offered = config.did_you_mean(member, [*models.CATALOGUE]), ", ".join(models.CATALOGUE)
            raise SettingsError(f"{where}: there is no model {member!r}{nearest}. Choose from: {offered}")
        if members.count(member) > 1:
            raise SettingsError(f"{where}: {model!r} names {member!r} twice")
        package = models.CATALOGUE[member].package
        if package not in models.packages():
            raise SettingsError(
                f"{where}: model {member!r} needs the package {package}, which is not installed. Add"
                f" {models.PACKAGES[package]!r} to GROUPS in noxfile.py"
            )
    if task and (unable := models.unable(model, task)):
        raise SettingsError(f"{where}: the question is {task}, and model {unable[0]!r} can't answer it; take another")
    if not isinstance(model_params, dict):
        raise SettingsError(
            f"{where}: model_params must be a mapping such as {{max_depth: 4}} (it is {model_params!r})"
        )
    for part in [one for one in (model_params, *model_params.values()) if isinstance(one, dict)]:
        if threads := next((key for key in THREADS if part.get(key, 1) != 1), None):
            raise SettingsError(
                f"{where}: {threads} is {part[threads]}, and a build has a process on each core already: leave it out"
            )
        if any(isinstance(part.get(key), dict | list) for key in ("class_weight", "class_weights")):
            raise SettingsError(
                f"{where}: class_weight is balanced, or left out; to weigh classes otherwise, give each row its weight"
                " in a column, and name that as weight in env.yaml"
            )
    if not _is_budget(tune):
        raise SettingsError(
            f"{where}: tune must be a number of trials, 0 for none, or a mapping such as {{trials: 200, minutes: 10,"
            f" rows: 20000, sampler: random}} (it is {tune!r})"
        )
    if isinstance(tune, dict) and (sampler := tune.get("sampler", SAMPLERS[0])) not in SAMPLERS:
        nearest = config.did_you_mean(str(sampler), [*SAMPLERS])
        raise SettingsError(
            f"{where}: tune: there is no sampler {sampler!r}{nearest}. Choose from: {', '.join(SAMPLERS)}"
        )
    if not isinstance(prepare, str) or not re.fullmatch(r"[A-Za-z_]\w*", prepare):
        raise SettingsError(
            f"{where}: prepare must be auto, {models.SCALED}, {models.NATIVE}, or a function of your feature"
            f" file (it is {prepare!r})"
        )
    if model == models.ENSEMBLE and (model_params or tune or prepare != "auto"):
        raise SettingsError(f"{where}: an ensemble has no settings of its own: leave out all but candidate and model")
    if len(members) > 1:
        joined = "stack" if models.is_stack(model) else "blend"
        if tune:
            raise SettingsError(f"{where}: a {joined} can't be tuned; set tune to 0")
        if odd := [key for key, value in model_params.items() if key not in members or not isinstance(value, dict)]:
            raise SettingsError(
                f"{where}: model_params of a {joined} are a mapping for each member, such as {{{members[0]}: {{…}}}};"
                f" {odd[0]!r} is no member, or no mapping"
            )


def _is_budget(tune) -> bool:
    """Tell whether `tune` is what `study.Budget.of` reads, whatever its sampler."""
    given = dict(tune) if isinstance(tune, dict) else {"trials": tune}
    given.pop("sampler", None)
    numbers = all(map(config.is_number, given.values()))
    if not given.keys() & {"trials", "minutes"} or given.keys() - {"trials", "minutes", "rows"} or not numbers:
        return False
    trials, rows, least = given.get("trials", 1), given.get("rows", FEWEST_ROWS), int(isinstance(tune, dict))
    whole = isinstance(trials, int) and isinstance(rows, int)
    return whole and trials >= least and rows >= FEWEST_ROWS and 0 < given.get("minutes", 1) < math.inf


def _require_entry(entry, where: str) -> None:
    if not isinstance(entry, dict):
        raise SettingsError(f"{where}: write a mapping, such as `- {{candidate: forest, model: rf}}` (it is {entry!r})")
    for key in entry:
        if key not in KEYS:
            raise SettingsError(f"{where}: there is no such key as {key!r}{config.did_you_mean(str(key), [*KEYS])}")
    for key in (key for key, value in KEYS.items() if value is None):
        if not entry.get(key) or isinstance(entry[key], dict) or (key == "candidate" and isinstance(entry[key], list)):
            raise SettingsError(f"{where}: {key} is missing, such as in `- {{candidate: forest, model: rf}}`")
    name = str(entry["candidate"])
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise SettingsError(
            f"{where}: {name!r} names a folder: write it in letters, digits, hyphens, dots, underscores"
        )


def _candidates(entry: dict) -> Iterator[dict]:
    """Take an entry apart: a candidate for each combination of the values that it lists, named by what differs."""
    for combined, swept in _combinations({key: value for key, value in entry.items() if key != "candidate"}):
        names = [path[-1] if len(path) < 3 else ".".join(path[1:]) for path in swept]  # of a blend: rf.max_depth
        swept = dict(zip(names, swept.values(), strict=True))
        parts = [f"{name}={re.sub(r'[^A-Za-z0-9_.+-]+', '_', str(value))}" for name, value in swept.items()]
        name = "-".join([str(entry["candidate"]), *parts])
        if len(name) > LONGEST:
            raise SettingsError(f"candidate {entry['candidate']!r}: {name!r} is too long to name a folder: sweep less")
        yield {"candidate": name, **combined, "swept": swept}


def _combinations(value, path: tuple = ()) -> Iterator[tuple]:
    """Yield (value, {path: value chosen from a list}) for each combination of the lists in a value."""
    if isinstance(value, list):
        if not value:
            raise SettingsError(f"{path[-1]} lists no value: leave it out, or give it one")
        for one in value:
            yield _number(one), {path: _number(one)} if len(value) > 1 else {}
    elif isinstance(value, dict):
        parts = [[*_combinations(one, (*path, str(key)))] for key, one in value.items()]
        for chosen in itertools.product(*parts):
            swept = {name: one for _, found in chosen for name, one in found.items()}
            yield {key: one for key, (one, _) in zip(value, chosen, strict=True)}, swept
    else:
        yield _number(value), {}


def _number(value):
    return float(value) if isinstance(value, str) and NUMBER.fullmatch(value) else value
