"""Files of an included directory whose names look like left-over copies. They are read as every file there is."""

from __future__ import annotations

import re
from collections.abc import Iterator

from schedappliance.diagnostics import Diagnostic, Span, shortened
from schedappliance.model.closure import Closure

# Editors, sed -i, patch, rpm, dpkg, ucf, pacman, and people.
_LEFT_OVER = re.compile(
    r".*(~|\.(bak|backup|old|orig|rej|save|saved|disabled|off|copy|tmp|part|sw[a-z]"
    r"|rpm(save|new|orig)|dpkg-.+|ucf-.+|pac(new|save|orig))[.~\d]*)|\#.*\#",
    re.IGNORECASE | re.DOTALL,
)


def leftover_doubts(closure: Closure) -> Iterator[Diagnostic]:
    listed = set(closure.listed)
    for path, source in closure.texts.items():
        if path.parent in listed and _LEFT_OVER.fullmatch(path.name):
            message = (
                f"`{shortened(path.name)}` looks like a left-over copy, and is read like every file of a directory"
            )
            help = "move it away, or let its name begin with a dot"
            yield Diagnostic("W409", message, help, source, Span(0, len(source.line(1))))
