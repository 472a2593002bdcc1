"""Bytes that were damaged on the way never raise, hang or grow memory, and mean the same to both engines."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

import tests.fuzz
from tests.fuzz.engine_input import check, sessions

_SESSIONS = list(sessions())
_CORPUS = sorted((Path(tests.fuzz.__file__).parent / "corpus" / "engine").iterdir())


@pytest.mark.parametrize("session", _SESSIONS, ids=range(len(_SESSIONS)))
def test_a_session_as_it_should_be(session: bytes) -> None:
    for size in (0, 1, 7):
        check(session[:1] + bytes((size,)) + session[2:])


@pytest.mark.parametrize("path", _CORPUS, ids=lambda path: path.name)
def test_an_input_that_fuzzing_found_worth_keeping(path: Path) -> None:
    check(path.read_bytes())


@pytest.mark.parametrize("session", _SESSIONS, ids=range(len(_SESSIONS)))
def test_a_session_with_damage(session: bytes) -> None:
    for seed in range(100):
        random = Random(seed)
        damaged = bytearray(session)
        for _ in range(random.choice([1, 1, 2, 5])):
            at = random.randrange(2, len(damaged))
            match random.randrange(4):
                case 0:
                    damaged[at] ^= 1 << random.randrange(8)
                case 1:
                    damaged[at] = random.choice([0, 1, 4, 0x20, 0x7F, 0x80, 0xFF])
                case 2:
                    del damaged[at : at + random.choice([1, 2, 9])]
                case 3:
                    damaged[at:at] = damaged[at : at + random.choice([1, 9, 40])]
        damaged[1] = random.choice([0, 1, 10])
        check(bytes(damaged))


@pytest.mark.parametrize("shape", range(8))
def test_noise(shape: int) -> None:
    random = Random(shape)
    for _ in range(50):
        check(bytes((shape, 20)) + random.randbytes(random.randrange(200)))
