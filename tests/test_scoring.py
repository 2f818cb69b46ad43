"""A batch between the tasks of the serving pipeline; that it is published whole is for test_registry, which has a model."""

import pytest

from baton import config, scoring


@pytest.fixture
def batch(monkeypatch, tmp_path) -> scoring.Batch:
    monkeypatch.setattr(config, "ROOT", tmp_path)
    return scoring.Batch("demo", "monday", "3", "run", "digest", 2, None, [])


def test_a_batch_whose_manifest_was_cut_off_is_scored_again(batch):
    batch.folder.mkdir(parents=True)
    (batch.folder / "_manifest.json").write_text("")
    assert scoring.is_published(batch) is False
