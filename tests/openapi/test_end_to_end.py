"""An API behind a gateway, as agents of both eras see it: real servers, real sockets."""

import base64
import json
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.interaction._connect import Agent
from tests.interaction._gateway import PATIENT, child, config_file, http_gateway, stdio_command
from tests.interaction._http import HttpChannel, sent
from tests.interaction._wire import Wire, piped, shake_hands
from tests.openapi.conftest import CREDENTIALS, Seen, change, entry, origin
from tests.servers.library import PIXEL
from tests.support import STARTUP_SECONDS, command, run_program, wait_until

pytestmark = pytest.mark.anyio


def text(result: dict[str, Any]) -> str:
    return result["content"][0]["text"]


def called(wire: Wire, tool: str, /, **arguments: Any) -> dict[str, Any]:
    return wire.call(f"library__{tool}", **arguments).result


# --- What agents see --------------------------------------------------------------------------------------------------


def test_every_operation_is_a_tool(wire: Wire) -> None:
    tools = {tool["name"]: tool for tool in wire.listed("tools/list", "tools")}
    for tool in tools.values():
        Draft202012Validator.check_schema(tool["inputSchema"])
        Draft202012Validator.check_schema(tool.get("outputSchema", {}))
    work = tools["library__getWork"]
    assert work["inputSchema"]["required"] == ["work_id"]
    assert work["annotations"]["readOnlyHint"] is True
    (author,) = work["outputSchema"]["$defs"].values()
    assert "mentor" in author["properties"], "in a circle"
    assert tools["library__deleteWork"]["annotations"] == {
        "title": "Delete Work",
        "readOnlyHint": False,
        "destructiveHint": True,
        "idempotentHint": True,
        "openWorldHint": True,
    }


# --- Arguments stay in their places -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("..", "%2E%2E"),
        ("../../seen", "..%2F..%2Fseen"),
        ("a/b?c=d#e", "a%2Fb%3Fc%3Dd%23e"),
        ("%2e%2e/", "%252e%252e%2F"),
        ("Zoë", "Zo%C3%AB"),
    ],
)
def test_a_path_parameter_is_one_segment(wire: Wire, seen: Seen, value: str, segment: str) -> None:
    called(wire, "getWork", work_id=value)
    first = next(iter(seen))  # the API may redirect what ends with a slash
    assert (first["path"], first["query"]) == (f"/works/{segment}", "")


@pytest.mark.parametrize(
    ("tool", "arguments", "path", "query"),
    [
        ("listWorks", {"tag": ["a", "b&c"], "limit": 5}, "/works", "tag=a&tag=b%26c&limit=5"),
        ("label_label__value__get", {"value": ["a", "b c"]}, "/label/.a.b%20c", ""),
        ("matrix_matrix__value__get", {"value": {"R": "1", "G": "2"}}, "/matrix/;value=R,1,G,2", ""),
        ("deep_deep_get", {"filter": {"a": {"b": [1]}}}, "/deep", "filter%5Ba%5D%5Bb%5D%5B0%5D=1"),
        ("piped_piped_get", {"ids": ["a", "b"]}, "/piped", "ids=a%7Cb"),
        ("spaced_spaced_get", {"ids": ["a", "b"]}, "/spaced", "ids=a%20b"),
        ("exploded_exploded_get", {"about": {"x": "1"}, "safe": False}, "/exploded", "x=1&safe=false"),
    ],
)
def test_styles(wire: Wire, seen: Seen, tool: str, arguments: dict[str, Any], path: str, query: str) -> None:
    result = called(wire, tool, **arguments)
    assert result["isError"] is False, result
    found = seen.last
    assert found["path"] == path
    assert sorted(found["query"].split("&")) == sorted(query.split("&"))


def test_headers_and_cookies(wire: Wire, seen: Seen, library: str) -> None:
    assert called(wire, "cookies_cookies_get", shelf="a; sid=evil")["structuredContent"]["shelf"]
    assert seen.last["headers"]["cookie"] == "sid=own; shelf=a%3B%20sid%3Devil"
    result = called(wire, "headers_headers_get", **{"x-trace-note": "hé"})
    assert result["structuredContent"]["authorization"] is None
    assert seen.last["headers"]["x-own"] == "own"
    assert seen.last["headers"]["host"] == origin(library)
    tools = {tool["name"]: tool for tool in wire.listed("tools/list", "tools")}
    assert list(tools["library__headers_headers_get"]["inputSchema"]["properties"]) == ["x-trace-note"]


@pytest.mark.parametrize(
    ("tool", "arguments", "reason"),
    [
        ("headers_headers_get", {"x-trace-note": "a\r\nHost: evil"}, "line break"),
        ("headers_headers_get", {"host": "evil"}, "There is no argument `host`"),
        ("exploded_exploded_get", {"about": {"safe": "0"}}, "a parameter of its own"),
        ("getWork", {"work_id": ""}, "must not be empty"),
        ("getWork", {}, "`work_id` must be given"),
        ("covers_covers_post", {"body": {"cover": "not base64!", "pages": []}}, "is not base64"),
    ],
)
def test_what_makes_no_request_is_told_and_never_sent(
    wire: Wire, seen: Seen, tool: str, arguments: dict[str, Any], reason: str
) -> None:
    result = called(wire, tool, **arguments)
    assert result["isError"] is True
    assert reason in text(result)
    assert not list(seen)


def test_credentials_go_where_the_document_says_and_nowhere_else(wire: Wire, seen: Seen) -> None:
    assert called(wire, "guarded_guarded_get")["structuredContent"] == {"authorization": "Bearer bearer-canary"}
    keys = called(wire, "keyed_keyed_get")["structuredContent"]
    assert keys == {"header": "header-canary", "query": "query-canary"}
    called(wire, "listWorks")
    assert not any(secret in json.dumps(seen.last) for secret in CREDENTIALS.values())
    shown = json.dumps(wire.listed("tools/list", "tools")) + json.dumps(called(wire, "poem_poem_get"))
    assert not any(secret in shown for secret in CREDENTIALS.values())


# --- Bodies -----------------------------------------------------------------------------------------------------------


def test_json_bodies(wire: Wire, seen: Seen) -> None:
    result = called(wire, "createWork", body={"title": "Emma", "author": {"name": "J", "mentor": {"name": "K"}}})
    assert result["structuredContent"]["author"] == {"name": "J", "mentor": {"name": "K", "mentor": None}}
    assert result["content"][1]["text"] == "Location: /works/8"
    assert seen.last["headers"]["content-type"] == "application/json"


def test_forms(wire: Wire) -> None:
    result = called(wire, "form_form_post", body={"title": "a b&c", "copies": [1, 2]})
    assert result["structuredContent"] == {"title": "a b&c", "copies": [1, 2]}


def test_files_in_base64_and_as_links_to_resources(wire: Wire) -> None:
    data = base64.b64encode(PIXEL).decode()
    body = {
        "cover": {"data": data, "name": "c.png", "mimeType": "image/png"},
        "pages": [data, {"type": "resource_link", "uri": "openapi://library/poem"}],
        "note": "n",
    }
    assert called(wire, "covers_covers_post", body=body)["structuredContent"] == {
        "name": "c.png",
        "type": "image/png",
        "sha": sha256(PIXEL).hexdigest(),
        "pages": [len(PIXEL), len("Two roads diverged")],
        "note": "n",
    }
    body["pages"] = [{"uri": "notes://nowhere"}]
    result = called(wire, "covers_covers_post", body=body)
    assert result["isError"] is True
    assert "cannot be read: Resource not found" in text(result)
    echo = called(wire, "echo_echo_post", body={"data": data})
    assert echo["content"][0]["resource"]["blob"] == data


# --- Answers ----------------------------------------------------------------------------------------------------------


def test_pages_are_left_to_the_agent(wire: Wire) -> None:
    result = called(wire, "listWorks", limit=3)
    assert result["structuredContent"]["result"][0]["title"] == "Middlemarch"
    assert json.loads(text(result)) == result["structuredContent"]["result"]
    assert result["content"][1]["text"] == 'Link: </works?limit=3&page=2>; rel="next"'


def test_images_text_and_nothing(wire: Wire) -> None:
    image = called(wire, "cover_cover_png_get")["content"][0]
    assert (image["type"], image["mimeType"], base64.b64decode(image["data"])) == ("image", "image/png", PIXEL)
    assert text(called(wire, "poem_poem_get")) == "Two roads diverged"
    assert text(called(wire, "deleteWork", work_id=1)) == "HTTP 204 No Content"


def test_errors_are_the_apis_own_words(wire: Wire) -> None:
    result = called(wire, "getWork", work_id="404")
    assert result["isError"] is True
    assert "structuredContent" not in result
    assert text(result) == ('HTTP 404 Not Found\n{"detail":{"reason":"There is no such work.","looked_for":"404"}}')
    assert "HTTP 422" in text(called(wire, "listWorks", limit=1000))


def test_redirects_stay_at_the_api_and_take_no_credentials_elsewhere(wire: Wire, seen: Seen, library: str) -> None:
    assert text(called(wire, "moved_moved_get")) == "Two roads diverged"
    port = library.rpartition(":")[2]
    answer = wire.call("library__away_away_get", to=f"http://localhost:{port}/headers")
    assert "is out of bounds" in answer.error["message"], "another host of a private network, which nobody named"
    assert [each["path"] for each in seen] == ["/moved", "/poem", "/away"]


def test_resources_and_templates(wire: Wire) -> None:
    resources = {each["uri"] for each in wire.listed("resources/list", "resources")}
    assert {"openapi://library/poem", "openapi://library/works", "openapi://library/cover.png"} <= resources
    templates = {each["uriTemplate"] for each in wire.listed("resources/templates/list", "resourceTemplates")}
    assert "openapi://library/works/{work_id}" in templates
    (found,) = wire.ask("resources/read", {"uri": "openapi://library/works/Emma"}).result["contents"]
    assert json.loads(found["text"])["title"] == "Emma"
    (image,) = wire.ask("resources/read", {"uri": "openapi://library/cover.png"}).result["contents"]
    assert base64.b64decode(image["blob"]) == PIXEL
    assert (
        "There is no such work." in wire.ask("resources/read", {"uri": "openapi://library/works/404"}).error["message"]
    )


@pytest.mark.parametrize("era", ["modern", "handshake"])
async def test_the_sdks_client_finds_every_result_as_the_schema_says(base: str, era: str) -> None:
    async with Agent(f"{base}/mcp/library", era).connected() as agent:
        names = {tool.name for tool in (await agent.client.list_tools()).tools}
        assert "getWork" in names
        for tool, arguments in [
            ("getWork", {"work_id": "x"}),
            ("listWorks", {}),
            ("createWork", {"body": {"title": "t"}}),
            ("cookies_cookies_get", {}),
            ("getWork", {"work_id": "404"}),
        ]:
            result = await agent.client.call_tool(tool, arguments)
            assert result.content


# --- An upstream like any other ---------------------------------------------------------------------------------------


def test_what_may_be_repeated_is_and_the_rest_is_told(library: str, wire: Wire, seen: Seen) -> None:
    change(library, down=1)
    assert called(wire, "listWorks")["isError"] is False
    assert len(list(seen)) == 2
    change(library, down=1)
    result = called(wire, "createWork", body={"title": "once"})
    assert result["isError"] is True
    assert text(result) == "HTTP 503 Service Unavailable\nRetry-After: 7\nClosed for stocktaking."
    assert sum(each["method"] == "POST" for each in seen) == 1
    change(library, down=0)


def test_deadlines_breaker_and_limits(library: str, tmp_path: Path) -> None:
    quick = entry(library, timeouts={"slow*": "300ms"}, breaker={"failures": 3, "cooldown": "30s"})
    with http_gateway(tmp_path, {"library": quick}, **PATIENT) as gateway:
        wire = Wire(HttpChannel(f"{gateway.base}/mcp"), True)
        assert "did not answer" in wire.call("library__slow_slow_get").error["message"]
        change(library, down=4)
        for _ in range(2):
            result = called(wire, "createWork", body={"title": "x"})
            assert "stocktaking" in text(result)
        assert "keeps failing" in wire.call("library__createWork", body={"title": "x"}).error["message"]
        change(library, down=0)


def test_rules_policy_and_rename(library: str, tmp_path: Path) -> None:
    own = entry(
        library,
        tools={"allow": ["get_*", "list_*", "poem*"], "deny": ["*poem*"], "rename": {"getWork": "read"}},
        openapi={"operations": ["*Work*", "poem*"]},
    )
    policy = [{"who": ["*"], "deny": ["library__listWorks"]}]
    with http_gateway(tmp_path, {"library": own}, policy=policy, **PATIENT) as gateway:
        wire = Wire(HttpChannel(f"{gateway.base}/mcp"), True)
        assert [tool["name"] for tool in wire.listed("tools/list", "tools")] == ["library__read"]
        assert "Unknown tool" in wire.call("library__listWorks").error["message"]
        assert called(wire, "read", work_id="x")["structuredContent"]["title"] == "x"


async def test_a_changed_document_is_a_changed_definition(library: str, tmp_path: Path) -> None:
    own = entry(library, pin="block", openapi={"refresh": "100ms"})
    with http_gateway(tmp_path, {"library": own}, **PATIENT) as gateway:
        wire = Wire(HttpChannel(f"{gateway.base}/mcp"), True)
        assert called(wire, "getWork", work_id="x")["isError"] is False
        change(library, number=2)
        try:
            await wait_until(lambda: "Blocked" in json.dumps(wire.call("library__getWork", work_id="x").message), 20)
            assert called(wire, "listWorks")["isError"] is False
        finally:
            change(library, number=1)
        await wait_until(lambda: "result" in wire.call("library__getWork", work_id="x").message, 20)


async def test_a_file_is_watched(library: str, tmp_path: Path) -> None:
    with sent("GET", f"{library}/openapi.json") as response:
        document = json.loads(response.read())
    path = tmp_path / "api.yaml"  # JSON is YAML
    path.write_text(json.dumps(document))
    folder = tmp_path / "gateway"
    folder.mkdir()
    with http_gateway(folder, {"library": {"openapi": "../api.yaml", "url": library}}, **PATIENT) as gateway:
        wire = Wire(HttpChannel(f"{gateway.base}/mcp"), True)
        assert called(wire, "getWork", work_id="x")["isError"] is False
        document["paths"]["/works/{work_id}"]["get"]["operationId"] = "readWork"
        path.write_text(json.dumps(document))
        await wait_until(lambda: "result" in wire.call("library__readWork", work_id="x").message, 20)
        path.write_text("{broken")
        document["paths"]["/works/{work_id}"]["get"]["operationId"] = "seeWork"
        assert called(wire, "readWork", work_id="x")["isError"] is False, "what was known stands"
        path.write_text(json.dumps(document))
        await wait_until(lambda: "result" in wire.call("library__seeWork", work_id="x").message, 20)


def test_servers_of_the_document_count_only_if_the_file_says_so(library: str, tmp_path: Path) -> None:
    document = {
        "openapi": "3.0.0",
        "info": {"title": "T", "version": "1"},
        "servers": [{"url": library}],
        "paths": {"/poem": {"get": {"operationId": "poem"}}},
    }
    path = tmp_path / "api.json"
    path.write_text(json.dumps(document))
    servers = {
        "trusting": {"openapi": {"document": str(path), "use_servers": True}},
        "strict": {"openapi": str(path), "url": "http://127.0.0.1:9"},
    }
    with http_gateway(tmp_path, servers, **PATIENT) as gateway:
        wire = Wire(HttpChannel(f"{gateway.base}/mcp"), True)
        assert text(wire.call("trusting__poem").result) == "Two roads diverged"
        assert "cannot connect to 127.0.0.1:9" in wire.call("strict__poem").error["message"]


def reasons_of(base: str, *names: str) -> dict[str, Any]:
    """Why these servers are away; None for one that is still being tried for the first time."""
    with sent("GET", f"{base}/upstreams") as response:
        states = {each["name"]: each for each in json.loads(response.read())["upstreams"]}
    return {name: states[name]["reason"] for name in names}


def test_a_document_that_cannot_be_had_is_a_reason(library: str, tmp_path: Path) -> None:
    servers = {
        "gone": {"openapi": f"{library}/nowhere.json", "url": library},
        "html": {"openapi": f"{library}/poem", "url": library},
        "file": {"openapi": "gone.yaml", "url": library},
        "fine": child("tests.servers.raw"),
    }
    with http_gateway(tmp_path, servers, **PATIENT) as gateway:
        wire = Wire(HttpChannel(f"{gateway.base}/mcp"), True)
        assert any(tool["name"].startswith("fine__") for tool in wire.listed("tools/list", "tools"))
        deadline = time.monotonic() + STARTUP_SECONDS
        while None in (reasons := reasons_of(gateway.base, "gone", "html", "file")).values():
            assert time.monotonic() < deadline, reasons
            time.sleep(0.05)
    assert "answered with HTTP status 404" in reasons["gone"]
    assert "is not a JSON or YAML object" in reasons["html"]
    assert "cannot be read (No such file or directory)" in reasons["file"]


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
def test_a_front_on_stdio(library: str, tmp_path: Path, modern: bool) -> None:
    config = config_file(tmp_path, {"library": entry(library)}, **PATIENT)
    with piped(stdio_command(config)) as pipe:
        if not modern:
            shake_hands(pipe)
        wire = Wire(pipe, modern)
        assert called(wire, "getWork", work_id="Emma")["structuredContent"]["title"] == "Emma"


def test_the_verbs(library: str, tmp_path: Path) -> None:
    config = str(config_file(tmp_path, {"library": entry(library)}))
    checked = run_program([*command("gateway", "check"), "-c", config])
    assert checked.returncode == 0, checked.stderr
    assert "openapi.json" in checked.stdout
    tools = run_program([*command("gateway", "tools"), "-c", config])
    assert "library__getWork" in tools.stdout
    done = run_program([*command("gateway", "call"), "-c", config, "library__getWork", "work_id=Emma"])
    assert json.loads(done.stdout)["title"] == "Emma"
    failed = run_program([*command("gateway", "call"), "-c", config, "library__getWork", "work_id=404"])
    assert failed.returncode == 1
    assert "There is no such work." in failed.stdout + failed.stderr
    examined = run_program([*command("gateway", "doctor"), "-c", config])
    assert "library" in examined.stdout
    everything = "".join(each.stdout + each.stderr for each in (checked, tools, done, failed, examined))
    assert not any(secret in everything for secret in CREDENTIALS.values())
