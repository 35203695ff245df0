"""The resource limits and the file systems of the kernel that the daemon needs, checked before anything is created.

Rule: what is missing is named here. Without it, the error of whatever fails first would blame something else.
"""

from __future__ import annotations

import os
import resource

from schedappliance.diagnostics import Unusable

# For the appliance itself, the fewest clients, and a few programs and threads with a cache of their own.
FEWEST_DESCRIPTORS = 48
# Most of it is reserved for threads and never used: the C library takes 72 MiB for each.
LEAST_ADDRESS_SPACE = 1024 * 1024 * 1024
# Memory that can be written to, used or not: 120 MiB after the start, most of it the stacks of threads.
LEAST_DATA = 192 * 1024 * 1024


def check_limits() -> None:
    """Raises Unusable if the appliance cannot work under its limits. Call it when the limit on descriptors was raised."""
    _check_memory(resource.RLIMIT_AS, LEAST_ADDRESS_SPACE, "address space", "`ulimit -v`, or `LimitAS=`")
    _check_memory(resource.RLIMIT_DATA, LEAST_DATA, "data", "`ulimit -d`, or `LimitDATA=`")
    _check_descriptors()


def check_kernel_files() -> None:
    """Raises Unusable if a chroot or a container lacks what the daemon opens."""
    for file, mount in (("/proc/self/fd", "/proc"), (os.devnull, "/dev")):
        if not os.path.exists(file):  # noqa: PTH110
            raise Unusable(
                f"the appliance needs {file}, which is missing", f"mount {mount} in this chroot or container"
            )


def _check_memory(number: int, least: int, what: str, names: str) -> None:
    limit = resource.getrlimit(number)[0]
    if limit != resource.RLIM_INFINITY and limit < least:
        needed = f"the appliance needs {least // 1024**2} MiB"
        raise Unusable(f"the limit on {what} is {limit // 1024**2} MiB, and {needed}", f"raise it: {names} of systemd")


def _check_descriptors() -> None:
    """Opens as many descriptors as are needed: the daemon may have inherited some, and the machine has a limit too."""
    opened: list[int] = []
    try:
        while len(opened) < FEWEST_DESCRIPTORS:
            opened.append(os.eventfd(0))
    except OSError as error:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        message = f"the appliance can open only {len(opened)} of the {FEWEST_DESCRIPTORS} files that it needs"
        least = limit + FEWEST_DESCRIPTORS - len(opened)
        remedy = (
            f"raise the limit on open files from {limit} to {least} or more: `ulimit -n`, or `LimitNOFILE=` of systemd"
        )
        raise Unusable(f"{message}: {error.strerror}", remedy) from error
    finally:
        for descriptor in opened:
            os.close(descriptor)
