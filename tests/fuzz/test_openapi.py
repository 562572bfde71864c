"""Requests made from the OpenAPI document, sound ones and broken ones, and each answer held against it.

Made by schemathesis, as a process of its own beside a real server. The seed is fixed and printed;
`BATON_TEST_OPENAPI_EXAMPLES=200` makes it as long as one likes, also with requests that follow on each other;
`BATON_TEST_FUZZ_SEED` takes another seed.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.on_wire import UNLIMITED
from tests.support.shared_server import TOKEN, shared_server

EXAMPLES = os.environ.get("BATON_TEST_OPENAPI_EXAMPLES")
PHASES = "examples,coverage,fuzzing" + (",stateful" if EXAMPLES else "")
NOT_ASKED = (
    "positive_data_acceptance",  # rules between fields, and blank names, are beyond what a schema of OpenAPI can say
    "unsupported_method",  # `.../reset-active` is also a conversation's address, by whose methods it is answered
    "allow_header_conformance",  # the same, and HEAD, which is wherever GET is
)
SEED = os.environ.get("BATON_TEST_FUZZ_SEED", "20261128")
CONFIG = Path(__file__).with_name("schemathesis.toml")
MOST_S = 3600


@pytest.mark.timeout(MOST_S)
def test_the_server_answers_as_its_openapi_document_says(tmp_path: Path) -> None:
    with shared_server(tmp_path / "server", **UNLIMITED, BATON_WRONG_TOKENS="0") as server:
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
        command += [f"{server.url}/api/openapi.json", "--seed", SEED, "--max-examples", EXAMPLES or "3"]
        command += ["--header", f"Authorization: Bearer {TOKEN}", "--checks", "all", "--continue-on-failure"]
        command += ["--phases", PHASES, "--exclude-checks", ",".join(NOT_ASKED)]
        # One thread: CPython 3.11 counts the depth of all threads' `ast.parse` as one, and fails where they meet.
        command += ["--suppress-health-check", "all", "--no-shrink", "--no-color", "--workers", "1"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=MOST_S, check=False)
        print(done.stdout[-600:])
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert server.is_running
        assert server.log == "", server.log[-3000:]
