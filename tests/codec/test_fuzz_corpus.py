"""What fuzzing once found interesting still holds; the fuzzer itself runs by `make fuzz`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.codec_input import check, seeds

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus" / "codec"

pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")


def test_every_seed_and_every_input_kept_by_the_fuzzer_holds() -> None:
    kept = [path.read_bytes() for path in sorted(CORPUS.iterdir())]
    assert kept
    for data in [*seeds(), *kept]:
        check(data)
