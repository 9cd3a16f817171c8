"""A keyring of the tests' own, chosen by `PYTHON_KEYRING_BACKEND`: what it holds stands in the file `$TEST_KEYRING`."""

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked


class Backend(KeyringBackend):
    """`{"service/name": "value"}`; a file that is not there is a locked one, and a value of `!` makes it fail."""

    priority = 1.0  # pyright: ignore[reportIncompatibleVariableOverride, reportAssignmentType]

    def get_password(self, service: str, username: str) -> str | None:
        path = Path(os.environ["TEST_KEYRING"])
        if not path.exists():
            raise KeyringLocked("canary-in-the-error")
        value = json.loads(path.read_text()).get(f"{service}/{username}")
        if value == "!":
            raise RuntimeError("canary-in-the-error")
        return value

    def set_password(self, service: str, username: str, password: str) -> None:
        path = Path(os.environ["TEST_KEYRING"])
        path.write_text(json.dumps({**json.loads(path.read_text()), f"{service}/{username}": password}))

    def delete_password(self, service: str, username: str) -> None:
        raise NotImplementedError
