"""Any embedding network as two parts: a trunk that makes feature maps and a head that embeds them.

Every method of :mod:`housevis.explain` needs no more than this pair. The trunk
runs once per picture, under no gradient; what a method differentiates is the
head alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, fx, nn

from housevis.core.errors import ModelError

Head = Callable[[Tensor], Tensor]
"""From feature maps ``(N, K, h, w)`` to raw embeddings ``(N, D)``, one picture independent of another."""

_UNTRACEABLE = (fx.proxy.TraceError, AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError)


@contextmanager
def evaluating(part: object) -> Iterator[None]:
    """Evaluation mode while the block runs; each submodule's own mode afterwards, however it ends.

    Args:
        part: A module; anything else is left alone.
    """
    training = [each for each in part.modules() if each.training] if isinstance(part, nn.Module) else []
    for each in training:
        each.training = False
    try:
        yield
    finally:
        for each in training:
            each.training = True


class LinearHead(nn.Module):
    """Global average pooling and a linear layer, the head that the closed forms know.

    Args:
        weight: `W`, ``(D, K)`` as torch stores it.
        bias: ``(D,)``; None is zero.

    Raises:
        ModelError: The shapes do not fit.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        bias = torch.zeros(len(weight)).to(weight) if bias is None else bias
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise ModelError(
                f"the head's weight {tuple(weight.shape)} and bias {tuple(bias.shape)} do not fit; "
                "they must be (D, K) and (D,)"
            )
        self.weight: Tensor
        self.bias: Tensor
        self.register_buffer("weight", weight.detach())
        self.register_buffer("bias", bias.detach())

    @classmethod
    def of(cls, layer: nn.Linear) -> LinearHead:
        """The head that pools and then runs a linear layer."""
        return cls(layer.weight, layer.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Embed feature maps ``(N, K, h, w)``: ``(N, D)``, on their device and in their type."""
        return nn.functional.linear(maps.mean(dim=(2, 3)), self.weight.to(maps), self.bias.to(maps))

    def centred(self) -> LinearHead:
        """A classifier with the same probabilities whose logits have the mean 0.

        The sum over all classes in L eq. 2 is then 0. As trained, it can
        swamp the one class that is asked for.
        """
        return LinearHead(self.weight - self.weight.mean(dim=0), self.bias - self.bias.mean())

    def grad_weights(self, gradients: Tensor, cells: int) -> Tensor:
        """Grad-weights in closed form, ``W^T (dS/df) / Z`` (C eq. 3 and 6, E eq. 17).

        Args:
            gradients: ``dS/df``, ``(N, D)``.
            cells: `Z`, the cells of the feature map.

        Returns:
            ``(N, K)``.
        """
        return gradients @ (self.weight.to(gradients) / cells)


class EmbeddingNetwork:
    """A trunk and a head.

    Args:
        trunk: From a batch of inputs ``(N, ...)`` to feature maps ``(N, K, h, w)``.
        head: From feature maps to raw embeddings ``(N, D)``; a
            :class:`LinearHead` where pooling and head allow it, since the
            closed forms know it.
    """

    def __init__(self, trunk: Callable[[Tensor], Tensor], head: Head) -> None:
        self.trunk = trunk
        self.head = head

    @classmethod
    def cut(cls, module: nn.Module, layer: nn.Module | str) -> EmbeddingNetwork:
        """Cut a network behind one of its layers, without a change to it.

        The trunk is the network up to the layer: it stops there. The head is
        what the network computes from the layer's output, found by tracing
        (`torch.fx`). A network that cannot be traced is run as a whole on a
        picture of its own, with the layer's output replaced: right, but each
        call of the head then costs a whole pass.

        Args:
            module: The network, called as ``module(inputs)``; it may be frozen.
            layer: The layer whose output is the feature map, or its dotted name.

        Returns:
            The two parts. Hooks are on the network only while a part runs. The
            first picture checks that both together give what the network gives.

        Raises:
            ModelError: The network has no such layer, or runs it more than
                once. With the first picture: the rest of the network also
                depends on what lies before the layer, as a skip connection does.
        """
        found = _named_layer(module, layer)
        trunk = _Trunk(module, found)
        return cls(trunk, _CutHead(trunk, _traced_head(module, found)))

    def maps(self, inputs: Tensor) -> Tensor:
        """Feature maps ``(N, K, h, w)`` of a batch ``(N, ...)``, without a gradient.

        Raises:
            ModelError: What the trunk gives is no feature map.
        """
        with torch.no_grad(), evaluating(self.trunk):
            maps = self.trunk(inputs)
        check_maps(maps)
        return maps.detach()

    def embed(self, maps: Tensor) -> Tensor:
        """Raw embeddings ``(N, D)`` of feature maps ``(N, K, h, w)``; gradients reach the maps."""
        with evaluating(self.head):
            return self.head(maps)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Raw embeddings ``(N, D)`` of a batch of inputs."""
        return self.embed(self.maps(inputs))


def check_maps(maps: Tensor) -> None:
    """Refuse what is no batch of feature maps.

    Raises:
        ModelError: Another shape than ``(N, K, h, w)``.
    """
    if not isinstance(maps, Tensor) or maps.ndim != 4:
        found = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise ModelError(
            f"a feature map must be (N, K, h, w), but this is {found}",
            remedy="Name a convolutional layer.",
        )


class _Reached(Exception):  # noqa: N818 - a signal, no error
    """The layer has run."""


class _Trunk:
    """A network up to one of its layers."""

    def __init__(self, module: nn.Module, layer: nn.Module) -> None:
        self.module = module
        self.layer = layer
        self.example: Tensor | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        outputs: list[Tensor] = []

        def stop(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            outputs.append(output)
            raise _Reached

        hook = self.layer.register_forward_hook(stop)
        try:
            with evaluating(self.module):
                self.module(inputs)
        except _Reached:
            pass
        finally:
            hook.remove()
        if not outputs:
            raise _ran(0)
        self.example = inputs[:1].detach()
        return outputs[0]


class _CutHead:
    """The rest of a network: traced, or else the whole of it with one layer's output replaced."""

    def __init__(self, trunk: _Trunk, traced: nn.Module | None) -> None:
        self._trunk = trunk
        self._traced = traced
        self._is_checked = False

    def __call__(self, maps: Tensor) -> Tensor:
        if not self._is_checked and self._trunk.example is not None:
            self._check(self._trunk.example)
            self._is_checked = True
        with evaluating(self._trunk.module):
            return self._replay(maps) if self._traced is None else self._traced(maps)

    def _replay(self, maps: Tensor) -> Tensor:
        example = self._trunk.example
        if example is None:
            raise ModelError(
                "this network cannot be traced, so its head needs one picture first",
                remedy="Call maps() on a batch before embed().",
            )
        runs = 0

        def replace(_module: nn.Module, _inputs: object, _output: object) -> Tensor:
            nonlocal runs
            runs += 1
            return maps.clone()

        hook = self._trunk.layer.register_forward_hook(replace)
        try:
            output = self._trunk.module(torch.zeros_like(example).expand(len(maps), *example.shape[1:]))
        finally:
            hook.remove()
        if runs != 1:
            raise _ran(runs)
        return output

    def _check(self, example: Tensor) -> None:
        """Trunk and head must give what the whole network gives."""
        module = self._trunk.module
        with torch.no_grad(), evaluating(module):
            maps = self._trunk(example)
            whole = module(example)
            if not isinstance(whole, Tensor):
                raise ModelError(
                    f"the network must give one tensor, not a {type(whole).__name__}",
                    remedy="Wrap it in a module that returns the embedding alone.",
                )
            parts = self._replay(maps) if self._traced is None else self._traced(maps)
            if not torch.allclose(parts, whole, rtol=1e-4, atol=1e-5):
                raise _depends_on_more()


class _UpToLayer(fx.Tracer):
    """A tracer that keeps one layer whole."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self._layer = layer

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m is self._layer or super().is_leaf_module(m, module_qualified_name)


def _traced_head(module: nn.Module, layer: nn.Module) -> nn.Module | None:
    """What follows the layer as a module; None where that takes more than the layer's output."""
    names = {name for name, part in module.named_modules(remove_duplicate=False) if part is layer}
    try:
        with evaluating(module):
            graph = _UpToLayer(layer).trace(module)
    except _UNTRACEABLE:
        return None
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target in names]
    if len(calls) != 1:
        raise _ran(len(calls))
    (call,) = calls
    with graph.inserting_before(next(iter(graph.nodes))):
        given = graph.placeholder("maps")
        maps = graph.call_method("clone", (given,))
        batch = graph.call_method("size", (given, 0))
    call.replace_all_uses_with(maps)
    for node in graph.nodes:
        if node.op == "placeholder" and node is not given:
            for use in [use for use in node.users if use.target == "size" and use.args[1:] == (0,)]:
                use.replace_all_uses_with(batch)
    needed = _ancestors(graph)
    if any(node.op == "placeholder" and node is not given for node in needed):
        return None
    for node in list(reversed(graph.nodes)):
        if node not in needed and node is not given:
            graph.erase_node(node)
    return fx.GraphModule(module, graph)


def _ancestors(graph: fx.Graph) -> set[fx.Node]:
    """All that the output of a graph is computed from, and the output itself."""
    waiting, found = [node for node in graph.nodes if node.op == "output"], set()
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(node.all_input_nodes)
    return found


def _named_layer(module: nn.Module, layer: nn.Module | str) -> nn.Module:
    if isinstance(layer, str):
        try:
            return module.get_submodule(layer)
        except AttributeError:
            names = [name for name, _ in module.named_children()]
            raise ModelError(
                f"the network has no layer {layer!r}", remedy=f"Its parts are {', '.join(names)}."
            ) from None
    if not any(part is layer for part in module.modules()):
        raise ModelError("the layer is no part of the network", remedy="Name a layer of this network.")
    return layer


def _ran(times: int) -> ModelError:
    return ModelError(
        f"the layer ran {times} times in one forward pass, so it has no one feature map",
        remedy="Name a layer that runs exactly once.",
    )


def _depends_on_more() -> ModelError:
    return ModelError(
        "what follows the layer also depends on the picture past it, as a skip connection does",
        remedy="Name a layer at the end of a block, through which everything goes.",
    )
