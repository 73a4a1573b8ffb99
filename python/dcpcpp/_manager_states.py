"""The states of a run as a `CheckpointManager` saves and loads them."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.stateful import Stateful

MODEL = "model"
OPTIMIZER = "optimizer"

Parts = list[nn.Module]


class StateDictAdapter(Protocol):
    """Translates between a model's own state dict and Hugging Face's, as TorchTitan's does.

    It may have two attributes: `fqn_to_index_mapping`, the number of the safetensors file
    of each key, and `hf_assets_path`, a directory of the model as Hugging Face ships it.
    """

    def to_hf(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """The tensors of `state_dict` under Hugging Face's names, and in its shapes."""

    def from_hf(self, hf_state_dict: dict[str, Any]) -> dict[str, Any]:
        """The inverse."""


class ModelState(Stateful):
    """One model, or the parts of one that this rank's pipeline stages have.

    The tensors that `state_dict` returns are the same ones each time, with the values of
    now, so that what a stager knows of their memory stays true. Wrappers (DDP, compiled
    and checkpointed modules) leave no trace in the keys.
    """

    def __init__(self, model: nn.Module | Parts) -> None:
        self.parts: Parts = [model] if isinstance(model, nn.Module) else list(model)
        self._made: dict[str, torch.Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """The parameters and buffers of all parts, by name."""
        now: dict[str, Any] = {
            key: value for part in self.parts for key, value in get_model_state_dict(part).items()
        }
        own = {_memory(t) for part in self.parts for t in (*part.parameters(), *part.buffers())}
        made = {  # by hooks; what the model has itself is not ours to write to
            key: value
            for key, value in now.items()
            if isinstance(value, torch.Tensor) and _memory(value) not in own
        }
        for key, value in made.items():
            known = self._made.get(key)
            if known is not None and _is_copy(known, value):
                known.copy_(value)
                now[key] = made[key] = known
        self._made = made
        return now

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what was loaded into the tensors of `state_dict`; it may lack some."""
        for part in self.parts:
            set_model_state_dict(part, state_dict, options=StateDictOptions(strict=False))


def _is_copy(known: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether both are alike and do not share memory."""
    if known.shape != value.shape or known.dtype != value.dtype:
        return False
    return _memory(known) != _memory(value)


def _memory(tensor: torch.Tensor) -> int:
    """The address of what it, or its part on this rank, is a view of."""
    local: torch.Tensor = getattr(tensor, "_local_tensor", tensor)
    return local.untyped_storage().data_ptr()


class OptimizerState(Stateful):
    """An optimizer of torch's, by the names of the model's parameters.

    So it loads under any sharding, and before its first step.
    """

    def __init__(self, parts: Parts, optimizer: torch.optim.Optimizer) -> None:
        if len(parts) != 1:
            raise ValueError(
                "a torch optimizer goes with one model; for a model of several parts pass a "
                "Stateful that names its states by the parameters, such as TorchTitan's "
                "OptimizersContainer"
            )
        self._model = parts[0]
        self._optimizer = optimizer
        self._options = StateDictOptions(flatten_optimizer_state_dict=True)

    def state_dict(self) -> dict[str, Any]:
        """`state.<parameter>.<name>` and `param_groups.<parameter>.<option>`."""
        return get_optimizer_state_dict(self._model, self._optimizer, options=self._options)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state dict of this form."""
        set_optimizer_state_dict(
            self._model, self._optimizer, optim_state_dict=state_dict, options=self._options
        )


class DictState(Stateful):
    """A plain dict, which is filled in place."""

    def __init__(self, values: MutableMapping[str, Any]) -> None:
        self._values = values

    def state_dict(self) -> dict[str, Any]:
        """A copy."""
        return dict(self._values)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Replace the values of the keys that were loaded, and add those that are new."""
        self._values.update(state_dict)


class FailedState(Stateful):
    """Stands for a state that this rank could not make.

    A save or load asks it, as it does any state, and tells the error to all ranks.
    """

    def __init__(self, error: Exception) -> None:
        self._error = error

    def state_dict(self) -> dict[str, Any]:
        """Raise the error."""
        raise self._error

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Not called: nothing is loaded."""


def model_state_of(states: Mapping[str, Any]) -> Stateful:
    """The model, whose keys are those of the checkpoint.

    Raises:
        ValueError: there is no "model".
        TypeError: it is no module, list of modules or `Stateful`.
    """
    if MODEL not in states:
        raise ValueError(f'states has no "{MODEL}", only {sorted(states)}')
    model = states[MODEL]
    if isinstance(model, (nn.Module, list, tuple)):  # a module has a state_dict(), too
        return ModelState(model if isinstance(model, nn.Module) else list(model))
    if isinstance(model, Stateful):
        return model
    raise _no_state(MODEL, model)


def other_states_of(states: Mapping[str, Any], model: Stateful) -> dict[str, Stateful]:
    """The states beside the model.

    Raises:
        TypeError: a state that can be neither asked nor filled.
    """
    return {key: _state_of(key, value, model) for key, value in states.items() if key != MODEL}


def _state_of(key: str, state: Any, model: Stateful) -> Stateful:
    # Containers such as TorchTitan's are optimizers and name their states themselves.
    names_itself = Stateful in type(state).__mro__
    if isinstance(state, torch.optim.Optimizer) and not names_itself:
        return OptimizerState(model.parts if isinstance(model, ModelState) else [], state)
    if isinstance(state, MutableMapping):
        return DictState(state)
    if isinstance(state, Stateful):
        return state
    raise _no_state(key, state)


def _no_state(key: str, state: object) -> TypeError:
    return TypeError(
        f'state "{key}" is a {type(state).__name__}: neither a dict nor an object with '
        "state_dict() and load_state_dict()"
    )
