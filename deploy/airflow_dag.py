"""Score the new rows every night, by Airflow 3.

Install:  cp deploy/airflow_dag.py "$AIRFLOW_HOME/dags/baton_score.py"
Change:   the place, the time. The workers need /opt/baton; Baton has its own environment there.
"""

import datetime

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, CronTriggerTimetable

with DAG(
    "baton_score",
    schedule=CronTriggerTimetable("15 3 * * *", timezone="UTC"),
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    catchup=False,  # days that were missed: baton backfill
    max_active_runs=1,
):
    BashOperator(
        task_id="score",
        # The batch is named by the day (in UTC) that the run is for, also if the run is cleared a week later.
        bash_command="/opt/baton/.venv-serve/bin/baton score"
        " --env--batch {{ (dag_run.logical_date or dag_run.run_after) | ds }}",
        cwd="/opt/baton",
        skip_on_exit_code=3,  # nothing to do: the task is skipped, which is neither success nor failure
        retries=0,  # it would try again whatever the code, and most codes need a person
        execution_timeout=datetime.timedelta(hours=6),
        # Passwords that env.yaml writes as ${NAME}:
        # env={"NAME": "{{ conn.baton.password }}"}, append_env=True,
    )
