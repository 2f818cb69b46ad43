"""Run one saved model in this process, which has no other feature code.

Started by `registry.predict` as `python -m baton.handover.runner '{"model": …}'`. Reads raw rows from Parquet and
leaves the predictions as .npy.
"""

import json
import sys
import warnings
from pathlib import Path


def load(folder: Path):
    """Load a model from its folder, its own feature code before any other, and no type that isn't trusted."""
    import skops.io

    from baton.handover.registry import trusted_types

    code = folder / "code"
    sys.path.insert(0, str(code))
    trusted = {name for file in [None, *code.glob("*.py")] for name in trusted_types(file and str(file))}
    found = skops.io.get_untrusted_types(file=folder / "model.skops")
    if unknown := sorted(set(found) - trusted):
        raise SystemExit(f"{folder / 'model.skops'} holds types that are not trusted: {', '.join(unknown)}")
    return skops.io.load(folder / "model.skops", trusted=found)


def probabilities(pipeline, X, contract):
    """Predict probabilities (rows, classes) in the order of the contract's labels, or numbers (rows,)."""
    if contract.task == "regression":
        return pipeline.predict(X)
    order = [list(pipeline.classes_).index(label) for label in contract.labels]
    return pipeline.predict_proba(X)[:, order]


def main(model: str, rows: str, predictions: str) -> None:
    import numpy as np
    import pandas as pd

    from baton.handover import registry

    warnings.simplefilter("ignore")
    pipeline = load(Path(model))
    contract = registry.open_model(Path(model)).contract
    # As in training, by the contract: a missing text is None there, and NaN in what Parquet gives.
    np.save(predictions, probabilities(pipeline, contract.read_features(pd.read_parquet(rows)), contract))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
