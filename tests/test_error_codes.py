"""Each code of the gateway's own has one meaning, and the documentation says which."""

import re
from collections import defaultdict
from typing import Final

from gateway.errors import GatewayError
from tests.support import ROOT

ROW: Final = re.compile(r"^\| (-32\d+) \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
OWN: Final = {-32800, *range(-32019, -31999)}
OF_MCP: Final = {-32002}
"""Earlier revisions of MCP have it for a resource that is not there."""


def families(of: type[GatewayError]) -> dict[int, set[str]]:
    """Code → the classes that give it themselves."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    for kind in of.__subclasses__():
        if "code" in vars(kind):
            found[kind.code].add(kind.__name__)
        for code, names in families(kind).items():
            found[code] |= names
    return found


def test_every_code_is_documented_with_its_errors() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text()
    documented = {int(code): set(re.findall(r"`(\w+)`", names)) for code, names in ROW.findall(text)}
    assert documented == {code: names for code, names in families(GatewayError).items() if code in OWN - OF_MCP}
