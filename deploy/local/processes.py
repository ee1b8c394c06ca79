"""Processes that outlive the command that starts them: pid files, orderly ends, free ports, logs."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from run_folder import Failure, server_account, write_private

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Signals in the order in which a process gets them, each with the seconds it then has to end.
StopPlan = Sequence[tuple[signal.Signals, float]]


@dataclass(frozen=True)
class Daemon:
    """A process in a session of its own: no terminal, output appended to its log, known by its pid file."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    folder: Path
    log: Path
    pid_file: Path
    as_server_account: bool = False
    # For servers that must not outlive the command that started them, even when that is killed (Linux only).
    signal_when_parent_dies: signal.Signals | None = None

    def start(self) -> subprocess.Popen[bytes]:
        account = server_account() if self.as_server_account else None
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            with explained(self.command), undisturbed():  # an interrupt before the pid file would lose the process
                process = subprocess.Popen(
                    self.command,
                    env=self.environment,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=follow_parent(self.signal_when_parent_dies),
                    **_switch_to(account),
                )
                write_pid_file(self.pid_file, process.pid)
        finally:
            os.close(log)
        return process


def run_as(
    account: pwd.struct_passwd | None, command: Sequence[str], environment: dict[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end under another account (None: under our own); its whole output is `stdout`."""
    with explained(command):
        return subprocess.run(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **_switch_to(account),
        )


def _switch_to(account: pwd.struct_passwd | None) -> dict[str, Any]:
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}


@contextlib.contextmanager
def explained(command: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise Failure(
            f"{command[0]} may not be run: {error}. If the file system does not let programs run (`noexec`), set "
            "HELPCENTER_RUN to a folder on another one."
        ) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise Failure(f"{command[0]} cannot be run: {error}.") from error


def identity(pid: int) -> str | None:
    """Tells a process from a later one with the same pid, by its start time; None when it has ended."""
    if sys.platform.startswith("linux"):
        return _identity_on_linux(pid)
    listed = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
        env={**os.environ, "LC_ALL": "C"},
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.split()
    return "_".join(listed[1:]) if listed and not listed[0].startswith("Z") else None


def _identity_on_linux(pid: int) -> str | None:
    fields = _proc_stat(pid)
    if not fields or fields[0] in "ZX":  # a zombie has ended, its parent has not looked yet
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}:{fields[19]}"


def _proc_stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the third (state) on; the second may hold blanks and brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def command_line(pid: int) -> list[str]:
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
        return []
    return subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", str(pid)], stdout=subprocess.PIPE, text=True
    ).stdout.split()


def write_pid_file(path: Path, pid: int) -> None:
    """The second line is no bare number, so that `kill $(cat file)` cannot hit another process."""
    write_private(path, f"{pid}\nstarted={identity(pid)}\n")


def running_pid(pid_file: Path) -> int | None:
    """The pid of the process that the file was written for, if that very process still runs."""
    try:
        pid, started = pid_file.read_text(encoding="utf-8").split()
        now = identity(int(pid))
        return int(pid) if now and started == f"started={now}" else None
    except (OSError, ValueError):
        return None


def stop(pid_files: Iterable[Path], plan: StopPlan) -> list[str]:
    """Ends these processes side by side and removes their pid files; the names of those that were running."""
    pid_files = list(pid_files)

    def running() -> list[Path]:
        return [file for file in pid_files if running_pid(file)]

    stopped = [file.stem for file in running()]
    for number, seconds in plan:
        signal_all(filter(None, map(running_pid, pid_files)), number)
        if wait_until(lambda: not running(), seconds):
            break
    else:
        name = running()[0].stem
        raise Failure(f"{name} does not end, not even when killed: look at it with `ps`.")
    for file in pid_files:
        file.unlink(missing_ok=True)
    return stopped


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Holds interrupts back until the block has ended."""
    held: list[int] = []
    before = {number: signal.signal(number, lambda received, _frame: held.append(received)) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for received in held:
        os.kill(os.getpid(), received)


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT do not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    with socket.socket() as caller:  # where SO_REUSEADDR is generous, a listener on all addresses shows only here
        caller.settimeout(1)
        return caller.connect_ex(("127.0.0.1", port)) != 0


def free_port(avoid: Iterable[int] = ()) -> int:
    """A free port below the range from which systems take ports for outgoing connections."""
    avoid = set(avoid)
    for _ in range(1000):
        port = random.randint(20_000, 32_000)
        if port not in avoid and port_is_free(port):
            return port
    raise Failure("no free port between 20000 and 32000 on 127.0.0.1.")


def size_of(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def tail(log: Path, since: int = 0, lines: int = 20) -> str:
    """The last lines of a log, of what was written from byte `since` on."""
    with log.open("rb") as file:
        file.seek(max(since, size_of(log) - 20_000))
        text = file.read().decode("utf-8", errors="replace")
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (nothing)"


# -- Family: what a test command starts must end with it, also what has detached itself.

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

try:
    import ctypes

    _libc: ctypes.CDLL | None = ctypes.CDLL(None)
except ImportError:  # a Python built without libffi; only what a killed `make test` leaves behind depends on it
    _libc = None


def _prctl(option: int, value: int) -> None:
    if _libc:
        _libc.prctl(option, value, 0, 0, 0)


def follow_parent(number: int | None) -> Callable[[], None] | None:
    """For `preexec_fn`: the process gets this signal when the one that started it has died (Linux only)."""
    if number is None or not sys.platform.startswith("linux"):
        return None
    return lambda: _prctl(PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """From now on, a descendant whose parent ends becomes our child instead of init's, and is not lost (Linux only)."""
    if sys.platform.startswith("linux"):
        _prctl(PR_SET_CHILD_SUBREAPER, 1)


def descendants(ancestor: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found, queue = [], [ancestor]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return [pid for pid in found if identity(pid)]


def _parents() -> Iterator[tuple[int, int]]:
    if sys.platform.startswith("linux"):
        for entry in os.listdir("/proc"):
            fields = _proc_stat(int(entry)) if entry.isdigit() else []
            if fields:
                yield int(entry), int(fields[1])
        return
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], stdout=subprocess.PIPE, text=True).stdout
    for line in listed.splitlines():
        pid, parent = line.split()
        yield int(pid), int(parent)


def signal_all(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def end_descendants(patience: float) -> None:
    """Ends everything below this process: asks first, kills what is left after `patience` seconds."""
    me = os.getpid()
    signal_all(descendants(me), signal.SIGTERM)
    if wait_until(lambda: not descendants(me), patience):
        return
    for _ in range(100):  # killing a process may hand us its children, so look again until none is left
        if not descendants(me):
            return
        signal_all(descendants(me), signal.SIGKILL)
        time.sleep(0.1)
