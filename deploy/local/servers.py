"""The private PostgreSQL and Valkey: made, started, found again. Or the servers that the environment names instead."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Union
from urllib.parse import unquote, urlsplit, urlunsplit

from processes import (
    Daemon,
    StopPlan,
    command_line,
    free_port,
    port_is_free,
    run_as,
    size_of,
    tail,
    wait_until,
    write_pid_file,
)
from run_folder import Failure, server_account, write_private

OWNER = "helpcenter_owner"
DATABASE = "helpcenter"
SERVICE_LOGIN = "helpcenter_service"
# Begins every password of a private server, so that an address from a sourced demo.env is not taken for a foreign one.
PRIVATE = "private-"

POSTGRES_STOP: StopPlan = ((signal.SIGINT, 60), (signal.SIGQUIT, 10), (signal.SIGKILL, 5))  # fast, immediate
VALKEY_STOP: StopPlan = ((signal.SIGTERM, 30), (signal.SIGKILL, 5))
SECONDS_TO_START = 120  # recovery after a crash and reading the append-only file included


class PortTaken(Exception):
    """Someone else took the port between choosing and using it."""


@dataclass(frozen=True)
class Postgres:
    programs: Path
    data: Path
    port: int
    password: str
    log: Path
    pid_file: Path
    settings: Mapping[str, str]
    throwaway: bool = False

    name = "postgres"
    stop_plan = POSTGRES_STOP

    @property
    def url(self) -> str:
        return f"postgres://{OWNER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    def daemon(self) -> Daemon:
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "max_connections": "200",
            **self.settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Daemon(
            self.name,
            [str(self.programs / "postgres"), "-D", str(self.data), *options],
            self._environment(),
            self.data,
            self.log,
            self.pid_file,
            as_server_account=True,
            signal_when_parent_dies=signal.SIGQUIT if self.throwaway else None,
        )

    def start(self) -> None:
        if not self.data.exists():
            self._create_cluster()
        deadline = time.monotonic() + SECONDS_TO_START
        while True:
            self._disown_stale_lock()
            logged = size_of(self.log)
            process = self.daemon().start()
            if _came_up(process, self._is_ready, deadline):
                break
            # After a kill -9, the children of the old server hold its memory for a moment longer.
            if "still in use" not in tail(self.log, logged) or time.monotonic() > deadline:
                raise _explain(self, process, logged)
            time.sleep(0.3)
        self.confirm()

    def confirm(self) -> None:
        """Makes sure that the server answers and has our database."""
        if not self._query(f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"):
            self._query(f"CREATE DATABASE {DATABASE}")

    def adopt(self) -> int | None:
        """Finds our running server when its pid file was lost; a second one on the same data would not start."""
        pid = self._lock_file_lines()[:1]
        if not pid or str(self.data) not in command_line(int(pid[0])):
            return None
        write_pid_file(self.pid_file, int(pid[0]))
        return int(pid[0])

    def _is_ready(self, pid: int) -> bool:
        lines = self._lock_file_lines()
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _lock_file_lines(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def _disown_stale_lock(self) -> None:
        """Lets PostgreSQL start over the lock file of a dead server whose pid is a zombie's or, by now, a stranger's.

        It takes a lock that names its own parent, us, for stale. The file itself stays: by the rest of it PostgreSQL
        finds out whether children of the dead server are still at work on the data.
        """
        lines = self._lock_file_lines()
        if lines and str(self.data) not in command_line(int(lines[0])):
            (self.data / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:], ""]), encoding="utf-8")

    def _create_cluster(self) -> None:
        """Builds the data folder under another name, so that an interrupted attempt leaves nothing half made."""
        fresh = self.data.with_name(f"{self.data.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password_file = fresh / "password"
        write_private(password_file, self.password)
        account = server_account()
        if account:
            for path in (fresh, password_file):
                os.chown(path, account.pw_uid, account.pw_gid)
        command = [
            str(self.programs / "initdb"),
            f"--pgdata={fresh / 'data'}",
            f"--username={OWNER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            *(["--no-sync"] if self.throwaway else []),
        ]
        made = run_as(account, command, self._environment(), fresh)
        if made.returncode != 0:
            raise Failure(f"PostgreSQL's data folder could not be made:\n{made.stdout}")
        (fresh / "data").rename(self.data)
        shutil.rmtree(fresh)

    def _query(self, sql: str) -> str:
        command = [
            str(self.programs / "psql"),
            *("--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"),
            *("--host=127.0.0.1", f"--port={self.port}", f"--username={OWNER}", "--dbname=postgres"),
            f"--command={sql}",
        ]
        answer = subprocess.run(
            command,
            env={**self._environment(), "PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "10"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if answer.returncode != 0:
            raise Failure(
                f"the private PostgreSQL on port {self.port} does not answer as expected: {answer.stderr.strip()}\n"
                "`make down` and `make up` start it again."
            )
        return answer.stdout.strip()

    def _environment(self) -> dict[str, str]:
        """Nothing of the caller's environment: PGDATA, PGOPTIONS and the like would change what our server does."""
        return {"PATH": os.defpath, "HOME": str(self.data.parent), "LC_ALL": "C"}


@dataclass(frozen=True)
class Valkey:
    programs: Path
    data: Path
    port: int
    password: str
    log: Path
    pid_file: Path
    settings: Mapping[str, str]
    throwaway: bool = False

    name = "redis"
    stop_plan = VALKEY_STOP

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def _settings_file(self) -> Path:
        return self.data / "valkey.conf"

    def daemon(self) -> Daemon:
        return Daemon(
            self.name,
            [str(self.programs / "valkey-server"), str(self._settings_file)],
            {"PATH": os.defpath, "LC_ALL": "C"},
            self.data,
            self.log,
            self.pid_file,
            signal_when_parent_dies=signal.SIGKILL if self.throwaway else None,
        )

    def start(self) -> None:
        self.data.mkdir(mode=0o700, exist_ok=True)
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": f'"{self.data}"',
            "pidfile": f'"{self._own_pid_file}"',
            "maxmemory-policy": "noeviction",
            "requirepass": self.password,
            **self.settings,
        }
        # In a file, because arguments (and so the password) are visible to everyone on the machine.
        write_private(self._settings_file, "".join(f"{name} {value}\n" for name, value in settings.items()))
        logged = size_of(self.log)
        process = self.daemon().start()
        if not _came_up(process, lambda _pid: self._is_ready(), time.monotonic() + SECONDS_TO_START):
            raise _explain(self, process, logged)

    def confirm(self) -> None:
        """Makes sure that the server answers."""
        if not wait_until(self._is_ready, SECONDS_TO_START):
            raise Failure(
                f"the private Valkey on port {self.port} does not answer; its log is {self.log}. "
                "`make down` and `make up` start it again."
            )

    def adopt(self) -> int | None:
        """Finds our running server when its pid file was lost: a second would write to the same append-only file."""
        try:
            pid = int(self._own_pid_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        # Where the platform allows it, the server shows its address instead of its arguments.
        shown = " ".join(command_line(pid))
        if str(self._settings_file) not in shown and f"valkey-server 127.0.0.1:{self.port}" not in shown:
            return None
        write_pid_file(self.pid_file, pid)
        return pid

    @property
    def _own_pid_file(self) -> Path:
        return self.data / "valkey.pid"

    def _is_ready(self) -> bool:
        """False while nobody listens, and while the append-only file is being read."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\nQUIT\r\n".encode())
                answer = b"".join(iter(lambda: connection.recv(4096), b""))
        except OSError:
            return False
        return answer.startswith(b"+OK\r\n+PONG\r\n")


Server = Union[Postgres, Valkey]


def _came_up(process: subprocess.Popen[bytes], is_ready: Callable[[int], bool], deadline: float) -> bool:
    wait_until(lambda: process.poll() is not None or is_ready(process.pid), deadline - time.monotonic())
    return process.poll() is None and is_ready(process.pid)


def _explain(server: Server, process: subprocess.Popen[bytes], logged: int) -> Exception:
    if process.poll() is None:
        return Failure(
            f"{server.name} is not ready after {SECONDS_TO_START} s; it goes on starting. The end of {server.log}:\n"
            f"{tail(server.log, logged)}"
        )
    server.pid_file.unlink(missing_ok=True)
    if not port_is_free(server.port):
        return PortTaken()
    return Failure(f"{server.name} did not start. The end of {server.log}:\n{tail(server.log, logged)}")


def start_on_free_port(make: Callable[[int], Server], port: int) -> Server:
    """Starts a server on this port, or on another one when somebody else has taken it."""
    for _ in range(5):
        if not port_is_free(port):
            port = free_port()
        server = make(port)
        try:
            server.start()
            return server
        except PortTaken:
            continue
    raise Failure(f"{make(port).name} found its port taken five times in a row; try again.")


# -- What the environment says about servers of one's own


@dataclass(frozen=True)
class External:
    """Addresses of servers that someone else runs; None stands for a private server of ours."""

    database_owner_url: str | None = None
    redis_url: str | None = None

    @staticmethod
    def from_environment(environment: Mapping[str, str], recorded: External, service_password: str) -> External:
        return External(
            _external_database(environment, recorded, service_password), _unless_private(environment.get("REDIS_URL"))
        )


def _external_database(environment: Mapping[str, str], recorded: External, service_password: str) -> str | None:
    """The owner's address. After sourcing demo.env, DATABASE_URL is the services' and the owner's stands beside it."""
    given = environment.get("DATABASE_URL")
    if not given or _login(given)[0] != SERVICE_LOGIN:
        return _unless_private(given)
    if _login(given)[1].startswith(PRIVATE):
        return None
    if recorded.database_owner_url and given == url_for_services(recorded.database_owner_url, service_password):
        return recorded.database_owner_url
    if environment.get("DATABASE_OWNER_URL"):
        return _unless_private(environment["DATABASE_OWNER_URL"])
    raise Failure(
        f"DATABASE_URL logs in as {SERVICE_LOGIN}, which may not create roles and extensions: set it to the address "
        "of the database's owner, or unset it for a private PostgreSQL."
    )


def _unless_private(url: str | None) -> str | None:
    return url if url and not _login(url)[1].startswith(PRIVATE) else None


def _login(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return unquote(parts.username or ""), unquote(parts.password or "")


def url_for_services(owner_url: str, service_password: str) -> str:
    """The same database with the services' login."""
    parts = urlsplit(owner_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{SERVICE_LOGIN}:{service_password}@{host}"))
