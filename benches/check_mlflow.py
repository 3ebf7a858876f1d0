#!/usr/bin/env python3
"""Reads a log of `tapline train` with MLflow itself: in place, and moved into a database.

    python3 -m venv /tmp/mlflow && /tmp/mlflow/bin/pip install mlflow
    /tmp/mlflow/bin/python benches/check_mlflow.py mlruns

MLflow 3 calls the file store a thing of the past and reads it only with MLFLOW_ALLOW_FILE_STORE=true. `mlflow
migrate-filestore` moves it into SQLite; both must show the same runs.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"

import mlflow  # noqa: E402


def runs(uri):
    """Every run: name, status, parameters, last metrics, the curve of each metric, names of artifacts."""
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient()
    found = {}
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id]):
            curves = {
                key: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, key)]
                for key in run.data.metrics
            }
            found[run.info.run_id] = {
                "experiment": experiment.name,
                "name": run.info.run_name,
                "status": run.info.status,
                "params": dict(run.data.params),
                "metrics": dict(run.data.metrics),
                "curves": {key: sorted(points) for key, points in curves.items()},
                "artifacts": sorted(file.path for file in client.list_artifacts(run.info.run_id)),
            }
    return found


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "mlruns").resolve()
    in_place = runs(folder.as_uri())
    if not in_place:
        sys.exit(f"no runs in {folder}")
    table = mlflow.search_runs(search_all_experiments=True)
    assert len(table) == len(in_place), (len(table), len(in_place))
    with tempfile.TemporaryDirectory() as scratch:
        database = f"sqlite:///{scratch}/mlflow.db"
        command = [Path(sys.executable).parent / "mlflow", "migrate-filestore"]
        command += ["--source", str(folder), "--target", database]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        moved = runs(database)
    assert moved == in_place, "the database tells another story"
    for run_id, run in in_place.items():
        assert run["params"] and run["curves"] and run["artifacts"], f"run {run_id} is not whole"
        print(f"{run['experiment']}/{run['name']} {run['status']}: {len(run['params'])} parameters,", end=" ")
        print(f"{len(run['curves'])} curves, artifacts {', '.join(run['artifacts'])}")
    print(f"MLflow {mlflow.__version__} reads {len(in_place)} runs, in place and as a database")


if __name__ == "__main__":
    main()
