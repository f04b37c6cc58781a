"""The supervisor: first process of a sandbox. It starts the commands, watches them, reports, and takes all with it at the end.

Commands cannot reach it: signals to the first process of a namespace are dropped, and its memory is closed to them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from . import isolation, scripts, tree
from .protocol import Channel, Header

# One loop per command. An outer loop, so that a stray `break` only begins again; descriptors 3 and 4 closed for
# the command, so that nothing it leaves behind holds them; jobs disowned, so that killed ones are not announced.
# No word in it that a command's function could take: the classic fork bomb is a function by the name of `:`.
DRIVER = (
    'while [[ 1 ]]; do while { builtin printf "%d %s\\0" "$?" "$PWD" >&4; builtin disown -a; [[ 1 ]]; } 2>/dev/null; '
    'do IFS= builtin read -r -d "" -u 3 2>/dev/null || exit; builtin eval "$REPLY" 3<&- 4>&-; done; done'
)
LOOK = 0.05  # seconds between two looks at the memory of what runs
PAGE = 1 << 16


class Gone(Exception):  # noqa: N818 (the end, not an error)
    """The host has closed the sandbox."""


class Supervisor:
    """Serves one host over ``channel`` until it is gone."""

    def __init__(self, channel: Channel, built: isolation.Namespaces | isolation.Container, path: str) -> None:
        self.channel, self.built = channel, built
        self.environment = {**isolation.ENVIRONMENT, "PATH": path}
        self.limits: dict[str, Any] = {}
        self.home = -1
        self.cwd = isolation.HOME
        self.shell: Shell | None = None
        self.null = os.open("/dev/null", os.O_RDONLY)

    def serve(self) -> None:
        while (frame := self.channel.receive()) is not None:
            header, blobs, _ = frame
            getattr(self, "on_" + header.pop("do"))(blobs, **header)
        raise Gone

    def on_open(
        self, blobs: list[bytes], limits: dict[str, Any], dirs: list[str], files: list[str], fixed: list[str]
    ) -> None:
        self.limits = limits
        self.home = self.built.build(limits, dirs, dict(zip(files, blobs)), fixed)  # noqa: B905 (Python 3.9)
        os.chdir(isolation.HOME)
        self.channel.send({"ok": True}, fds=[self.home])

    def on_run(self, blobs: list[bytes], seconds: float) -> None:
        """A command for the shell."""
        shell = self.shell or Shell(self)
        self.shell = None
        os.kill(shell.pid, signal.SIGCONT)
        watch = Watch(self, shell.pid, shell.out, shell.err, seconds)
        watch.shell, watch.to_send = shell, blobs[0] + b"\0"
        watch.until_done()
        if watch.ended or watch.stopped or not self._only(shell.pid):
            self._kill_all()
            watch.drain()
            shell.close()
            if not watch.stopped:
                watch.note = "the shell ended"
            watch.note += f"; a new one starts in {self.cwd}, without the variables of the old"
        else:
            watch.drain()
            self.shell = shell  # stopped: nothing moves between two commands
        watch.report()

    def on_once(self, blobs: list[bytes], seconds: float, arguments: list[str] | None) -> None:
        """A command by itself, in the home; with ``arguments``, of the warm Python."""
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        if arguments is None:
            pid = self.start_bash(os.fsdecode(blobs[0]), (self.null, out_end, err_end))
        else:
            pid = self.fork(lambda: scripts.run(arguments, self.environment), (self.null, out_end, err_end))
        os.close(out_end)
        os.close(err_end)
        watch = Watch(self, pid, out, err, seconds)
        watch.until_done()
        self._kill_all()
        watch.drain()
        watch.report()

    def on_snapshot(self, blobs: list[bytes]) -> None:
        """Every path of the home, for a host that may not look into it; the supervisor may look everywhere."""
        rows, contents = [], []
        disk = 2 * isolation.MB * self.limits["disk_mb"]
        for path, kind, sha, size, mode, content, changed in tree.walk(
            self.home, isolation.MB * self.limits["file_mb"], disk
        ):
            rows.append([path, kind, sha, size, mode, content is not None, changed])
            contents += [] if content is None else [content]
        self.channel.send({"rows": rows}, contents)

    def start_bash(self, script: str, streams: Sequence[int]) -> int:
        """A confined bash that does the script under the sandbox's limits; its process."""
        whole = f"{isolation.ulimit(self.limits)}; {script}"
        words = ["bash", "--norc", "--noprofile", "-c", whole, "bash"]
        if isinstance(self.built, isolation.Container):  # another user's: that takes a fork
            return self.fork(lambda: os.execve("/bin/bash", words, self.environment), streams)
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, isolation.HIGH) for fd in streams]
        places = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(high)]
        try:  # without copying the supervisor's memory, as a fork would
            return os.posix_spawn(
                "/bin/bash",
                words,
                self.environment,
                file_actions=places,
                setsid=True,
                setsigmask=(),
                setsigdef=isolation.DEFAULT_SIGNALS,
            )
        finally:
            for fd in high:
                os.close(fd)

    def fork(self, body: Callable[[], None], streams: Sequence[int]) -> int:
        """A confined child that does ``body()``; its process."""
        pid = os.fork()
        if pid:
            return pid
        try:
            isolation.confine(self.built, self.limits, streams)
            body()
        except BaseException as error:
            os.write(2, f"the command could not be started: {error}\n".encode())
        os._exit(126)

    def _only(self, shell: int) -> bool:
        """Kill all but the shell, bury them, since the dead count as processes, and stop it; False where they do not end.

        Everything is stopped before anybody is counted: of processes that fork and die, a list of those that are
        running shows only the parents, who are gone when one looks at them.
        """
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGSTOP)  # at once, as a kill of all: no fork can slip through
            _reap()
            others = [pid for pid in _pids() if pid != shell]
            if not others:
                return True
            for pid in others:
                _kill(pid)
            os.kill(shell, signal.SIGCONT)  # it buries its own
            time.sleep(0.0005)
        return False

    def _kill_all(self) -> None:
        """Every process of the sandbox but this one, at once: no fork can slip through."""
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            return
        _reap(wait=True)


class Shell:
    """The bash of the episode."""

    def __init__(self, supervisor: Supervisor) -> None:
        theirs_in, self.commands = socket.socketpair()  # sockets: unlike pipes, not to be reopened through /proc
        theirs_out, self.statuses = socket.socketpair()
        self.out, out = os.pipe()
        self.err, err = os.pipe()
        try:
            os.chdir(supervisor.cwd)
        except (OSError, ValueError):  # it was removed, or never was one
            os.chdir(isolation.HOME)
        supervisor.cwd = os.getcwd()
        pair = (theirs_in.fileno(), theirs_out.fileno())
        self.pid = supervisor.start_bash(DRIVER, (supervisor.null, out, err, *pair))
        os.chdir(isolation.HOME)
        for fd in (out, err):
            os.close(fd)
        for end in (theirs_in, theirs_out):
            end.close()
        self.commands.setblocking(False)
        self.statuses.settimeout(10)
        while self.statuses.recv(1) not in (b"\0", b""):  # its first status says that it is ready
            pass
        self.statuses.setblocking(False)

    def close(self) -> None:
        self.commands.close()
        self.statuses.close()
        os.close(self.out)
        os.close(self.err)


class Watch:
    """One command from its start to its end: its streams, its time, its memory."""

    def __init__(self, supervisor: Supervisor, pid: int, out: int, err: int, seconds: float) -> None:
        self.supervisor, self.pid, self.seconds = supervisor, pid, seconds
        self.most = supervisor.limits["output_bytes"]
        self.streams: dict[int, bytearray] = {out: bytearray(), err: bytearray()}
        self.order = (out, err)
        for fd in self.order:
            os.set_blocking(fd, False)
        self.shell: Shell | None = None
        self.to_send = b""
        self.status = bytearray()
        self.returncode = -1
        self.began = self.looked = time.monotonic()
        self.truncated = self.timed_out = False
        self.ended = False  # the process itself is gone
        self.stopped = False  # by us
        self.note = ""

    def until_done(self) -> None:
        poll, pidfd = select.poll(), os.pidfd_open(self.pid)
        for fd in (*self.order, pidfd, self.supervisor.channel.reads):
            poll.register(fd, select.POLLIN)
        if self.shell:
            poll.register(self.shell.statuses.fileno(), select.POLLIN)
            poll.register(self.shell.commands.fileno(), select.POLLOUT)
        try:
            while not self._done(poll, pidfd):
                pass
        finally:
            os.close(pidfd)

    def _done(self, poll: select.poll, pidfd: int) -> bool:
        left = self.began + self.seconds - time.monotonic()
        if left <= 0:
            self.timed_out = True
            return self._stop(f"stopped after {self.seconds:g} s")
        events = dict(poll.poll(1000 * min(left, LOOK)))
        if time.monotonic() > self.looked + LOOK and self._too_much():
            return self._stop(f"stopped: more than {self.supervisor.limits['memory_mb']} MiB of memory")
        if self.supervisor.channel.reads in events:
            raise Gone  # the host sends nothing while a command runs: it has hung up
        for fd in self.order:
            if fd in events and not self._read(fd):
                poll.unregister(fd)
        if self.shell and self.shell.commands.fileno() in events:
            self._feed(poll, self.shell.commands)
        if self.shell and self.shell.statuses.fileno() in events:
            self.status += self.shell.statuses.recv(PAGE)
            if b"\0" in self.status:
                code, _, folder = bytes(self.status).partition(b"\0")[0].partition(b" ")
                self.returncode = int(code) if code.isdigit() else -1
                self.supervisor.cwd = os.fsdecode(folder)
                return True
        if pidfd in events:
            self.ended = True
            self.returncode = _exit_code(self.pid)
            return True
        return False

    def _too_much(self) -> bool:
        """Whether the sandbox's processes hold more memory than they may; a look costs 0.1 ms and more."""
        much = _resident() > isolation.MB * self.supervisor.limits["memory_mb"]
        self.looked = time.monotonic()
        return much

    def _stop(self, note: str) -> bool:
        self.stopped, self.note, self.returncode = True, note, 128 + signal.SIGKILL
        if self.shell:
            self.supervisor.cwd = _cwd(self.pid) or self.supervisor.cwd
        return True

    def _feed(self, poll: select.poll, commands: socket.socket) -> None:
        """Give the shell the command, as fast as it reads."""
        try:
            self.to_send = self.to_send[commands.send(self.to_send) :]
        except OSError:
            self.to_send = b""
        if not self.to_send:
            poll.unregister(commands.fileno())

    def _read(self, fd: int) -> bool:
        """Take what is there, up to one page; False at the end of the stream."""
        try:
            data = os.read(fd, PAGE)
        except BlockingIOError:
            return True
        kept = self.streams[fd]
        if len(kept) + len(data) > self.most:
            self.truncated = True
        kept += data[: self.most - len(kept)]
        return bool(data)

    def drain(self) -> None:
        """What still lies in the pipes once nobody writes: a pipe holds at most 1 MiB."""
        for fd in self.order:
            while select.select([fd], [], [], 0)[0] and self._read(fd):
                pass
            if not self.shell:
                os.close(fd)

    def report(self) -> None:
        header: Header = {
            "returncode": self.returncode,
            "timed_out": self.timed_out,
            "truncated": self.truncated,
            "seconds": time.monotonic() - self.began,
            "note": self.note,
        }
        self.supervisor.channel.send(header, [bytes(self.streams[fd]) for fd in self.order])


def supervise(channel: Channel, built: isolation.Namespaces | isolation.Container, path: str) -> None:
    """Serve a sandbox until the host is gone; then kill all that lives in it and exit."""
    own = Supervisor(channel, built, path)
    try:
        own.serve()
    except (Gone, EOFError, ConnectionError, BrokenPipeError):
        pass
    except BaseException as error:
        with contextlib.suppress(OSError):
            channel.send({"error": f"{type(error).__name__}: {error}"})
    own._kill_all()
    os._exit(0)


def _pids() -> list[int]:
    """Processes of the sandbox but the supervisor, the dead that nobody has buried among them."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]


def _resident() -> int:
    """Bytes of memory that the sandbox's processes hold and no file backs; what two share counts twice."""
    total = 0
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/status", "rb") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith((b"RssAnon", b"RssShmem")))
    return total


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _reap(wait: bool = False) -> None:
    try:
        while os.waitpid(-1, 0 if wait else os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _exit_code(pid: int) -> int:
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status if status >= 0 else 128 - status


def _cwd(pid: int) -> str | None:
    """Where a process stands; None where that is gone or outside what can be entered again."""
    try:
        path = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None
    return path if os.path.isdir(path) else None
