"""Sockets of the hosts: every Python socket is made in its host's namespace, bound to one of its addresses, and written
down in the truth when it closes.

Owns: `socket.socket` of this process (it is replaced). Never: a socket outside a namespace once `install` has run and an
actor is set. In: the current actor (a context variable, inherited by tasks and threads). Out: truth rows with exact ports.
"""

import contextvars
import ctypes
import os
import socket
import weakref

CLONE_NEWNET = 0x40000000
ACTOR = contextvars.ContextVar("actor", default=None)
_libc = ctypes.CDLL(None, use_errno=True)
_plain = socket.socket
_home = None
_open = weakref.WeakSet()


def install():
    """Replaces `socket.socket`, so that libraries make theirs in the right place too."""
    global _home
    _home = os.open("/proc/self/ns/net", os.O_RDONLY)
    socket.socket = HostSocket


def write_open():
    """Writes the truth of the sockets that are still open: at the end of a run."""
    for each in list(_open):
        each._write_truth()


def _enter(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns failed")


class HostSocket(_plain):
    """A socket in the namespace of the current actor's host."""

    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):
        actor = ACTOR.get()
        self._actor = None
        self._peers = {}
        if fileno is not None or actor is None or family not in (socket.AF_INET, socket.AF_INET6, -1):
            super().__init__(family, type, proto, fileno)
            return
        _enter(actor.host.machine.netns_fd)
        try:
            super().__init__(family, type, proto)
        finally:
            _enter(_home)
        self._actor = actor
        _open.add(self)

    def _note(self, address):
        """Remembers whom we talk to, and takes the actor's source address before the first packet leaves."""
        if self._actor is None or not isinstance(address, tuple) or address in self._peers:
            return
        if not self._peers and self.getsockname()[1] == 0:
            source = self._actor.source_for(self.family)
            if source:
                try:
                    self.bind((source, 0))
                except OSError:
                    pass
        if len(self._peers) < 4096:
            self._peers[address] = self._actor.now_us()

    def connect(self, address):
        self._note(address)
        return super().connect(address)

    def connect_ex(self, address):
        self._note(address)
        return super().connect_ex(address)

    def sendto(self, data, *rest):
        self._note(rest[-1])
        return super().sendto(data, *rest)

    def close(self):
        self._write_truth()
        super().close()

    def detach(self):
        self._write_truth()
        return super().detach()

    def untold(self):
        """From now on this socket writes no truth: what it sends travels inside another flow, never on the wire itself."""
        self._actor = None

    def _write_truth(self):
        actor, peers = self._actor, self._peers
        if actor is None or not peers or self.fileno() < 0:
            return
        self._peers = {}
        try:
            source, port = self.getsockname()[:2]
        except OSError:
            return
        protocol = {socket.IPPROTO_ICMP: "icmp", socket.IPPROTO_ICMPV6: "icmp6"}.get(
            self.proto, "tcp" if self.type & 0xF == socket.SOCK_STREAM else "udp")
        portless = protocol.startswith("icmp")  # rows about ICMP name no ports
        for peer, start_us in peers.items():
            actor.truth.row(actor.what, start_us, actor.now_us(), source, "" if portless else port,
                            peer[0], "" if portless else peer[1], protocol)
