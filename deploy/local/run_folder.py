"""The run folder: the one place outside the build folder that the local runner writes to.

py/  model/  tools/        fetched once; `reset` keeps them
pg/  redis/                the private servers' data
state.json  demo.env       ports, generated secrets, how to reach everything (mode 0600)
log/  pid/                 one file per process
test-<pid>/                the servers of a running `make test`
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class Failure(Exception):
    """Something a person can act on; the message says what to do."""


def say(message: str) -> None:
    """Progress goes to standard error, so that standard output can be piped or evaluated."""
    print(message, file=sys.stderr, flush=True)


def write_private(path: Path, text: str) -> None:
    """Replaces a file in one step; nobody else can read it at any moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)


def server_account() -> pwd.struct_passwd | None:
    """The account PostgreSQL runs under when we are root, since it refuses to run as root itself."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise Failure(
            "PostgreSQL does not run as root, and this machine has no user `nobody` to run it as: "
            "run as an ordinary user, or set DATABASE_URL."
        ) from None


class RunFolder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.packages = path / "py"
        self.model = path / "model"
        self.postgres_data = path / "pg"
        self.redis_data = path / "redis"
        self.logs = path / "log"
        self.pids = path / "pid"
        self.state_file = path / "state.json"
        self.demo_env = path / "demo.env"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def pid_file(self, name: str) -> Path:
        return self.pids / f"{name}.pid"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> RunFolder:
        """The one that HELPCENTER_RUN names, or the usual one of this user."""
        folder = environment.get("HELPCENTER_RUN") or f"/var/tmp/helpcenter-{os.geteuid()}"
        return cls.create(Path(folder).expanduser().absolute())

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Makes the folder, and refuses one that someone else made: the default lies in a folder open to everyone."""
        if server_account():
            _refuse_closed_parents(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_symlink():
                path.mkdir(mode=0o700, exist_ok=True)
            owner = path.lstat().st_uid
        except OSError as error:
            raise Failure(
                f"the run folder cannot be made: {error}. Set HELPCENTER_RUN to a folder of yours."
            ) from error
        if owner != os.geteuid():
            raise Failure(f"{path} belongs to another user: set HELPCENTER_RUN to a folder of yours.")
        run = cls(path.resolve())
        if server_account():
            run.path.chmod(run.path.stat().st_mode | 0o111)
        for folder in (run.logs, run.pids):
            folder.mkdir(mode=0o711, exist_ok=True)
        return run

    @contextlib.contextmanager
    def lock(self, name: str = "lock") -> Iterator[None]:
        """Held while a command changes the folder, so that a second one waits instead of interfering."""
        with open(self.path / name, "w", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"Another command is at work in {self.path}; waiting for it …")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def delete_data(self) -> None:
        for folder in (self.postgres_data, self.redis_data, self.logs, self.pids):
            if folder.exists():
                shutil.rmtree(folder)
        for file in (self.state_file, self.demo_env):
            file.unlink(missing_ok=True)


class State:
    """What must survive from one command to the next: ports, secrets, and what runs with which settings."""

    def __init__(self, run: RunFolder) -> None:
        self._file = run.state_file
        self.values: dict[str, Any] = {"ports": {}, "secrets": {}, "fingerprints": {}, "external": {}, "binaries": {}}
        if self._file.exists():
            self._load()
        elif run.postgres_data.exists():
            raise Failure(
                f"{run.postgres_data} holds a database, but {self._file} with its password is gone. "
                "`make reset` deletes both and starts afresh."
            )

    def _load(self) -> None:
        try:
            self.values.update(json.loads(self._file.read_text(encoding="utf-8")))
        except (ValueError, OSError) as error:
            raise Failure(f"{self._file} cannot be read ({error}). `make reset` starts afresh.") from error

    def save(self) -> None:
        write_private(self._file, json.dumps(self.values, indent=2) + "\n")

    def secret(self, name: str, prefix: str = "") -> str:
        """Generated on first use; hexadecimal, so it needs no quoting in an address or a shell."""
        known = self.values["secrets"]
        if name not in known:
            known[name] = prefix + secrets.token_hex(32)
            self.save()
        return str(known[name])


def _refuse_closed_parents(path: Path) -> None:
    closed = [folder for folder in path.resolve().parents if folder.exists() and not folder.stat().st_mode & 0o001]
    if closed:
        raise Failure(
            f"the run folder {path} would lie under {closed[-1]}, which only its owner may enter. Root runs PostgreSQL "
            "as the user `nobody`, who has to get there: set HELPCENTER_RUN to a folder elsewhere, for example "
            "/var/tmp/helpcenter."
        )
