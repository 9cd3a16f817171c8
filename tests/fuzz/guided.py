"""Fuzzing guided by coverage: what hypothesis finds by chance, atheris looks for.

    uv run --with atheris python -m tests.fuzz.guided [CORPUS] [-max_total_time=3600]

Arguments are libFuzzer's. The first byte of an input picks one of the properties below, the others are its example.
"""

import sys
from importlib import import_module
from typing import Any, Final

MODULES: Final = (
    *("tests.fuzz.test_connection", "tests.fuzz.test_envelope", "tests.fuzz.test_stdio", "tests.fuzz.test_wire"),
    *("tests.config.test_fuzz", "tests.upstream.test_events", "tests.upstream.test_lines", "tests.test_jsonrpc"),
)


def main() -> None:
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["gateway"]):
        modules = [import_module(name) for name in MODULES]
    tests = [test for module in modules for test in vars(module).values() if hasattr(test, "hypothesis")]
    properties = [test.hypothesis.fuzz_one_input for test in tests]

    def one_input(data: bytes) -> None:
        if data:
            properties[data[0] % len(properties)](data[1:])

    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
