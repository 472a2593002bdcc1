"""`python -m wire.codec module:Class`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wire.codec.__main__ import main


def test_the_source_of_a_class_is_printed() -> None:
    command = [sys.executable, "-m", "wire.codec", "tests.codec.generated.kinds:OneBytes"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "# bytes payload = 1" in finished.stdout
    compile(finished.stdout, "printed", "exec")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "usage: "),
        (["kinds"], "usage: "),
        ([":Echo"], "usage: "),
        (["a:B", "c:D"], "usage: "),
        (["no.such.module:Echo"], "the module no.such.module cannot be imported: No module named 'no'"),
        (["tests.codec.generated.kinds:Nix"], "the module tests.codec.generated.kinds has no class Nix"),
        (["tests.codec.generated.kinds:Color"], "Color is neither a message class of betterproto2"),
    ],
)
def test_a_wrong_argument_gives_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    said = capsys.readouterr().err.removesuffix("\n") if caught.value.code == 2 else str(caught.value)
    assert said.startswith(sentence)
    assert "\n" not in said
