"""What one run folder runs: addresses, programs, and the environment that each of them gets."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import packages
from processes import Daemon, StopPlan, free_port, port_is_free, running_pid
from run_folder import Failure, RunFolder, State
from servers import PRIVATE, External, Postgres, Valkey, url_for_services

TENANT = "demo"
SERVICES = ("api", "worker", "scheduler")
PROGRAMS = {"cli": "helpcenter", **{service: f"helpcenter-{service}" for service in SERVICES}}
SERVICE_STOP: StopPlan = ((signal.SIGTERM, 25), (signal.SIGKILL, 5))  # longer than WORKER_GRACE_SECONDS
VALKEY_SETTINGS = {"appendonly": "yes", "appendfsync": "everysec", "save": '""'}
# What the services' settings begin with. One that a person gives in the environment of `up` reaches the services, and a
# change restarts them.
SETTINGS = ("API_", "DATABASE_", "EMBEDDING_", "JWT_", "LLM_", "QUEUE_", "RUST_LOG", "SESSION_", "WORKER_")


class Deployment:
    """The same ports, secrets and addresses from one command to the next."""

    def __init__(self, run: RunFolder, external: External | None = None) -> None:
        """`external` is what the environment says now; without it, what the last `up` was told still holds."""
        self.run = run
        self.state = State(run)
        if external is not None:
            self.state.values["external"] = asdict(external)
            self.state.save()
        self.external = External(**self.state.values["external"])
        self.ports: dict[str, int] = self.state.values["ports"]
        for name in ("postgres", "redis", "api", *(f"{service}_metrics" for service in SERVICES)):
            if name not in self.ports:
                self.ports[name] = free_port(avoid=self.ports.values())

    @classmethod
    def from_environment(cls, run: RunFolder, environment: Mapping[str, str]) -> Deployment:
        state = State(run)
        recorded = External(**state.values["external"])
        return cls(run, External.from_environment(environment, recorded, state.secret("external_database")))

    # -- Servers

    def postgres(self, port: int) -> Postgres:
        return Postgres(
            packages.postgres_bin(self.run),
            self.run.postgres_data,
            port,
            self.state.secret("postgres", PRIVATE),
            self.run.log("postgres"),
            self.run.pid_file("postgres"),
            settings={},
        )

    def valkey(self, port: int) -> Valkey:
        return Valkey(
            packages.valkey_bin(self.run),
            self.run.redis_data,
            port,
            self.state.secret("redis", PRIVATE),
            self.run.log("redis"),
            self.run.pid_file("redis"),
            VALKEY_SETTINGS,
        )

    @property
    def owner_url(self) -> str:
        return self.external.database_owner_url or self.postgres(self.ports["postgres"]).url

    @property
    def database_url(self) -> str:
        if self.external.database_owner_url:
            return url_for_services(self.owner_url, self.state.secret("external_database"))
        return url_for_services(self.owner_url, self.state.secret("private_database", PRIVATE))

    @property
    def redis_url(self) -> str:
        return self.external.redis_url or self.valkey(self.ports["redis"]).url

    # -- Services

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['api']}"

    def metrics_url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[f'{service}_metrics']}"

    def address_of(self, service: str) -> str:
        """Where the service tells about its health."""
        return self.url if service == "api" else self.metrics_url(service)

    def avoid_taken_ports(self) -> None:
        """Moves a service that does not run away from a port that somebody else has taken since."""
        for name, port in self.ports.items():
            service = name.partition("_")[0]
            if service in SERVICES and not running_pid(self.run.pid_file(service)) and not port_is_free(port):
                self.ports[name] = free_port(avoid=self.ports.values())
        self.state.save()

    def program(self, name: str) -> Path:
        try:
            return Path(self.state.values["binaries"][PROGRAMS[name]])
        except KeyError:
            raise Failure("the programs have not been built yet: run `make up` first.") from None

    def service(self, name: str) -> Daemon:
        environment = {
            **self.environment(),
            "LOG_FORMAT": "json",
            "API_ADDRESS": f"127.0.0.1:{self.ports['api']}",
            "METRICS_ADDRESS": f"127.0.0.1:{self.ports[f'{name}_metrics']}",
        }
        return Daemon(
            name, [str(self.program(name))], environment, self.run.path, self.run.log(name), self.run.pid_file(name)
        )

    def environment(self) -> dict[str, str]:
        """For the services and the command line: the caller's, less the owner's login, plus our settings."""
        inherited = {name: value for name, value in os.environ.items() if name != "DATABASE_OWNER_URL"}
        return {**inherited, **self._settings()}

    def _settings(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "JWT_SECRET": self.state.secret("jwt"),
            "API_KEY_PEPPER": self.state.secret("api_key_pepper"),
            "SECRETS_KEY": self.state.secret("secrets_key"),
            "EMBEDDING_MODEL_DIR": str(self.run.model),
            "DEFAULT_TENANT": TENANT,
            "PUBLIC_URL": self.url,
        }

    def service_fingerprint(self, name: str) -> str:
        daemon = self.service(name)
        ours = {*self._settings(), "API_ADDRESS", "METRICS_ADDRESS"}
        no_settings = self._addresses().keys()
        settings = {
            key: value
            for key, value in daemon.environment.items()
            if key in ours or (key.startswith(SETTINGS) and key not in no_settings)
        }
        return fingerprint(daemon.command, settings)

    def demo_env(self, demo: Mapping[str, str]) -> str:
        """Lines for a shell; `demo` is what seeding the demo tenant has reported."""
        tokens = {
            "HELPCENTER_ADMIN_TOKEN": demo["admin_token"],
            "HELPCENTER_USER_TOKEN": demo["user_token"],
            "HELPCENTER_NOROLE_TOKEN": demo["norole_token"],
            "HELPCENTER_OTHER_TENANT_TOKEN": demo["other_tenant_token"],
        }
        return shell_lines({"HELPCENTER_URL": self.url, **tokens, **self._settings(), **self._addresses()})

    def _addresses(self) -> dict[str, object]:
        """What demo.env tells besides tokens and settings; in a shell that has sourced it, none of it is a setting."""
        values: dict[str, object] = {
            "DATABASE_OWNER_URL": self.owner_url,
            "HELPCENTER_RUN": self.run.path,
            "API_PORT": self.ports["api"],
        }
        for service in SERVICES:
            values[f"{service.upper()}_METRICS_URL"] = self.metrics_url(service)
            values[f"{service.upper()}_LOG"] = self.run.log(service)
            values[f"{service.upper()}_PID_FILE"] = self.run.pid_file(service)
        return {**values, **self.server_values()}

    def server_values(self) -> dict[str, object]:
        """Ports and pid files; a server that someone else runs has no pid file here."""
        database, redis = self.external.database_owner_url, self.external.redis_url
        return {
            "POSTGRES_PORT": urlsplit(database).port or 5432 if database else self.ports["postgres"],
            "REDIS_PORT": urlsplit(redis).port or 6379 if redis else self.ports["redis"],
            "POSTGRES_PID_FILE": "" if database else self.run.pid_file("postgres"),
            "REDIS_PID_FILE": "" if redis else self.run.pid_file("redis"),
            "POSTGRES_BIN": packages.postgres_bin(self.run),
            "VALKEY_BIN": packages.valkey_bin(self.run),
        }


def fingerprint(command: Sequence[str], settings: Mapping[str, str]) -> str:
    """Changes when a running process should be replaced: another program file, other arguments or settings."""
    program = os.stat(command[0])
    what = [program.st_ino, program.st_mtime_ns, program.st_size, list(command), sorted(settings.items())]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def shell_lines(values: Mapping[str, object]) -> str:
    return "".join(f"{name}={_quoted(str(value))}\n" for name, value in values.items())


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"
