"""MLflow's pages on the store of `env.yaml`, opened where the trainings are.

All in one process, which ends with the one that started it: `mlflow ui` starts others that outlive it.
"""

import argparse
import contextlib
import os
import socket
import sys
import threading
import time
import urllib.parse
import warnings
import webbrowser

from baton import BatonError, config
from baton.handover import tracking


def main(arguments: list[str] | None = None) -> int:
    """Print and open the page of the trainings, and serve it until interrupted if the store is not a server itself."""
    parser = argparse.ArgumentParser("nox -s ui --", description="MLflow's pages on the store of env.yaml.")
    parser.add_argument("--port", type=int, default=5000, help="on 127.0.0.1; another one is taken if it is busy")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    asked = parser.parse_args(arguments)
    with contextlib.suppress(KeyboardInterrupt):  # it is how this ends, not an error
        try:
            settings = config.check_settings({})
            uri = tracking.resolve_uri(settings.mlflow_tracking_uri)
            if uri.startswith("http"):
                show(find_page(server_address(uri), settings), asked.no_browser)
            else:
                serve(uri, settings, asked)
        except BatonError as mistake:
            print(mistake, file=sys.stderr)
            return 1
    return 0


def find_page(server: str, settings: config.Settings) -> str:
    """Return the address of the experiment's runs; of all experiments if it has none yet.

    Without the workflow in the address, MLflow 3 shows its pages for language models, which have no runs.
    """
    found = tracking.connect(settings.mlflow_tracking_uri).get_experiment_by_name(settings.name)
    place = f"experiments/{found.experiment_id}/runs" if found else "experiments"
    return f"{server}/#/{place}?workflowType=machine_learning"


def server_address(uri: str) -> str:
    """Leave user and password out of a server's address."""
    parts = urllib.parse.urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def listen(port: int) -> socket.socket:
    """Listen at a port of 127.0.0.1: this one, or any other if it is busy. From then on it cannot be taken."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        free = socket.create_server(("127.0.0.1", 0))
        print(f"Port {port} is busy; using {free.getsockname()[1]}.", flush=True)
        return free


def serve(uri: str, settings: config.Settings, asked: argparse.Namespace) -> None:
    """Serve MLflow's pages in this process, until a signal or the end of the process that started it."""
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    listening = listen(asked.port)
    page = find_page(f"http://127.0.0.1:{listening.getsockname()[1]}", settings)

    import uvicorn
    from mlflow.server import constants

    warnings.simplefilter("ignore")  # what MLflow's libraries say to each other
    # What `mlflow ui` hands to the server it starts; without its runner of background jobs, which nothing here uses.
    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = os.environ[constants.REGISTRY_STORE_URI_ENV_VAR] = uri
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    server = uvicorn.Server(
        uvicorn.Config("mlflow.server.fastapi_app:app", log_level="warning", timeout_graceful_shutdown=2)
    )

    def announce():
        while not server.started:
            time.sleep(0.1)
        show(page, asked.no_browser)
        print("Ctrl-C ends it.", flush=True)

    threading.Thread(target=announce, daemon=True).start()
    server.run(sockets=[listening])


def show(page: str, no_browser: bool) -> None:
    """Print an address, and open it where there is a screen."""
    print(f"The trainings: {page}", flush=True)
    screen = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if screen and not no_browser:
        webbrowser.open(page)


def _end_with(parent: int) -> None:
    """End this process when its parent has ended, whatever ended that."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
