"""What a test needs from the machine. Where it is missing the test is skipped and says so; with CI=true it fails instead."""

import os
import sys
import unittest


def root(test: type) -> type:
    """A class of tests that enter the scratch router, which takes chroot and so root."""
    if os.geteuid() == 0:
        return test
    reason = f"{test.__module__}.{test.__name__}: root is needed to enter the scratch router"
    if os.environ.get("CI") == "true":
        raise RuntimeError(f"these tests must run in CI: {reason}")
    print(f"SKIPPED {reason}", file=sys.stderr)
    return unittest.skip(reason)(test)
