"""Score a Spark table by a registered model, as MLFlow's own `spark_udf` does, and hold the answers against a batch's.

    nox -s spark

Trains two candidates on the sample, scores its new rows by `baton score` and, on a Spark of this machine, by the
function that docs/scale.md shows; ends with an error unless each row has the same answer.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import yaml
from train import PLOOMBER, PROGRAMS, copy_project, seconds


def main() -> None:
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    with tempfile.TemporaryDirectory() as made:
        project = copy_project(Path(made))
        os.environ["PYTHONPATH"] = str(project)
        grid = yaml.safe_load((project / "bench/grid.yaml").read_text())
        (project / "two.yaml").write_text(yaml.safe_dump([one for one in grid if one["candidate"] in {"lr", "forest"}]))
        seconds([PLOOMBER, "build", "--env--grid", "two.yaml"], project)
        seconds([str(PROGRAMS / "baton"), "score", "--env--batch", "here"], project)
        expected = pd.read_parquet(project / "predictions/diabetes/batch=here")
        os.chdir(project)

        started = time.perf_counter()
        import mlflow
        from pyspark.sql import SparkSession
        from pyspark.sql.functions import struct

        spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
        spark.sparkContext.setLogLevel("ERROR")
        mlflow.set_tracking_uri("sqlite:///mlflow.db")
        rows = spark.read.csv("data/diabetes_test.csv", header=True, inferSchema=True).repartition(4)
        predict = mlflow.pyfunc.spark_udf(spark, "models:/diabetes@champion", result_type="long", env_manager="local")
        columns = [column for column in rows.columns if column != "Outcome"]
        scored = rows.withColumn("prediction", predict(struct(*columns))).toPandas()
        spark.stop()

        # Spark keeps no order: both are put into that of their values.
        ours = pd.read_csv("data/diabetes_test.csv").assign(prediction=expected["prediction"])
        by = [*columns, "prediction"]
        both = (one[by].sort_values(by, ignore_index=True) for one in (ours, scored))
        pd.testing.assert_frame_equal(*both, check_dtype=False, check_exact=True)
        took = time.perf_counter() - started
        print(f"{len(scored)} rows have the same answer; Spark took {took:.0f} s to start and score.")


if __name__ == "__main__":
    main()
