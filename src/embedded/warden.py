"""Runs one program and ends it when the process that asked for it is gone.

Started as `python -I -S warden.py` with one end of a pipe as its standard input: the lifeline. The
other end is held by the process that wants the program; whatever kills that process closes it, on
every system and however it dies. Its first line is the order, JSON, see `Order` in process.py: an
argument could be read by every user of the machine, and the order may hold a password. The first
line of output is the program's pid; the exit code is the program's (128 + signal for a
killed one).

Standard library only, one small process for one server: so it can change its identity, or enter a
user namespace, without touching the process that it works for.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 1 << 2
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION = 0x20080522
CAP_DAC_OVERRIDE = 1
INSIDE_ID = 1000
"""Who we are inside a user namespace: anybody but root, whom PostgreSQL refuses."""
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What reaches many processes at once (Ctrl-C, a service stop): only the lifeline ends us."""


def become(identity: dict[str, Any]) -> None:
    """Take the identity under which the program shall run.

    `self` changes nothing. `namespace` keeps the user outside and is an ordinary one inside:
    files stay owned by the caller. `user` gives up root, but for its reach into folders.
    """
    uid, gid = identity["uid"], identity["gid"]
    if identity["kind"] == "namespace":
        enter_namespace(os.geteuid(), os.getegid())
    elif identity["kind"] == "user":
        become_user(uid, gid)


def enter_namespace(uid: int, gid: int) -> None:
    # os.unshare comes with Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWUSER)")
    for name, content in (
        ("setgroups", "deny"),
        ("gid_map", f"{INSIDE_ID} {gid} 1"),
        ("uid_map", f"{INSIDE_ID} {uid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(content)


def become_user(uid: int, gid: int) -> None:
    """Become another user who still gets into root's closed folders, where data and programs lie.

    Where this reach is not to be had, the program fails on the first closed folder, and says so.
    """
    linux = sys.platform == "linux"
    libc = ctypes.CDLL(None)
    if linux:
        # Capabilities stay over setuid; and access(2), by which initdb finds postgres, counts them.
        libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if linux:
        only = 1 << CAP_DAC_OVERRIDE
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
        # Effective, permitted and inheritable; then their upper halves.
        libc.capset(header, (ctypes.c_uint32 * 6)(only, only, only, 0, 0, 0))
        # Ambient: stays through the start of a program that has no capabilities of its own.
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def prepare(number: int) -> None:
    """In the new process: hear signals again, and on Linux die should the warden be killed."""
    for ignored in IGNORED:
        signal.signal(ignored, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


def stop_when_alone(program: "subprocess.Popen[bytes]", steps: list[tuple[int, float]]) -> None:
    """Wait for the end of the lifeline, then stop the program, less politely at each step."""
    while os.read(0, 4096):
        pass
    for number, patience_s in steps:
        program.send_signal(number)
        try:
            program.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
        return
    program.kill()


def read_order() -> Any:
    """Read the first line, and not a byte more: the rest of the pipe is the lifeline."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            raise EOFError("the process that wanted the program was gone before it said which")
        line += byte
    return json.loads(line)


def main() -> int:
    order = read_order()
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    with open(order["log"], "ab") as log:
        become(order["identity"])
        steps = [(int(number), float(patience_s)) for number, patience_s in order["stop"]]
        program = subprocess.Popen(
            order["command"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=order["environment"],
            cwd=order["folder"],
            pass_fds=order["keep"],
            preexec_fn=lambda: prepare(steps[0][0]),
        )
    for number in order["keep"]:
        os.close(number)
    os.write(1, f"{program.pid}\n".encode())
    threading.Thread(target=stop_when_alone, args=(program, steps), daemon=True).start()
    program.communicate(order["input"].encode())
    code = program.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
