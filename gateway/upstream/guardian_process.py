"""The guardian: a process that sees to it that nothing a server started outlives the server, nor the gateway.

The gateway tells it over its stdin which servers there are (`+PID MARK`), which have ended (`-PID`), and which process
is the gateway's own (`!PID`), with all that is below it. When the pipe closes, the gateway is gone.

Process groups do not hold everything: what makes a session of its own (a browser, a daemon) is in none of ours. On
Linux such processes are known by what they descend from, looked at again and again while the parents live, and by a
mark in the environment that they began with. Elsewhere only groups are ended.

It runs on the bare standard library (`python -I -S`), so it imports nothing of ours.
"""

import os
import select
import signal
import sys
import time

MARK = "MCP_GATEWAY_CHILD"
"""The environment variable that marks what belongs to a server."""
GRACE_SECONDS = 2.0
"""Between SIGTERM and SIGKILL."""
LOOK_SECONDS = 1.0
"""How often it looks at what servers have started."""

Process = tuple[int, int]
"""A process id, and when it began: ids are used again."""


class GuardedServer:
    """A server and what it has started, as far as that was seen."""

    def __init__(self, pid: int, mark: str) -> None:
        self.pid = pid
        self.mark = mark
        self.seen: set[Process] = set()

    def look(self) -> None:
        """Note what there is of it now."""
        self.seen = {each for each in self.seen if lives(each)}
        self.seen |= below([self.pid, *(pid for pid, _ in self.seen)])


class ProcessGuard:
    def __init__(self) -> None:
        self.servers: dict[int, GuardedServer] = {}
        self.gateway: GuardedServer | None = None
        self.ending: list[tuple[float, set[Process]]] = []
        """What was asked to end, and when it is made to."""

    def run(self) -> None:
        """Follow the gateway to its end, and end what it leaves."""
        rest = b""
        while True:
            busy = self.servers or self.ending or self.gateway
            if select.select([0], [], [], LOOK_SECONDS if busy else None)[0]:
                data = os.read(0, 65536)
                if not data:
                    break
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self.obey(line.decode())
            self.look()
            self.end_overdue()
        self.end_all()

    def obey(self, line: str) -> None:
        verb, (pid, _, mark) = line[:1], line[1:].partition(" ")
        if verb == "+":
            self.servers[int(pid)] = GuardedServer(int(pid), mark)
        elif verb == "!":
            self.gateway = GuardedServer(int(pid), "")
        elif (server := self.servers.pop(int(pid), None)) is not None:
            server.look()
            left = {each for each in server.seen | marked({server.mark}) if send(each, signal.SIGTERM)}
            if left:
                self.ending.append((time.monotonic() + GRACE_SECONDS, left))

    def look(self) -> None:
        for server in (*self.servers.values(), *([self.gateway] if self.gateway else ())):
            server.look()

    def end_overdue(self) -> None:
        now = time.monotonic()
        for at, processes in self.ending:
            if at <= now:
                for each in processes:
                    send(each, signal.SIGKILL)
        self.ending = [(at, processes) for at, processes in self.ending if at > now]

    def end_all(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            victims = self.left()
            for pid in self.servers:
                send_group(pid, number)
            for each in victims:
                send(each, number)
            deadline = time.monotonic() + GRACE_SECONDS
            while time.monotonic() < deadline and (any(map(lives, victims)) or any(map(group_lives, self.servers))):
                time.sleep(0.05)

    def left(self) -> set[Process]:
        """Everything that is to go, the groups' members aside."""
        self.look()
        victims = marked({server.mark for server in self.servers.values()})
        for server in (*self.servers.values(), *([self.gateway] if self.gateway else ())):
            victims |= server.seen
        for _, processes in self.ending:
            victims |= processes
        return {each for each in victims if lives(each)}


# --- Groups (all of Unix) ------------------------------------------------------------------------------------------


def send_group(pid: int, number: int) -> bool:
    try:
        os.killpg(pid, number)
    except OSError:
        return False
    return True


def group_lives(pid: int) -> bool:
    return send_group(pid, 0)


# --- Processes (Linux) ---------------------------------------------------------------------------------------------


def began(pid: int) -> int | None:
    """When a process began; None if there is none, or it has ended and only waits to be taken note of."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def lives(process: Process) -> bool:
    return began(process[0]) == process[1]


def send(process: Process, number: int) -> bool:
    """Signal a process; False if it is gone."""
    try:
        if lives(process):
            os.kill(process[0], number)
            return True
    except OSError:
        pass
    return False


def below(pids: list[int]) -> set[Process]:
    """What descends from these, them and this process aside."""
    found: set[Process] = set()
    known = {*pids, os.getpid()}
    while pids:
        for child in children(pids.pop()):
            if child not in known:
                known.add(child)
                pids.append(child)
                at = began(child)
                if at is not None:
                    found.add((child, at))
    return found


def children(pid: int) -> list[int]:
    """The children of a process, whichever of its threads started them."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    except OSError:
        pass  # it has ended, or this is no Linux
    return found


def marked(marks: set[str]) -> set[Process]:
    """The processes that began with one of these marks in their environment."""
    found: set[Process] = set()
    wanted = {f"{MARK}={mark}".encode() for mark in marks if mark}
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()] if wanted else []
    except OSError:
        return found
    for pid in pids:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                is_marked = not wanted.isdisjoint(file.read().split(b"\0"))
        except OSError:
            continue  # somebody else's, or gone
        if is_marked and (at := began(pid)) is not None:
            found.add((pid, at))
    return found


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    ProcessGuard().run()
    sys.exit()
