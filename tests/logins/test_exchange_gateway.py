"""Token exchange through a whole gateway: who comes with an access token is asked for in their own name, and others are
told why not; and the agents' own tokens are seen by nobody but who exchanges them."""

import json
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import jwt
import pytest

from gateway.access.key_edit import create
from tests.interaction._gateway import http_gateway
from tests.interaction._http import post, request
from tests.logins.signing import GRANTS, SECRET, signing
from tests.support import free_port

pytestmark = pytest.mark.anyio


async def test_in_ones_own_name_or_not_at_all(tmp_path: Path) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    async with signing() as (server, wire):
        oauth = {"issuer": server.origin, "resource": f"{base}/mcp", "allow_private": True}
        keys = tmp_path / "api_keys.json"
        key, _ = create(keys, "carol")
        settings: dict[str, Any] = {
            "port": port,
            "log_level": "debug",
            "log_file": str(tmp_path / "log"),
            "audit": {"file": str(tmp_path / "audit"), "key": "a key of the audit log, long enough for it"},
            "auth": {"enabled": True, "oauth": oauth, "api_keys_file": str(keys)},
        }
        crm = {"url": server.url, "auth": {"token_exchange": {"client_id": "gw", "client_secret": SECRET}}}
        call = request("tools/call", {"name": "crm__a", "arguments": {}})

        async def ask(credential: str) -> dict[str, Any]:
            status, answer = await anyio.to_thread.run_sync(
                post, f"{base}/mcp", call, {"Authorization": f"Bearer {credential}"}
            )
            assert status == 200 or "error" in answer
            return answer

        with http_gateway(tmp_path, {"crm": crm}, startup_wait=30, **settings):
            tokens = {name: server.bearer(name, f"{base}/mcp") for name in ("alice", "bob")}
            shown: list[object] = []
            for token in tokens.values():
                answer = await ask(token)
                assert answer["result"]["content"][0]["text"] == "a", answer
                shown.append(answer)
            refused = await ask(key)
            assert "they came with an API key" in refused["error"]["message"]
            admin = server.bearer("root", f"{base}/mcp")
            for path in ("upstreams", "upstreams/crm", "status", "info", "metrics"):
                headers = {"Authorization": f"Bearer {admin}"}
                async with httpx2.AsyncClient() as client:
                    shown.append((await client.get(f"{base}/{path}", headers=headers)).text)
        called = [got.headers["authorization"][7:] for got in wire.got if b"tools/call" in got.body]
        assert [jwt.decode(each, options={"verify_signature": False})["sub"] for each in called] == ["alice", "bob"]
        exchanges = [form for form in server.requests if form["grant_type"] == f"{GRANTS}token-exchange"]
        assert [form["subject_token"] for form in exchanges] == list(tokens.values())
        audit = (tmp_path / "audit").read_text()
        said = [json.loads(line) for line in audit.splitlines() if "token exchange" in line]
        assert [line["upstream"] for line in said] == ["crm", "crm"]
        assert all('"gw"' in line["act"] and line["principal"].startswith("oauth:") for line in said)
        kept = [
            (tmp_path / "log").read_text(),
            audit,
            *(each.read_text("latin-1") for each in files(tmp_path / "state")),
        ]
        everything = json.dumps(shown) + "".join(kept)
        for secret in (*tokens.values(), *called, key, SECRET):
            assert secret not in everything
        for token in tokens.values():
            places = {got.target for got in wire.got if token in f"{got.target}{got.headers}{got.body}"}
            assert places == {"/token"}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
