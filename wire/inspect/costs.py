"""What each layer costs, in CPU time: samples, added up by layer.

In: `Samples` and how many calls there were meanwhile. Out: `LayerCosts`. Imports `sampling` and `layers`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import sqrt
from typing import Any, Final

from wire.inspect.layers import Idle, Layer, layer_of
from wire.inspect.sampling import Samples, Stack

_CROWDED: Final = 0.1
"""From this share of the time on that a thread waited for a CPU, its figures are rough."""


_ORDER: Final = {layer: place for place, layer in enumerate(Layer)}


@dataclass(frozen=True, slots=True)
class LayerCosts:
    """CPU seconds of the main thread, by layer, without what measuring cost (`own_s`); they come to `cpu_s`.

    `errors_s`: half of the 95 % interval of each that was sampled. Of `wall_s` seconds it was `asleep_s` waiting for
    its sockets, and `delayed_s` for a CPU. `other_threads_s`: what those ran for. `folded`: seconds by stack, as
    "outermost;…;innermost;[layer]".
    """

    layers: Mapping[Layer, float]
    errors_s: Mapping[Layer, float]
    calls: int
    cpu_s: float
    own_s: float
    wall_s: float
    asleep_s: float
    delayed_s: float
    other_threads_s: float
    folded: Mapping[str, float]

    @property
    def sum_s(self) -> float:
        return sum(self.layers.values())

    @property
    def crowded(self) -> bool:
        """Whether others had the CPU for so long that the figures are rough."""
        return self.delayed_s > _CROWDED * self.wall_s

    def per_call_us(self, seconds: float) -> float | None:
        """None where there was no call."""
        return seconds * 1e6 / self.calls if self.calls else None

    def as_json(self) -> dict[str, Any]:
        """Plain data, of which `from_json` makes the same again."""
        return {
            **{each.name: getattr(self, each.name) for each in fields(self)},
            "layers": {str(layer): seconds for layer, seconds in self.layers.items()},
            "errors_s": {str(layer): seconds for layer, seconds in self.errors_s.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LayerCosts:
        known = {each.name: data[each.name] for each in fields(cls)}
        for name in ("layers", "errors_s"):
            known[name] = {Layer(layer): seconds for layer, seconds in data[name].items()}
        return cls(**known)


def layer_costs(samples: Samples, calls: int) -> LayerCosts:
    """Add samples up.

    Those of a thread that waits for its sockets do not tell whether it slept, so that they are no measure of CPU time:
    what the CPU clock shows beyond the others is the kernel's poll, or, with a loop in C, that loop and the kernel.
    Where the others come to more than the clock shows, because some of them waited for a CPU, all are made smaller.
    """
    seen = {stack: layer_of(stack) for stack in samples.stacks}
    cpu_s = max(0.0, samples.cpu_s - samples.own_s)
    stacks_s: dict[Stack, float] = {}
    counts = Counter[Layer]()
    for stack, layer in seen.items():
        if isinstance(layer, Layer):
            stacks_s[stack] = samples.stacks[stack] * samples.interval_s
            counts[layer] += samples.stacks[stack]
    sampled_s = sum(stacks_s.values())
    scale = min(1.0, cpu_s / sampled_s) if sampled_s else 1.0
    layers: dict[Layer, float] = defaultdict(float)
    folded: dict[str, float] = defaultdict(float)
    for stack, stack_s in stacks_s.items():
        layer = Layer(seen[stack])
        layers[layer] += stack_s * scale
        folded[fold(layer, stack)] += stack_s * scale
    rest_s = cpu_s - sampled_s * scale
    in_kernel_s = rest_s
    if Idle.LOOP_IN_C in seen.values():
        in_kernel_s = min(rest_s, samples.system_s)
        layers[Layer.KERNEL] += in_kernel_s
        layers[Layer.EVENT_LOOP] += rest_s - in_kernel_s
        folded[fold(Layer.EVENT_LOOP, ())] += rest_s - in_kernel_s
        folded[fold(Layer.KERNEL, ())] += in_kernel_s
    else:
        layers[Layer.KERNEL_POLL] += rest_s
        folded[fold(Layer.KERNEL_POLL, ())] += rest_s
    return LayerCosts(
        layers={layer: layers[layer] for layer in Layer if layers[layer] > 0},
        errors_s={layer: 2 * sqrt(count) * samples.interval_s * scale for layer, count in counts.items()},
        calls=calls,
        cpu_s=cpu_s,
        own_s=samples.own_s,
        wall_s=samples.wall_s,
        asleep_s=max(0.0, samples.wall_s - samples.cpu_s - samples.delayed_s),
        delayed_s=samples.delayed_s,
        other_threads_s=samples.other_threads_s,
        folded=dict(folded),
    )


def add_up(costs: Sequence[LayerCosts]) -> LayerCosts | None:
    """Those of several processes that did the same; None of none."""
    if not costs:
        return None

    def total(name: str, power: int = 1) -> Any:
        values = [getattr(each, name) for each in costs]
        if not isinstance(values[0], Mapping):
            return sum(values)
        keys = sorted({key for value in values for key in value}, key=_place)
        return {key: sum(value.get(key, 0.0) ** power for value in values) ** (1 / power) for key in keys}

    return LayerCosts(**{each.name: total(each.name, 1 + (each.name == "errors_s")) for each in fields(LayerCosts)})


def _place(key: Layer | str) -> int:
    """Layers in their order; stacks have none."""
    return _ORDER[key] if isinstance(key, Layer) else 0


def fold(layer: str, stack: Stack) -> str:
    """The line of a "folded" stack, as flame graph programs take it: outermost first, the layer last, no count."""
    frames = (f"{frame.function} ({_short(frame.file)})".replace(";", ",") for frame in reversed(stack))
    return ";".join((*frames, f"[{layer}]"))


def _short(file: str) -> str:
    return "/".join(file.split("/")[-2:])
