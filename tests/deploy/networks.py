"""A network of a test's own, in which public addresses are on this machine."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.programs import need

CLONE_NEWNET = 0x40000000


@contextmanager
def own_network(*addresses: str) -> Iterator[None]:
    """Puts this thread, and what it starts, into a network with nothing but a loopback.

    Skips the test where nobody may do that. Some addresses more lead to the loopback.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can make a network")
    ip = need("ip")
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as ours:
        if libc.unshare(CLONE_NEWNET) != 0:
            pytest.skip(f"no network can be made here: {os.strerror(ctypes.get_errno())}")
        try:
            subprocess.run([ip, "link", "set", "lo", "up"], check=True)
            for address in addresses:
                subprocess.run([ip, "address", "add", f"{address}/32", "dev", "lo"], check=True)
            yield
        finally:
            assert libc.setns(ours.fileno(), CLONE_NEWNET) == 0
