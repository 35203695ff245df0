"""The resource limits with which the daemon was started, checked before anything is created.

Rule: a limit that is too low is named here. Without it, the error of whatever fails first would blame something else.
"""

from __future__ import annotations

import os
import resource

from schedappliance.diagnostics import Unusable

# For the appliance itself, the fewest clients, and a few programs and threads with a cache of their own.
FEWEST_DESCRIPTORS = 48
# Most of it is reserved for threads and never used: the C library takes 72 MiB for each.
LEAST_ADDRESS_SPACE = 1024 * 1024 * 1024


def check_limits() -> None:
    """Raises Unusable if the appliance cannot work under its limits. Call it when the limit on descriptors was raised."""
    _check_address_space()
    _check_descriptors()


def _check_address_space() -> None:
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESS_SPACE:
        needed = f"the appliance needs {LEAST_ADDRESS_SPACE // 1024**2} MiB"
        remedy = "raise it: `ulimit -v`, or `LimitAS=` of systemd"
        raise Unusable(f"the limit on address space is {limit // 1024**2} MiB, and {needed}", remedy)


def _check_descriptors() -> None:
    """Opens as many descriptors as are needed: the daemon may have inherited some, and the machine has a limit too."""
    opened: list[int] = []
    try:
        while len(opened) < FEWEST_DESCRIPTORS:
            opened.append(os.eventfd(0))
    except OSError as error:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        message = f"the appliance can open only {len(opened)} of the {FEWEST_DESCRIPTORS} files that it needs"
        remedy = f"raise the limit on open files, which is {limit}: `ulimit -n`, or `LimitNOFILE=` of systemd"
        raise Unusable(f"{message}: {error.strerror}", remedy) from error
    finally:
        for descriptor in opened:
            os.close(descriptor)
