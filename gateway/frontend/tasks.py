"""How the task is made in which a request is answered: one each, and no more than that."""

import sys
from collections.abc import Mapping
from typing import Any, Final

TASK_OPTIONS: Final[Mapping[str, Any]] = {
    "name": "request",  # to make one up takes longer than all else
    **({"eager_start": True} if sys.version_info >= (3, 12) else {}),  # it runs to where it has to wait first
}
"""Of `asyncio.Task`."""
