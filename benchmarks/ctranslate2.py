"""p2 by FLAN-T5's shapes on a CPU: descry's float32 beside CTranslate2's int8 and float32.

    python benchmarks/ctranslate2.py [--size small|base] [--prompts 256] [--threads 1] [--json FILE]

The weights are random: the time of a pass does not depend on them. Both get the same token ids, in
batches of as many padded tokens, and give the log-probabilities of the first token of the answer.
CTranslate2 (PyPI: ctranslate2) is what descry does not need and this needs.

Agreement is over the same random model: whether both find the same of two tokens likelier, and the
correlation of the log-odds. Of trained weights it says little.
"""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

SIZES = {
    "small": {"d_model": 512, "d_ff": 1024, "num_layers": 8, "num_heads": 6},
    "base": {"d_model": 768, "d_ff": 2048, "num_layers": 12, "num_heads": 12},
}
VOCABULARY = 32128
WORDS = 2163, 465  # of T5's vocabulary: Yes, No


def write_model(size: str, folder: Path) -> None:
    """Random weights of a FLAN-T5's shape, with a tokenizer that nobody uses."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    config = T5Config(
        vocab_size=VOCABULARY,
        d_kv=64,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
        **SIZES[size],
    )
    model = T5ForConditionalGeneration(config).eval()
    model.save_pretrained(folder)
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(f"t{i}", -1.0) for i in range(3, VOCABULARY)]
    backend = Tokenizer(models.Unigram(pieces, unk_id=2))
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(folder)


def ids_of(number: int) -> list[list[int]]:
    """Prompts as long as p2's about reviews: 40 to 140 tokens."""
    lots = np.random.default_rng(0)
    sizes = lots.integers(40, 140, number)
    return [[*lots.integers(10, 32000, size).tolist(), 1] for size in sizes]


def by_descry(folder: Path, ids: list[list[int]], batch_tokens: int) -> np.ndarray:
    """Log-odds by descry's own scorer: float [prompts]."""
    import torch
    from transformers import AutoTokenizer, T5ForConditionalGeneration

    from descry.annotators.huggingface.model import Loaded
    from descry.annotators.huggingface.seq2seq import Seq2Seq

    model = T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    scorer = Seq2Seq(Loaded(AutoTokenizer.from_pretrained(folder), model, batch_tokens), WORDS)
    prompts: list = [None] * len(ids)

    def run() -> np.ndarray:
        found = dict(one for group in scorer.score(prompts, ids, range(len(ids))) for one in group)
        return np.array([found[row]["yes"] - found[row]["no"] for row in range(len(ids))])

    return timed("descry float32", run, len(ids))


def by_ctranslate2(
    folder: Path, ids: list[list[int]], batch_tokens: int, kind: str, threads: int
) -> np.ndarray:
    """Log-odds by CTranslate2: float [prompts]."""
    sys.path = [place for place in sys.path if place != str(Path(__file__).parent)]
    library = importlib.import_module("ctranslate2")
    place = folder / f"converted-{kind}"
    if not place.exists():
        converter = library.converters.TransformersConverter(str(folder))
        converter.convert(str(place), quantization=kind)
    translator = library.Translator(
        str(place), device="cpu", compute_type=kind, inter_threads=1, intra_threads=threads
    )
    names = ["<pad>", "</s>", "<unk>", *(f"t{i}" for i in range(3, VOCABULARY))]
    tokens = [[names[i] for i in own] for own in ids]
    how = {"batch_type": "tokens", "max_batch_size": batch_tokens, "beam_size": 1}
    how |= {"max_decoding_length": 1, "return_logits_vocab": True, "return_scores": False}

    def run() -> np.ndarray:
        found = translator.translate_batch(tokens, **how)
        logits = [np.asarray(one.logits[0][0]).ravel() for one in found]
        return np.array([row[WORDS[0]] - row[WORDS[1]] for row in logits])

    return timed(f"ctranslate2 {kind}", run, len(ids))


RATES: dict[str, float] = {}


def timed(name: str, run: Callable[[], np.ndarray], number: int) -> np.ndarray:
    """The best of two runs, behind one that does not count: prompts a second of processor time."""
    run()
    best = float("inf")
    for _ in range(2):
        started = time.process_time()
        found = run()
        best = min(best, time.process_time() - started)
    RATES[name] = number / best
    print(f"{name}: {RATES[name]:.1f} prompts a CPU second", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    import torch

    torch.set_num_threads(told.threads)
    ids = ids_of(told.prompts)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        write_model(told.size, folder)
        ours = by_descry(folder, ids, told.batch_tokens)
        how = ids, told.batch_tokens
        theirs = {
            kind: by_ctranslate2(folder, *how, kind, told.threads) for kind in ("int8", "float32")
        }
    value: dict[str, object] = {"size": told.size, "prompts": told.prompts, "rates": RATES}
    for kind, odds in theirs.items():
        value[kind] = {
            "ratio": RATES[f"ctranslate2 {kind}"] / RATES["descry float32"],
            "same_answer": float(np.mean((odds > 0) == (ours > 0))),
            "correlation": float(np.corrcoef(odds, ours)[0, 1]),
        }
    print(json.dumps(value, indent=1))
    if told.json:
        told.json.write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    main()
