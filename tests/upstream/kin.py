"""What a server may start: a child in its group, one in a session of its own, and a daemon, whose parent has gone."""

from typing import Final

CODE: Final = """
import os, subprocess, sys
WAIT = "import time; time.sleep(600)"
def start(code, **how):
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **how)
child, detached = start(WAIT), start(WAIT, start_new_session=True)
daemon = start(f'''
import os
if os.fork(): os._exit(0)
os.setsid()
if pid := os.fork(): print(pid, flush=True); os._exit(0)
os.close(1)
{WAIT}
''')
print(os.getpid(), child.pid, detached.pid, int(daemon.stdout.readline()), flush=True)
daemon.wait()
sys.stdin.read()
"""
