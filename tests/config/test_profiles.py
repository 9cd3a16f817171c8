"""What `profiles:` may say, and what is said of what it may not."""

import pytest

from gateway.config import GatewaySettings
from gateway.config.models import ProfileConfig
from gateway.config.reload.diff import diff

from .conftest import Complain, Load

SERVERS = """\
servers:
  crm: {command: x}
  tickets: {command: y, disabled: true}
profiles:
"""


def test_a_profile_and_its_short_forms(config: Load) -> None:
    text = (
        SERVERS + "  support: {servers: [crm], tools: [crm__get_*], prompts: {deny: [a]}, instructions: 'Be ${HOW}.'}\n"
    )
    loaded = config(text, environ={"HOW": "brief"})
    profile = loaded.profiles["support"]
    assert (profile.servers, profile.tools.allow, profile.prompts.deny) == (["crm"], ["crm__get_*"], ["a"])
    assert profile.prompts.allow == profile.resources.allow == ["*"]
    assert profile.instructions == "Be brief."
    assert loaded.warnings == []
    assert config(SERVERS + "  all:\n").profiles == {"all": ProfileConfig()}
    assert config("servers: {a: {command: x}}\nprofiles:\n").profiles == {}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("  crm: {}", "5: profile 'crm': is the name of a server too (servers.yaml:2); both would be at /mcp/crm"),
        ("  tickets: {}", "5: profile 'tickets': is the name of a server too (servers.yaml:3)"),
        ("  a/b: {}", "5: profile 'a/b': a name must not be empty nor contain a slash"),
        ("  a: [crm]", "5: profile 'a': must be a mapping such as {servers: [NAME]}"),
        ("  a: {servers: [crmm]}", "5: profile 'a': servers[0]: there is no server 'crmm'; did you mean 'crm'?"),
        ("  a:\n    tols: {}", "6: profile 'a': tols: unknown key; did you mean 'tools'?"),
        ("  a:\n    tools: {alow: []}", "6: profile 'a': tools.alow: unknown key; did you mean 'allow'?"),
        ("  a:\n    discovery: serch", "6: profile 'a': discovery: must be 'list', 'search' or 'search-only'"),
        ("  a:\n    tools:\n      rename: {x: a b}", "7: profile 'a': tools.rename.x: must be 1 to 64 letters, digits"),
        ("  a:\n    tools: {rename: {x: z, y: z}}", "6: profile 'a': tools.rename: calls two 'z'; keep one"),
        (
            "  a: {discovery: search, tools: {rename: {x: find_tools}}}",
            "5: profile 'a': calls a tool 'find_tools', which is the gateway's own with discovery: search",
        ),
        ("  a: {instructions: '${NO}'}", "5: profiles.a.instructions: the environment variable NO is not set"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(complaints: Complain, body: str, said: str) -> None:
    (line,) = complaints(SERVERS + body + "\n")
    assert line.startswith(f"servers.yaml:{said}")


def test_a_block_that_is_no_mapping(complaints: Complain) -> None:
    (line,) = complaints("servers: {a: {command: x}}\nprofiles: [a]\n")
    assert line == "servers.yaml:2: profiles: must be a mapping of names to profiles"


def test_globs_of_servers_need_not_match_any(config: Load) -> None:
    assert config(SERVERS + '  a: {servers: ["x*"]}\n').profiles["a"].servers == ["x*"]


def test_a_reload_takes_up_what_has_changed(config: Load) -> None:
    old = config(SERVERS + "  a: {}\n  b: {}\n  c: {}\n")
    new = config(SERVERS + "  a: {}\n  b: {discovery: search}\n  d: {}\n")
    change = diff(old, new)
    assert set(change.profiles) == {"b", "c", "d"}
    assert change.config.profiles == new.profiles
    assert diff(old, old).changes == {}


def test_the_merged_view_is_a_setting(config: Load) -> None:
    loaded = config("gateway: {discovery: search, pinned: [a__*], confirm: true}\nservers: {a: {command: x}}\n")
    assert (loaded.gateway.discovery, loaded.gateway.pinned, loaded.gateway.confirm) == ("search", ["a__*"], True)
    assert GatewaySettings().discovery == "list"
    assert config("servers: {}", environ={"GATEWAY_DISCOVERY": "search-only"}).gateway.discovery == "search-only"
