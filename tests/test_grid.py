"""Which candidates a grid file means, and what is said of one that is written wrongly."""

import contextlib
import itertools
import re

import pytest
from conftest import PROJECT

from baton import BatonError, config, grid, models


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write a grid file called "mine"."""
    monkeypatch.setattr(config, "ROOT", tmp_path)
    (tmp_path / "grids").mkdir()

    def write(text: str) -> str:
        (tmp_path / "grids" / "mine.yaml").write_text(text)
        return "mine"

    return write


@pytest.mark.parametrize(
    "file",
    [*(config.ROOT / "grids").glob("*.yaml"), PROJECT / "grids/default.yaml"],
    ids=lambda one: f"{one.parent.parent.name}-{one.stem}",
)
def test_every_grid_that_comes_along_can_be_read(file):
    found = len(grid.read(str(file)))
    assert found == {"elasticnet": 100, "quick": 3, "best": 16}.get(file.stem, found) > 0  # others may be yours


@pytest.mark.parametrize("name", ["mine", "grids/mine.yaml", "other.yml"])
def test_a_grid_is_named_by_its_name_alone_or_its_path(written, name):
    written("- {candidate: lr, model: lr}")
    (config.ROOT / "other.yml").write_text("- {candidate: lr, model: lr}")
    assert [one["candidate"] for one in grid.read(name)] == ["lr"]


def test_an_entry_without_lists_is_one_candidate(written):
    asked = written(
        "- {candidate: forest, model: rf, model_params: {min_samples_leaf: 5}, tune: 3}\n- {candidate: lr, model: lr}"
    )
    assert grid.read(asked) == [
        {
            "candidate": "forest",
            "model": "rf",
            "model_params": {"min_samples_leaf": 5},
            "tune": 3,
            "prepare": "auto",
            "swept": {},
        },
        {"candidate": "lr", "model": "lr", "model_params": {}, "tune": 0, "prepare": "auto", "swept": {}},
    ]


def test_lists_of_values_are_a_candidate_for_each_combination_named_by_what_differs(written):
    found = grid.read(
        written(
            "- {candidate: en, model: en, model_params: {alpha: [0.1, 1], selection: random, l1_ratio: [0.5, 0.9]}}"
        )
    )
    assert [one["candidate"] for one in found] == [
        "en-alpha=0.1-l1_ratio=0.5", "en-alpha=0.1-l1_ratio=0.9", "en-alpha=1-l1_ratio=0.5", "en-alpha=1-l1_ratio=0.9",
    ]  # fmt: skip
    pairs = [{"alpha": alpha, "l1_ratio": ratio} for alpha, ratio in itertools.product([0.1, 1], [0.5, 0.9])]
    assert [one["swept"] for one in found] == pairs
    assert [one["model_params"] for one in found] == [{"selection": "random"} | pair for pair in pairs]


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        # Of a blend, the member goes before the parameter.
        (
            "{candidate: both, model: lr+rf, model_params: {rf: {max_depth: [3, 5]}, lr: {C: 1}}}",
            ["both-rf.max_depth=3", "both-rf.max_depth=5"],
        ),
        ("{candidate: one, model: [lr, knn]}", ["one-model=lr", "one-model=knn"]),
        ("{candidate: lr, model: lr, tune: [0, 5]}", ["lr-tune=0", "lr-tune=5"]),
        # A value that is a list stands in one of its own, as in Ploomber's grid; one value alone differs in nothing.
        ("{candidate: net, model: mlp, model_params: {hidden_layer_sizes: [[20, 20]]}}", ["net"]),
        (
            "{candidate: net, model: mlp, model_params: {hidden_layer_sizes: [[20, 20], [9]]}}",
            ["net-hidden_layer_sizes=_20_20_", "net-hidden_layer_sizes=_9_"],
        ),
        ("{candidate: lr, model: lr, model_params: {C: [1e-3, 10]}}", ["lr-C=0.001", "lr-C=10"]),
        ("{candidate: knn, model: knn, model_params: {weights: [a/b, null]}}", ["knn-weights=a_b", "knn-weights=None"]),
    ],
)  # fmt: skip
def test_what_a_sweep_is_called(written, entry, names):
    assert [one["candidate"] for one in grid.read(written(f"- {entry}"))] == names


def test_a_small_number_is_a_number(written):
    (found,) = grid.read(written("- {candidate: lr, model: lr, model_params: {C: 1e-3}}"))
    assert found["model_params"] == {"C": 0.001}


def test_a_value_that_is_a_list_is_kept_whole(written):
    (found,) = grid.read(written("- {candidate: net, model: mlp, model_params: {hidden_layer_sizes: [[20, 10]]}}"))
    assert (found["model_params"], found["swept"]) == ({"hidden_layer_sizes": [20, 10]}, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {candidate: a", "grids/mine.yaml: this is no YAML: "),
        ("", "grids/mine.yaml: write a list of entries, such as"),
        ("a: {model: lr}", "grids/mine.yaml: write a list of entries, such as"),
        ("- lr", "grids/mine.yaml, entry 1: write a mapping, such as `- {candidate: forest, model: rf}` (it is 'lr')"),
        ("- {candidate: a, model: lr}\n- {candidate: b, modle: lr}", "grids/mine.yaml, entry 2: there is no such key as 'modle' (did you mean 'model'?)"),
        ("- {candidate: a}", "grids/mine.yaml, entry 1: model is missing, such as in"),
        ("- {model: lr}", "grids/mine.yaml, entry 1: candidate is missing, such as in"),
        ("- {candidate: [a, b], model: lr}", "grids/mine.yaml, entry 1: candidate is missing, such as in"),
        ("- {candidate: a, model: lr, model_params: {C: []}}", "grids/mine.yaml: C lists no value: leave it out, or"),
        ("- {candidate: a, model: lr, model_params: {C: 2020-13-45}}", "grids/mine.yaml: this is no YAML: month must be"),
        ("- {candidate: a, model: lr, model_params: {C: 2020-01-05}}", "grids/mine.yaml, entry 1: it holds a value that is no number"),
        ("- &a {candidate: a, model: lr, model_params: *a}", "grids/mine.yaml, entry 1: it holds a value that is no number"),
        ("- {candidate: a/b, model: lr}", "grids/mine.yaml, entry 1: 'a/b' names a folder: write it in letters, digits"),
        ("- {candidate: a, model: lr}\n- {candidate: a, model: rf}", "grids/mine.yaml: two candidates are called 'a'"),
        ("- {candidate: a, model: lr, model_params: {C: [1, 1.0, 1]}}", "grids/mine.yaml: two candidates are called 'a-C=1'. A list is values to try; one value that is a list is written [[50, 50]]"),
        ("- {candidate: a, model: lrr}", "grids/mine.yaml: candidate 'a': there is no model 'lrr' (did you mean 'lr'?)"),
        (f"- {{candidate: a, model: lr, model_params: {{class_weight: [null, {'x' * 150}]}}}}", "too long to name a folder: sweep less"),
    ],
)  # fmt: skip
def test_a_wrong_grid_file_is_named_with_what_is_wrong(written, text, message):
    with pytest.raises(BatonError, match=re.escape(message)):
        grid.read(written(text))


def test_a_grid_that_is_not_there_is_named_with_those_that_are(written):
    written("- {candidate: a, model: lr}")
    said = "grid: there is no file grids/mien.yaml (did you mean 'mine'?). In grids/ there are: mine"
    with pytest.raises(BatonError, match=re.escape(said)):
        grid.read("mien")
    with pytest.raises(BatonError, match=re.escape("grid: there is no file sweeps/mine.yaml")):
        grid.read("sweeps/mine.yaml")
    with pytest.raises(BatonError, match=re.escape("grid: there is no file /nowhere/mine.yaml")):
        grid.read("/nowhere/mine.yaml")
    with pytest.raises(BatonError, match=re.escape("grid: there is no file grids/other. In")):
        grid.read("grids/other")
    with pytest.raises(BatonError, match="grid: there is no file grids/x+.yaml"):
        grid.read("x" * 400)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": "rff"}, "there is no model 'rff' (did you mean 'rf'?). Choose from: lr, ridge, lasso, en"),
        ({"model": "xgbost"}, "there is no model 'xgbost' (did you mean 'xgboost'?)"),
        ({"prepare": "for trees"}, "prepare must be auto, scaled, native, or a function of your feature file (it is"),
        ({"model": None}, "there is no model 'None'"),
        ({"model": "lr+lihgtgbm"}, "there is no model 'lihgtgbm' (did you mean 'lightgbm'?)"),
        ({"model": "lr+"}, "there is no model ''"),
        ({"model_params": [4]}, "model_params must be a mapping such as {max_depth: 4} (it is [4])"),
        (
            {"model": "lightgbm", "model_params": {"n_jobs": 2}},
            "n_jobs is 2, and a build has a process on each core already: leave it out",
        ),
        (
            {"model": "lr+catboost", "model_params": {"catboost": {"thread_count": -1}}},
            "thread_count is -1, and a build",
        ),
        ({"model": "lr", "prepare": None}, "prepare must be auto, "),
        ({"model": "lr", "prepare": True}, "prepare must be auto, "),
        ({"model": "catboost", "model_params": {"class_weights": [1, 5]}}, "class_weight is balanced, or left out"),
        (
            {"model": "lr", "model_params": {"class_weight": {"no": 1, "yes": 5}}},
            "class_weight is balanced, or left out",
        ),
        ({"model": "lr+rf", "model_params": {"rf": {"class_weight": {0: 1}}}}, "class_weight is balanced, or left out"),
        ({"model": "lr", "model_params": {"class_weights": {0: 1}}}, "class_weight is balanced, or left out"),
        ({"model_params": None}, "model_params must be a mapping such as {max_depth: 4} (it is None)"),
        *(
            (
                {"tune": wrong},
                f"tune must be a number of trials, 0 for none, or a mapping such as {{trials: 200, minutes: 10, rows: 20000, sampler: random}} (it is {wrong!r})",
            )
            for wrong in (
                "many",
                {"minutes": float("inf")},
                -1,
                2.5,
                True,
                None,
                {},
                {"trials": 0},
                {"minutes": 0},
                {"trials": 2.5},
                {"trials": True},
                {"trials": 5, "hours": 1},
                {"minutes": "ten"},
                {"rows": 500},
                {"trials": 5, "rows": 99},
                {"trials": 5, "rows": 200.5},
                {"sampler": "random"},
            )
        ),
        (
            {"model": "lr+rf", "model_params": {"C": 1}},
            "model_params of a blend are a mapping for each member, such as {lr: {…}}; 'C' is no member",
        ),
        (
            {"tune": {"trials": 5, "sampler": "randm"}},
            "tune: there is no sampler 'randm' (did you mean 'random'?). Choose from: tpe, random",
        ),
        ({"model": "lr+rf", "tune": 5}, "a blend can't be tuned; set tune to 0"),
        ({"model": "lr+rf+lr"}, "'lr+rf+lr' names 'lr' twice"),
        (
            {"model": "lr+rf", "model_params": {"lr": 1}},
            "model_params of a blend are a mapping for each member, such as {lr: {…}}; 'lr' is no member, or no mapping",
        ),
        ({"model": "stack(rf)"}, "a stack is written stack(rf+lightgbm), of two models or more (it is 'stack(rf)')"),
        ({"model": "stack()"}, "a stack is written stack(rf+lightgbm), of two models or more (it is 'stack()')"),
        (
            {"model": "stack(lr+rf"},
            "a stack is written stack(rf+lightgbm), of two models or more (it is 'stack(lr+rf')",
        ),
        ({"model": "stack"}, "a stack is written stack(rf+lightgbm), of two models or more (it is 'stack')"),
        ({"model": "stack(lr+rff)"}, "there is no model 'rff' (did you mean 'rf'?)"),
        ({"model": "stack(lr+stack(rf+knn))"}, "there is no model 'stack(rf'"),
        ({"model": "stack(lr+lr)"}, "'stack(lr+lr)' names 'lr' twice"),
        ({"model": "stack(lr+rf)", "tune": 5}, "a stack can't be tuned; set tune to 0"),
        (
            {"model": "stack(lr+rf)", "model_params": {"C": {}}},
            "model_params of a stack are a mapping for each member, such as {lr: {…}}; 'C' is no member",
        ),
    ],
)
def test_a_wrong_candidate_is_named_with_what_is_wrong(changed, message):
    right = grid.KEYS | {"candidate": "mine", "model": "rf"}
    grid.check(right)
    with pytest.raises(BatonError, match=re.escape(f"candidate 'mine': {message}")):
        grid.check(right | changed)


def test_an_ensemble_is_an_entry_without_settings_beside_two_others(written):
    others = "- {candidate: a, model: lr}\n- {candidate: b, model: rf}\n"
    assert [one["model"] for one in grid.read(written(f"{others}- {{candidate: all, model: ensemble}}"))][
        2
    ] == "ensemble"
    for key in ("tune: 3", "prepare: native", "model_params: {members: 3}"):
        with pytest.raises(
            BatonError, match="candidate 'all': an ensemble has no settings of its own: leave out all but"
        ):
            grid.read(written(f"{others}- {{candidate: all, model: ensemble, {key}}}"))
    with pytest.raises(
        BatonError, match="candidate 'all': an ensemble is made of two other candidates or more; add some"
    ):
        grid.read(written("- {candidate: all, model: ensemble}\n- {candidate: a, model: lr}"))


def test_of_ensembles_which_are_all_the_same_there_is_one(written):
    others = "- {candidate: a, model: lr}\n- {candidate: b, model: rf}\n"
    with pytest.raises(BatonError, match="candidates 'all' and 'both' are the same ensemble; keep one"):
        grid.read(written(f"{others}- {{candidate: all, model: ensemble}}\n- {{candidate: both, model: ensemble}}"))


def test_a_model_whose_package_is_not_installed_names_what_installs_it(monkeypatch):
    monkeypatch.setitem(models.PACKAGES, "not-there", "module")
    monkeypatch.setitem(models.CATALOGUE, "xgboost", models.CATALOGUE["xgboost"]._replace(package="not-there"))
    needs = "needs the package not-there, which is not installed. Add 'module' to GROUPS in noxfile.py"
    with pytest.raises(BatonError, match=f"candidate 'mine': model 'xgboost' {needs}"):
        grid.check(grid.KEYS | {"candidate": "mine", "model": "lr+xgboost"})


@pytest.mark.parametrize(
    "tune",
    [
        0,
        7,
        {"trials": 200, "minutes": 10},
        {"minutes": 0.5},
        {"trials": 1, "rows": 100},
        {"trials": 9, "sampler": "tpe"},
    ],
)
def test_what_a_candidate_may_be_tuned_for(tune):
    grid.check({"candidate": "mine", "model": "rf", "model_params": {}, "tune": tune})


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("model", ["rf", "ridge", "lr+svm", "stack(lda+gbc)"])
def test_a_candidate_is_held_to_the_question_once_that_is_known(model, task):
    asked = {"candidate": "mine", "model": model, "model_params": {}, "tune": 0}
    grid.check(asked)
    classes = ["binary", "multiclass"]
    cannot = {"ridge": classes, "lr+svm": classes, "stack(lda+gbc)": ["regression"]}.get(model, [])
    said = f"candidate 'mine': the question is {task}, and model '(ridge|svm|lda)' can't answer it"
    with pytest.raises(BatonError, match=said) if task in cannot else contextlib.nullcontext():
        grid.check(asked, task)
