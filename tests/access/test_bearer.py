"""What a bearer is meant for: told by its form, and never tried as the other."""

from pathlib import Path

import pytest

from gateway.access import key_edit
from gateway.access.api_keys import ApiKeys
from gateway.access.bearer import Bearer, is_jwt
from gateway.errors import Unauthenticated
from tests.oauth.local_issuer import Clock, local_issuer, resource_server, settings_for

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("token", "is_one"),
    [
        ("eyJhbGciOiJub25lIn0.e30.", True),
        ("eyJhbGciOiJSUzI1NiJ9.e30.c2ln", True),
        ("IHsgfQ.e30.x", True),
        ("e30.e30.x", True),
        ("a.b.c", False),
        ("eyJhbGciOiJub25lIn0.e30", False),
        ("eyJhbGciOiJub25lIn0.e30.x.y", False),
        ("mgw_aaaaaaaaaaaaaaaa_" + "x" * 43, False),
        ("key.with.dots", False),
        ("eyJ\u00e4.e30.x", False),
        ("", False),
    ],
)
def test_a_jwt_is_told_by_its_form(token: str, is_one: bool) -> None:
    assert is_jwt(token) is is_one


async def test_with_both_each_goes_its_own_way(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key, entry = key_edit.create(path, "alice")
    keys = ApiKeys(path, environment="production", loopback=False)
    async with local_issuer() as issuer, resource_server(settings_for(issuer.url), Clock()) as oauth:
        bearer = Bearer(keys, oauth)
        assert (await bearer.authenticate(f"Bearer {key}", None, "")).id == f"key:{entry.id}"
        assert (await bearer.authenticate(f"Bearer {issuer.token()}", None, "")).method == "oauth"
        for bad in (key, f"Basic {key}", f"Bearer {key}x", f"Bearer {key} {key}", "Bearer", ""):
            with pytest.raises(Unauthenticated):
                await bearer.authenticate(bad, None, "")
        assert (await Bearer(None, oauth).authenticate(f"Bearer {issuer.token()}", None, "")).method == "oauth"
        with pytest.raises(Unauthenticated):
            await Bearer(None, oauth).authenticate(f"Bearer {key}", None, "")


async def test_without_an_authorization_server_whatever_is_sent_is_a_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text('[{"key": "eyJhbGciOiJub25lIn0.e30.", "owner": "alice"}]')
    bearer = Bearer(ApiKeys(path, environment="production", loopback=False), None)
    assert (await bearer.authenticate("Bearer eyJhbGciOiJub25lIn0.e30.", None, "")).owner == "alice"
