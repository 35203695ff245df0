"""How the process handles its memory. Law: nothing here changes what is decided."""

from __future__ import annotations

import gc

# A turn of a thousand due jobs makes some ten thousand objects that live until its commit: with Python's own 700 the
# collector would look through them again and again, which took a twentieth of the turn. Hardly any of them are in circles.
YOUNG, MIDDLE, OLD = 50_000, 20, 50


def settle() -> None:
    """What was made for the start stays as long as the process; the collector need not look at it any more."""
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
