"""An address as a QR code in a terminal, black on white whatever colours the terminal has."""

from __future__ import annotations

import io
import os
import shutil
from typing import TextIO

import segno

from personal_server.settings import SettingRefused

BLACK, WHITE = 16, 231  # of the 256 colours, the ones that no theme changes
RESET = "\x1b[0m"


def drawn(address: str, terminal: TextIO) -> str:
    """Returns the lines to print.

    Raises:
        SettingRefused: It is no terminal, has no colours, or is too narrow.
    """
    if not terminal.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        raise SettingRefused(f"A QR code needs a terminal with colours; the address is {address}")
    made = segno.make_qr(address, error="l")
    lines = _blocks(made)
    try:
        lines[0].encode(terminal.encoding)
        needed = made.symbol_size()[0]
    except UnicodeEncodeError:
        lines = _spaces(made)
        needed = 2 * made.symbol_size()[0]
    if needed > shutil.get_terminal_size().columns:
        raise SettingRefused(
            f"Make the terminal at least {needed} columns wide for a QR code; the address is"
            f" {address}"
        )
    return "\n".join(lines)


def _blocks(made: segno.QRCode) -> list[str]:
    """Draws two rows in a line: white halves on a black ground."""
    text = io.StringIO()
    made.terminal(text, compact=True)
    ground = f"\x1b[38;5;{WHITE};48;5;{BLACK}m"
    return [f"{ground}{line}{RESET}" for line in text.getvalue().splitlines()]


def _spaces(made: segno.QRCode) -> list[str]:
    """Draws with spaces, for an encoding that has no blocks."""
    ink = (f"\x1b[48;5;{WHITE}m  ", f"\x1b[48;5;{BLACK}m  ")
    return ["".join(ink[module] for module in row) + RESET for row in made.matrix_iter(border=4)]
