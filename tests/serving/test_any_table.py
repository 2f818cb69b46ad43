"""Whatever table arrives: each row is scored or rejected, in its order, and the size of the chunks changes nothing."""

import concurrent.futures
import contextlib
import itertools

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from serving.test_scoring import train

from baton import config
from baton.data import tables
from baton.handover import registry, runner
from baton.serving import batch, scoring

NUMBERS = st.one_of(
    st.floats(-3, 3).map(str), st.sampled_from(["", "NA", "?", "inf", "1,5", "-0", " 2 ", "1e400", "nan", "x"])
)
DATES = st.one_of(
    st.dates(pd.Timestamp("1900-01-01").date()).map(str),
    st.sampled_from(["", "2026-13-01", "soon", "2026-01-05T10:00"]),
)
TEXTS = st.one_of(
    st.sampled_from(["Bern", "Basel", "", "-"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=5),
)
ROW = st.fixed_dictionaries(
    {
        "id": st.one_of(st.integers(0, 9).map(str), st.sampled_from(["", "07", "a"])),
        "x": NUMBERS,
        "when": DATES,
        "city": TEXTS,
    }
)
names = itertools.count()


@pytest.fixture
def asked(tmp_path, monkeypatch) -> config.Settings:
    """A champion that scores in this process: to ask another for each of hundreds of chunks would take minutes."""
    asked = train(tmp_path, monkeypatch)
    version = registry.version_of("demo", "1", asked.mlflow_tracking_uri)
    pipeline = runner.load(version.path)

    @contextlib.contextmanager
    def workers(model, engine):
        def submit(work, **given):
            done = concurrent.futures.Future()
            done.set_result(scoring.score_chunk(pipeline, model.path, **given))
            return done

        yield submit, 1

    monkeypatch.setattr(registry, "workers", workers)
    monkeypatch.setattr(registry, "version_of", lambda *_: version)
    monkeypatch.setattr(registry, "require_champion", lambda *_: version)
    return asked


@hypothesis_settings(
    max_examples=15, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(ROW, min_size=1, max_size=30), reject=st.sets(st.sampled_from([*config.REASONS])))
def test_rows_in_are_rows_scored_and_rejected_in_order_whatever_the_chunks(asked, rows, reject):
    whole = {"id": "77", "x": "1", "when": "2026-01-02", "city": "Bern"}  # else a column may be of another kind
    table = pd.DataFrame([*rows, whole], columns=[*whole])
    file = f"t{next(names)}.parquet"
    table.to_parquet(config.ROOT / file)
    expected = None
    for size in (1, 7, 1000, len(table)):
        name = f"b{next(names)}"
        keys = {
            "score_data": file,
            "batch": name,
            "reject": sorted(reject),
            "max_reject_rate": 1,
            "bounds": {"x": [-2, 2]},
        }
        received, model, head = batch.receive(asked.model_copy(update=keys))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(batch, "rows_of_a_chunk", lambda columns, size=size: size)
            manifest = scoring.score(received, asked.model_copy(update=keys))
        scored, rejected = (
            batch.read(received.result),
            tables.read_table(received.result / "_rejects.parquet") if manifest["rows_rejected"] else None,
        )
        places = [] if rejected is None else rejected["_row"].tolist()
        assert manifest["rows_in"] == len(table) == len(scored) + len(places)
        assert places == sorted(places)
        left = [row for row in range(len(table)) if row not in places]
        assert [str(value) for value in scored["id"]] == [table["id"][row] for row in left]
        if rejected is not None:
            assert rejected["x"].fillna("").tolist() == [table["x"][row] for row in places]  # as it came
        found = (
            scored.drop(columns="scored_at").to_csv(),
            None if rejected is None else rejected.to_csv(),
            manifest["warnings"],
        )
        expected = expected or found
        assert found == expected, size
