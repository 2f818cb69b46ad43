"""Versions whose files were changed behind the registry's back: refused, before anything of them is loaded.

Each change would leave a file called `marker` if it were loaded: MLflow, which is asked too, does load them.
"""

import importlib.util
import os
import pickle
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import registering
import skops.io
import yaml
from conftest import PROJECT, warm_command
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from baton import BatonError, config
from baton.handover import registry, saving
from baton.training import preparation, tournament

LEAVE = "open({marker!r}, 'w').close()\n"


@pytest.fixture(scope="module")
def original(tmp_path_factory, diabetes, features) -> tuple[Path, np.ndarray]:
    """A store with a registered version of a linear model, and what it answers to the training rows."""
    folder = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as patch:
        asked, facts = registering.open_store(folder, patch, name="diabetes")
        prepare = preparation.prepare(features, preparation.clean_and_derive(diabetes.X, features), "binary")
        pipeline = tournament.assemble(prepare, LogisticRegression(), features).fit(diabetes.X, diabetes.y)
        code = str(PROJECT / "features.py")
        arguments = saving.model_arguments(pipeline, diabetes.contract, diabetes.X, diabetes.y, code)
        saving.save(folder / "saved", arguments, saving.take_sample(diabetes.division.training))
        model = saving.open_model(folder / "saved", run_id=facts["run_id"])
        registry.register(model, {"serves": "training"}, "", asked.mlflow_tracking_uri)
    return folder, pipeline.predict_proba(diabetes.X)


@pytest.fixture
def version(original, tmp_path, monkeypatch):
    """A copy of that store: how to fetch the version, the folder of its files, and the marker's place."""
    folder = shutil.copytree(original[0], tmp_path / "project")
    monkeypatch.setattr(config, "ROOT", folder)
    (files,) = folder.glob("mlruns/diabetes/models/*/artifacts")

    def fetch() -> saving.Model:
        return registry.version_of("diabetes", "1", f"sqlite:///{folder / 'mlflow.db'}")

    return fetch, files, tmp_path / "marker"


def describe(files: Path, change) -> None:
    """Change what MLmodel says of the sklearn model."""
    described = yaml.safe_load((files / "MLmodel").read_text())
    change(described["flavors"]["sklearn"])
    (files / "MLmodel").write_text(yaml.safe_dump(described))


def swap_the_model(files, marker):
    other = LogisticRegression().fit(np.zeros((2, 8)), [0, 1])
    skops.io.dump(Pipeline([("model", other)]), files / "model.skops")


def add_a_type(files, marker):
    """A class whose module leaves the marker, in the model, beside its feature code, and on MLflow's own list."""
    strange = types.ModuleType("strange")
    exec("class Strange:\n    pass\n", strange.__dict__)
    sys.modules["strange"] = strange
    (files / "code" / "strange.py").write_text(LEAVE.format(marker=str(marker)) + "class Strange:\n    pass\n")
    model = LogisticRegression()
    model.extra = strange.Strange()
    skops.io.dump(Pipeline([("model", model)]), files / "model.skops")
    describe(files, lambda sklearn: sklearn["skops_trusted_types"].append("strange.Strange"))


def put_a_pickle_in_its_place(files, marker):
    Bomb = type("Bomb", (), {"__reduce__": lambda _: (open, (str(marker), "w"))})
    (files / "model.pkl").write_bytes(pickle.dumps(Bomb()))
    (files / "model.skops").unlink()
    describe(files, lambda sklearn: sklearn.update(pickled_model="model.pkl", serialization_format="pickle"))


def edit_the_feature_code(files, marker):
    with (files / "code" / "features.py").open("a") as code:
        code.write(LEAVE.format(marker=str(marker)))


def edit_the_sample(files, marker):
    np.save(files / saving.ANSWERS, np.load(files / saving.ANSWERS) + 0.1)


def shadow_a_library(files, marker):
    """`code/` is the first place where Python looks for what is not imported yet."""
    (files / "code" / "lightgbm.py").write_text(LEAVE.format(marker=str(marker)))


def shadow_a_library_by_a_link(files, marker):
    library = marker.parent / "elsewhere" / "lightgbm"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text(LEAVE.format(marker=str(marker)))
    (files / "code" / "lightgbm").symlink_to(library)


@pytest.mark.parametrize(
    "tamper",
    [
        swap_the_model, add_a_type, put_a_pickle_in_its_place, edit_the_feature_code, edit_the_sample,
        shadow_a_library, shadow_a_library_by_a_link,
    ],
)  # fmt: skip
def test_a_changed_version_is_refused_in_one_line_and_nothing_of_it_is_loaded(version, tamper):
    fetch, files, marker = version
    assert fetch().path == files
    tamper(files, marker)
    with pytest.raises(BatonError, match=r"\Adiabetes version 1 is refused: a file of it was changed.*\Z"):
        fetch()
    assert not marker.exists()


def test_compiled_feature_code_that_was_put_beside_its_source_is_not_run(version, original, diabetes):
    """Python would take it for the source, whose time and size it names. The digest leaves caches out: MLflow makes some."""
    fetch, files, marker = version
    source = files / "code" / "features.py"
    code = compile(LEAVE.format(marker=str(marker)) + source.read_text(), str(source), "exec")
    compiled = Path(importlib.util.cache_from_source(str(source)))
    compiled.parent.mkdir(exist_ok=True)
    status = source.stat()
    compiled.write_bytes(
        importlib._bootstrap_external._code_to_timestamp_pyc(code, int(status.st_mtime), status.st_size)
    )
    np.testing.assert_array_equal(registry.predict(fetch(), diabetes.X), original[1])
    assert not marker.exists()


@pytest.mark.parametrize("allowed", ["true", "false"])
@pytest.mark.parametrize("tamper", [None, add_a_type, put_a_pickle_in_its_place, edit_the_feature_code])
def test_mlflow_by_itself_loads_what_it_is_given_or_no_model_at_all(version, tmp_path, tamper, allowed):
    """What the README says of `mlflow models serve`, and of MLFLOW_ALLOW_PICKLE_DESERIALIZATION."""
    _, files, marker = version
    if tamper:
        tamper(files, marker)
    (tmp_path / "load.py").write_text("import sys, mlflow.sklearn\nmlflow.sklearn.load_model(sys.argv[1])")
    command = [*warm_command(), "python", str(tmp_path / "load.py"), str(files)]
    environment = os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": allowed}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode == 0) == (allowed == "true"), done.stderr
    assert ("Deserializing this model is disallowed" in done.stderr) == (allowed == "false")
    assert marker.exists() == (tamper is not None and allowed == "true")
