"""The keys of agent tokens: made once, kept to their owner, replaced without a break."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.access.signing_key import GRACE, SigningKeys
from gateway.errors import ConfigError
from gateway.store import files

CONFIGURED = "a-configured-key-of-32-characters"
NOW = 1_700_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "signing_keys.json"


def test_made_once_with_256_bits_for_the_owner_only(path: Path) -> None:
    first, second = SigningKeys.from_file(path), SigningKeys.from_file(path)
    assert first.signing == second.signing
    assert len(first.signing.secret) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = SigningKeys.from_file(path.with_name("other.json")).signing
    assert (other.kid, other.secret) != (first.signing.kid, first.signing.secret)


def test_two_that_start_at_once_agree_on_a_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = files.create
    winners: list[SigningKeys] = []

    def beaten_to_it(path: Path, data: bytes) -> bool:
        monkeypatch.setattr(files, "create", real)
        winners.append(SigningKeys.from_file(path))
        return real(path, data)

    monkeypatch.setattr(files, "create", beaten_to_it)
    loser = SigningKeys.from_file(path)
    assert loser.signing == winners[0].signing


def test_a_file_that_others_could_read_is_closed_and_reported(path: Path) -> None:
    SigningKeys.from_file(path)
    path.chmod(0o644)
    with capture_logs() as logs:
        SigningKeys.from_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry["log_level"] for entry in logs] == ["warning"]


def test_rotation_keeps_keys_for_as_long_as_their_tokens_live(path: Path) -> None:
    keys = SigningKeys.from_file(path)
    first = keys.signing
    keys.rotate(100, NOW)
    second = keys.signing
    assert second.secret != first.secret
    assert [(key.kid, key.accepted_until) for key in keys.all] == [(second.kid, None), (first.kid, NOW + 100 + GRACE)]
    assert SigningKeys.from_file(path).all == keys.all
    assert keys.all[1].is_accepted(NOW + 99 + GRACE)
    assert not keys.all[1].is_accepted(NOW + 100 + GRACE)

    keys.rotate(100, NOW + 50)
    assert [key.kid for key in keys.all][1:] == [second.kid, first.kid]
    keys.rotate(100, NOW + 120 + GRACE)
    assert first.kid not in [key.kid for key in keys.all]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_that_others_know_is_given_up_at_once(path: Path) -> None:
    keys = SigningKeys.from_file(path)
    keys.rotate(100, NOW)
    before = {key.secret for key in keys.all}
    keys.rotate(0, NOW + 1)
    (only,) = SigningKeys.from_file(path).all
    assert keys.all == (only,)
    assert only.secret not in before


def test_another_process_sees_the_change_when_it_looks(path: Path) -> None:
    keys, other = SigningKeys.from_file(path), SigningKeys.from_file(path)
    assert not keys.reload()
    other.rotate(100, NOW)
    assert keys.reload()
    assert keys.all == other.all
    assert not keys.reload()
    assert not SigningKeys.from_secret(CONFIGURED).reload()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"format": "something else"},
        {"keys": []},
        {"keys": ["x"]},
        {"keys": [{"kid": "x", "secret": "AAAA", "accepted_until": None}]},
        {"keys": [{"kid": "x", "secret": "not Base64!", "accepted_until": None}]},
        {"keys": [{"kid": 1, "secret": "A" * 43 + "=", "accepted_until": None}]},
        {"keys": [{"kid": "x", "secret": "A" * 43 + "=", "accepted_until": 1}]},
        {"keys": [{"kid": "x", "secret": "A" * 43 + "="}]},
    ],
)
def test_a_file_that_is_none_is_an_error_and_is_left(path: Path, change: dict[str, Any]) -> None:
    running = SigningKeys.from_file(path)
    text = json.dumps(json.loads(path.read_text()) | change)
    before = running.all
    path.write_text(text)
    for use in (running.reload, lambda: SigningKeys.from_file(path)):
        with pytest.raises(ConfigError) as error:
            use()
        assert str(path) in error.value.message
    assert running.all == before
    assert path.read_text() == text


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match="cannot be used"):
        SigningKeys.from_file(tmp_path / "state" / "signing_keys.json")


def test_a_configured_key_is_the_same_everywhere_and_written_nowhere(tmp_path: Path) -> None:
    one, other = SigningKeys.from_secret(CONFIGURED), SigningKeys.from_secret(CONFIGURED)
    assert one.signing == other.signing
    assert one.signing.kid not in CONFIGURED
    assert one.signing.secret != CONFIGURED.encode()[:32]
    assert repr(one.signing.secret) not in repr(one.signing)
    with pytest.raises(ConfigError, match="configured"):
        one.rotate(100, NOW)


def test_a_configured_key_may_have_predecessors() -> None:
    old = SigningKeys.from_secret(CONFIGURED)
    new = SigningKeys.from_secret("another-configured-key-of-32-char", CONFIGURED)
    assert new.signing.kid != old.signing.kid
    assert [(key.kid, key.is_accepted(NOW)) for key in new.all][1:] == [(old.signing.kid, True)]


def test_a_short_configured_key_is_refused_without_being_repeated() -> None:
    with pytest.raises(ConfigError) as error:
        SigningKeys.from_secret("hunter2")
    assert "hunter2" not in error.value.message
