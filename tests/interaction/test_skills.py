"""Skills (SEP-2640): those of all servers in one list, each file as its server sends it, under the rules for URIs."""

import hashlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.interaction._gateway import PATIENT, child, config_file, http_gateway, stdio_command
from tests.interaction._http import HttpChannel, open_session
from tests.interaction._requirements import requirement
from tests.interaction._wire import Answer, Message, Wire, piped, shake_hands
from tests.nodes import nodes
from tests.servers.skilled import HIDDEN, REFUNDS, SKILLS, frontmatter, skill_file
from tests.support import http_server, wait_until

SKILLED = "tests.servers.skilled"
UNKNOWN = "skill://nobodys/SKILL.md"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    servers = {
        "one": child(SKILLED, "--name", "one"),
        "two": child(SKILLED, "--name", "two", "--era", "modern", "--no-directories"),
        "three": child(SKILLED, "--name", "three", "--era", "handshake"),
        "plain": child("tests.servers.raw"),
    }
    with http_gateway(tmp_path_factory.mktemp("skilled"), servers, page_size=4, **PATIENT) as gateway:
        yield gateway.base


@pytest.fixture(params=["handshake", "modern"])
def agent(request: pytest.FixtureRequest, base: str) -> Wire:
    return wire(f"{base}/mcp", modern=request.param == "modern")


def wire(url: str, *, modern: bool = True) -> Wire:
    return Wire(HttpChannel(url, {} if modern else open_session(url)), modern)


def read(agent: Wire, uri: str) -> str:
    (content,) = agent.ask("resources/read", {"uri": uri}).result["contents"]
    return content["text"]


def check_files(agent: Wire, skill: Message) -> None:
    """As a host does: every file has the digest and size that the entry says, and is in the skill's directory."""
    assert skill["uri"] in {file["uri"] for file in skill["resources"]}
    for file in skill["resources"]:
        data = read(agent, file["uri"]).encode()
        assert (file["digest"], file["size"]) == ("sha256:" + hashlib.sha256(data).hexdigest(), len(data))
        assert file["uri"].startswith(skill["uri"].removesuffix("/SKILL.md") + "/")


@requirement("extensions:skills")
def test_the_skills_of_all_servers_are_in_one_list(agent: Wire) -> None:
    skills = {skill["uri"]: skill for skill in agent.listed("skills/list", "skills")}
    refunds = f"{REFUNDS}/SKILL.md"
    alone = {f"skill://{name}-only/SKILL.md" for name in ("one", "two", "three")}
    assert {uri for uri in skills if uri.startswith("skill://")} == {refunds, "skill://daily/SKILL.md", *alone}
    assert {f"two+{refunds}", f"three+{refunds}", "two+skill://daily/SKILL.md"} < skills.keys()
    assert len(skills) == 9
    for prefix, name in (("", "one"), ("two+", "two"), ("three+", "three")):
        assert skills[prefix + refunds]["frontmatter"] == frontmatter("refunds", name)
        check_files(agent, skills[prefix + refunds])
        assert read(agent, prefix + refunds) == skill_file("refunds", name)
    assert skills["skill://daily/SKILL.md"]["resources"] == "dynamic"


@requirement("extensions:skills")
def test_a_skill_is_got_from_its_own_server(agent: Wire) -> None:
    listed = {skill["uri"]: skill for skill in agent.listed("skills/list", "skills")}
    for uri, skill in listed.items():
        result = agent.ask("skills/get", {"uri": uri}).result
        assert result["skill"] == skill
        assert "nextCursor" not in result
        assert not agent.modern or {"ttlMs", "cacheScope"} < result.keys()


@requirement("extensions:skills")
def test_a_skill_that_nobody_lists_is_had_where_it_can_be_only_one_servers(base: str) -> None:
    uri = f"{HIDDEN}/SKILL.md"
    for name in ("one", "two", "three"):
        there = wire(f"{base}/mcp/{name}")
        skill = there.ask("skills/get", {"uri": uri}).result["skill"]
        assert skill["frontmatter"] == frontmatter("hidden", name)
        check_files(there, skill)
    assert wire(f"{base}/mcp").ask("skills/get", {"uri": uri}).error["code"] == -32602


@requirement("extensions:skills")
@pytest.mark.parametrize("uri", [UNKNOWN, f"{REFUNDS}/references/policy.md", "", f"nobody+{REFUNDS}/SKILL.md"])
def test_what_is_no_skill_is_refused(agent: Wire, uri: str) -> None:
    assert agent.ask("skills/get", {"uri": uri}).error["code"] == -32602
    assert agent.ask("skills/get", {}).error["code"] == -32602


@requirement("extensions:skills")
def test_where_there_are_no_skills_there_is_no_such_method(base: str) -> None:
    plain = wire(f"{base}/mcp/plain")
    assert SKILLS not in plain.ask("server/discover").result["capabilities"].get("extensions", {})
    for method in ("skills/list", "skills/get", "skills/forge", "resources/directory/read"):
        assert plain.ask(method, {"uri": UNKNOWN}).error["code"] == -32601
    assert wire(f"{base}/mcp/two").ask("resources/directory/read", {"uri": REFUNDS}).error["code"] == -32601


@requirement("extensions:skills")
def test_directories_are_listed_by_the_server_they_are_of(agent: Wire) -> None:
    def children(uri: str) -> dict[str, str]:
        answer = agent.ask("resources/directory/read", {"uri": uri})
        return {child["uri"]: child["mimeType"] for child in answer.result["resources"]}

    assert children(REFUNDS) == {f"{REFUNDS}/SKILL.md": "text/markdown", f"{REFUNDS}/references": "inode/directory"}
    assert f"{REFUNDS}/references/one.md" in children(f"{REFUNDS}/references")
    assert f"three+{REFUNDS}/references/three.md" in children(f"three+{REFUNDS}/references")
    for uri in (f"{REFUNDS}/SKILL.md", f"two+{REFUNDS}", "skill://nobodys", ""):
        assert agent.ask("resources/directory/read", {"uri": uri}).error["code"] == -32602


@requirement("extensions:skills")
def test_what_is_declared_is_what_any_of_them_can(base: str) -> None:
    def declared(view: str) -> Any:
        capabilities = wire(base + view).ask("server/discover").result["capabilities"]
        assert "resources" in capabilities
        return capabilities["extensions"][SKILLS]

    assert declared("/mcp") == declared("/mcp/one") == {"directoryRead": True}
    assert declared("/mcp/two") == {}


@requirement("extensions:skills")
def test_a_skill_that_changed_is_not_used_until_somebody_approves_it(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("Refund at most 10 €.")
    refunds = f"{REFUNDS}/SKILL.md"

    def start() -> Any:
        server = child(SKILLED, "--name", "one", "--file", str(text), pin="block")
        return http_gateway(tmp_path, {"one": server}, **PATIENT)

    with start() as gateway:
        there = wire(f"{gateway.base}/mcp")
        (before,) = (one for one in there.listed("skills/list", "skills") if one["uri"] == refunds)
        anyio.run(wait_until, (tmp_path / "state" / "pins.json").exists)
        text.write_text("Refund everything.")
        assert there.ask("skills/get", {"uri": refunds}).error["code"] == -32008  # and it was not listed again yet
    with start() as gateway:
        for view in ("/mcp", "/mcp/one"):
            there = wire(gateway.base + view)
            (now,) = (one for one in there.listed("skills/list", "skills") if one["uri"] == refunds)
            assert now == before
            assert there.ask("skills/get", {"uri": refunds}).error["code"] == -32008
            assert there.ask("resources/read", {"uri": refunds}).error["code"] == -32008
            assert read(there, f"{REFUNDS}/references/policy.md") == "The policy of one."
            assert there.ask("skills/get", {"uri": f"{HIDDEN}/SKILL.md"}).error["code"] == -32008  # nobody ever saw it


@requirement("extensions:skills")
def test_an_entry_that_is_not_the_one_that_was_listed_is_listed_anew(tmp_path: Path) -> None:
    """Of a server that does not say when its skills change."""
    text = tmp_path / "text"
    text.write_text("Refund at most 10 €.")
    refunds = f"{REFUNDS}/SKILL.md"
    with http_gateway(tmp_path, {"one": child(SKILLED, "--name", "one", "--file", str(text))}, **PATIENT) as gateway:
        there = wire(f"{gateway.base}/mcp", modern=False)

        def listed() -> Message:
            (skill,) = (one for one in there.listed("skills/list", "skills") if one["uri"] == refunds)
            return skill

        before = listed()
        text.write_text("Refund at most 20 €.")
        got = there.ask("skills/get", {"uri": refunds}).result["skill"]
        assert got != before
        anyio.run(wait_until, lambda: listed() == got, 20)
        check_files(there, got)


@requirement("extensions:skills")
def test_a_principal_has_the_skills_of_which_it_may_read_every_file(tmp_path: Path) -> None:
    policy = [{"who": ["*"], "allow": ["*"], "deny": [f"{REFUNDS}/references/policy.md"]}]
    server = child(SKILLED, "--name", "one")
    with http_gateway(tmp_path, {"one": server}, policy=policy, **PATIENT) as gateway:
        there = wire(f"{gateway.base}/mcp")
        uris = {skill["uri"] for skill in there.listed("skills/list", "skills")}
        assert uris == {"skill://one-only/SKILL.md", "skill://daily/SKILL.md"}
        hidden, missing = (there.ask("skills/get", {"uri": uri}) for uri in (f"{REFUNDS}/SKILL.md", UNKNOWN))
        assert _shape(hidden) == _shape(missing)
        listing = there.ask("resources/directory/read", {"uri": f"{REFUNDS}/references"})
        assert "policy.md" not in str(listing.message)


def _shape(answer: Answer) -> tuple[int, str]:
    return answer.error["code"], answer.error["message"].partition("skill://")[0]


@requirement("extensions:skills")
def test_a_profile_has_the_skills_that_its_rules_for_resources_leave(tmp_path: Path) -> None:
    servers = {name: child(SKILLED, "--name", name) for name in ("one", "two")}
    profiles: Message = {
        "few": {"servers": ["two"], "resources": {"deny": ["*skill://daily/*"]}},
        "none": {"resources": []},
    }
    with http_gateway(tmp_path, servers, profiles=profiles, **PATIENT) as gateway:
        assert wire(f"{gateway.base}/mcp").listed("skills/list", "skills")  # both are there, on which names depend
        few = wire(f"{gateway.base}/mcp/few")
        uris = {skill["uri"] for skill in few.listed("skills/list", "skills")}
        assert uris == {f"two+{REFUNDS}/SKILL.md", "skill://two-only/SKILL.md"}
        for uri in uris:
            skill = few.ask("skills/get", {"uri": uri}).result["skill"]
            check_files(few, skill)
        for uri in ("two+skill://daily/SKILL.md", "skill://daily/SKILL.md", "skill://one-only/SKILL.md"):
            assert few.ask("skills/get", {"uri": uri}).error["code"] == -32602
        assert (
            wire(f"{gateway.base}/mcp/none").ask("skills/get", {"uri": "skill://two-only/SKILL.md"}).error["code"] < 0
        )


@requirement("extensions:skills")
@pytest.mark.parametrize("modern", [False, True], ids=["handshake", "modern"])
def test_a_desktop_client_has_them_too(tmp_path: Path, modern: bool) -> None:
    servers = {name: child(SKILLED, "--name", name) for name in ("one", "two")}
    with piped(stdio_command(config_file(tmp_path, servers, **PATIENT))) as pipe:
        if not modern:
            shake_hands(pipe)
        there = Wire(pipe, modern)
        skills = {skill["uri"]: skill for skill in there.listed("skills/list", "skills")}
        assert skills.keys() >= {f"{REFUNDS}/SKILL.md", f"two+{REFUNDS}/SKILL.md", "skill://two-only/SKILL.md"}
        for uri in (f"{REFUNDS}/SKILL.md", f"two+{REFUNDS}/SKILL.md"):
            assert there.ask("skills/get", {"uri": uri}).result["skill"] == skills[uri]
            check_files(there, skills[uri])


@requirement("extensions:skills")
def test_every_node_has_them_under_the_same_addresses(tmp_path: Path) -> None:
    with (
        http_server(SKILLED, "--name", "one") as one,
        http_server(SKILLED, "--name", "two") as two,
        nodes(tmp_path, {"one": {"url": one}, "two": {"url": two}}) as pair,
    ):
        here, there = (wire(node.url) for node in pair)
        skills = here.listed("skills/list", "skills")
        assert skills == there.listed("skills/list", "skills")
        for skill in skills:
            assert there.ask("skills/get", {"uri": skill["uri"]}).result["skill"] == skill
        pair[0].restart()
        assert here.listed("skills/list", "skills") == skills
        check_files(here, next(skill for skill in skills if skill["uri"].startswith("two+skill://acme")))
