"""Workers that share a store of their own, which ends with them: logins stay where commands and the next start look."""

from pathlib import Path

from tests.interaction._gateway import config_file
from tests.logins.test_desk import Desk, automatic
from tests.support import http_server
from tests.workers.supervised import supervised


def test_workers_have_the_logins_that_commands_make(tmp_path: Path) -> None:
    with http_server("tests.servers.guarded") as url:
        servers, origin = {"notes": {"url": url}}, url.removesuffix("/mcp")
        config_file(tmp_path, servers)
        assert Desk(tmp_path, "", origin).log_in(automatic)[0] == 0
        with supervised(tmp_path, servers) as gateway:
            here = Desk(tmp_path, gateway.base, origin)
            assert here.verb("logout", "notes").returncode == 0
            here.until("login needed")
            assert here.log_in(automatic)[0] == 0
            here.until("ready")
        assert list((tmp_path / "state" / "logins").glob("*.login"))
