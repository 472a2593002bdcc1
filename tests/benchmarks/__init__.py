import os

import pytest

if not hasattr(os, "sched_setaffinity"):
    pytest.skip("servers and loads are pinned by os.sched_setaffinity, which is not here", allow_module_level=True)
