#!/usr/bin/env python3
"""Finds a Prometheus for the tests, and prints the folder with `prometheus` and `promtool`.

One on PATH is used as it is. Else Debian's package is downloaded and unpacked into the run folder, without root and without
installing anything: apt gets folders of its own. It checks the archive's signature; the pinned version is checked against
its hash as well. Where there is neither, the exit status is 3 and the reason is on standard error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # said before our own modules are read: nothing is written beside them

from packages import sha256
from run_folder import Failure, RunFolder, say

VERSION = "2.42.0+ds-5+deb12u1"
SHA256 = {
    "amd64": "81d59a24fce84f7fbe97a45a4f2914b6a5881b5cd1db2a6a0e129e515e1a5f55",
    "arm64": "ca131aa102390083398afbc80be9c8dd1dda78f9f92154fc00df8f7f1f4556e9",
}
NOT_AVAILABLE = 3


def find(run: RunFolder) -> Path:
    """The folder with both programs; fetches them when it must."""
    on_path = shutil.which("prometheus")
    if on_path and shutil.which("promtool", path=str(Path(on_path).parent)):
        return Path(on_path).parent
    unpacked = run.path / "tools" / f"prometheus-{VERSION}"
    with run.lock("prometheus.lock"):
        if not unpacked.exists():
            _fetch(unpacked)
    return unpacked / "usr" / "bin"


def _fetch(unpacked: Path) -> None:
    if not all(shutil.which(name) for name in ("apt-get", "dpkg", "dpkg-deb")):
        raise Failure("there is no `prometheus` on PATH, and without apt it cannot be fetched")
    say("Fetching Prometheus (20 MB, only this once) …")
    fresh = unpacked.with_name(f"{unpacked.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for folder in ("lists/partial", "cache/archives/partial", "root"):
        (fresh / folder).mkdir(parents=True)
    _run(_apt(fresh, "update"), fresh, check=False)  # sources that we do not need may be out of reach
    package = _download(fresh)
    _run(["dpkg-deb", "--extract", str(package), str(fresh / "root")], fresh)
    (fresh / "root").rename(unpacked)
    shutil.rmtree(fresh)


def _download(folder: Path) -> Path:
    """The pinned version, or what the archive has instead once it has moved on: a security update replaces it."""
    architecture = _run(["dpkg", "--print-architecture"], folder).strip()
    pinned = SHA256.get(architecture)
    if pinned and _succeeds(_apt(folder, "download", f"prometheus={VERSION}"), folder):
        package = _downloaded(folder)
        if sha256(package) != pinned:
            raise Failure(f"{package.name} has the sha256 {sha256(package)}, not {pinned}")
        return package
    _run(_apt(folder, "download", "prometheus"), folder)
    package = _downloaded(folder)
    say(f"{package.name} instead of the pinned {VERSION}: the archive has moved on, and has signed this one.")
    return package


def _downloaded(folder: Path) -> Path:
    return next(folder.glob("prometheus_*.deb"))


def _apt(folder: Path, *arguments: str) -> list[str]:
    settings = {
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "1",
        "Acquire::Retries": "1",
        "Acquire::http::Timeout": "20",
        "Acquire::https::Timeout": "20",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    return ["apt-get", "--quiet=2", *options, *arguments]


def _succeeds(command: list[str], folder: Path) -> bool:
    return subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def _run(command: list[str], folder: Path, check: bool = True) -> str:
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if check and done.returncode != 0:
        raise Failure(f"`{command[0]} … {command[-1]}` failed: {done.stderr.strip()}")
    return done.stdout


def main() -> int:
    os.umask(0o022)
    try:
        print(find(RunFolder.from_environment(os.environ)))
    except Failure as failure:
        say(f"No Prometheus: {failure}.")
        return NOT_AVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
