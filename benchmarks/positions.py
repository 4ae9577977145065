"""The strongest positions of latents: time, peak memory and bytes, beside delphi's latent cache.

The same texts, model, layer and TopK dictionary (random weights: what is timed does not depend on
them) go through both, each in a process of its own, timed from after its imports to the file:

    descry   activations.unit token: of each latent the strongest position of its strongest
             sentences, and a sample of positions with all latents
    delphi   LatentCache (EleutherAI, eai-delphi): every activation above 0 of every token, then
             save_splits; its texts are packed into rows of --context tokens
    bound    the model's passes and the products with the encoder, and nothing else: what both need

delphi's cache serves more than its top positions: it holds every firing. What both have to do for
explanations by top and quantile examples is compared, and that is said. At half of the texts, too:
memory that grows with the corpus shows there.

    pip install --no-deps --target DELPHI eai-delphi jaxtyping wadler-lindig simple-parsing ...
    python benchmarks/positions.py --delphi DELPHI --json out.json
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from activations import (
    MINILM,
    MINILM_COMMIT,
    ROOT,
    Checkpoint,
    median,
    report,
    reviews,
    section_of,
    target_of,
    write_corpus,
)

PATHS = "encoder.layer.{layer}"
Job = dict[str, Any]


def dictionary(folder: Path, latents: int, k: int, width: int, layer: int) -> Path:
    """A TopK SAE of random weights."""
    import torch
    from topk_sae import TopKSAE

    lots = torch.Generator().manual_seed(0)
    decoder = torch.nn.functional.normalize(torch.randn(latents, width, generator=lots), dim=1)
    made = TopKSAE(decoder.T.clone(), torch.zeros(latents), decoder, torch.zeros(width), k)
    return made.save(folder, model=MINILM, hook=f"blocks.{layer}.hook_resid_post")


def descry(job: Job) -> Any:
    """Descry's stage."""
    import torch  # noqa: F401
    from transformers import AutoModel  # noqa: F401

    from descry.stages.activations import Activations, extract_activations

    params = Activations.model_validate(job["section"])
    files = {"corpus": Path(job["corpus"]), "activations": Path(job["output"]) / "a.h5"}
    return lambda: extract_activations(params, **files, progress=lambda *_: None)


def delphi(job: Job) -> Any:
    """delphi's latent cache of the same dictionary."""
    import torch
    from delphi.latents.cache import LatentCache
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    def work() -> None:
        model = AutoModel.from_pretrained(job["folder"]).eval()
        tokenizer = AutoTokenizer.from_pretrained(job["folder"])
        weights = load_file(f"{job['dictionary']}/sae_weights.safetensors")

        def encode(values: Any) -> Any:
            values = values[0] if isinstance(values, tuple) else values
            products = ((values - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]).relu()
            found, places = products.topk(job["k"], dim=-1)
            return torch.zeros_like(products).scatter_(-1, places, found)

        ids = [one for own in tokenizer(job["texts"])["input_ids"] for one in own]
        context, size = job["context"], job["batch"]
        rows = len(ids) // context // size * size
        tokens = torch.tensor(ids[: rows * context]).reshape(rows, context)
        path = PATHS.format(layer=job["layer"])
        cache = LatentCache(model, {path: encode}, batch_size=size)
        cache.run(tokens.numel(), tokens)
        cache.save_splits(5, Path(job["output"]))

    return work


def bound(job: Job) -> Any:
    """The model's passes and the products with the encoder alone, in batches as descry's."""
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    from descry.models.batching import in_parallel, plan_batches

    def work() -> None:
        model = AutoModel.from_pretrained(job["folder"]).eval()
        model.encoder.layer = model.encoder.layer[: job["layer"] + 1]
        tokenizer = AutoTokenizer.from_pretrained(job["folder"])
        weight = load_file(f"{job['dictionary']}/sae_weights.safetensors")["W_enc"]

        def run(texts: list[str]) -> float:
            batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
            values = model(**batch).last_hidden_state[batch["attention_mask"].bool()]
            return max(float((part @ weight)[0, 0]) for part in values.split(128))

        lengths = [len(ids) for ids in tokenizer(job["texts"], truncation=True)["input_ids"]]
        plan = plan_batches(lengths, job["section"]["batch_tokens"])
        batches = [[job["texts"][row] for row in rows] for rows in plan]
        for _ in in_parallel(run, batches, "cpu"):
            pass

    return work


WAYS = {"descry": descry, "delphi": delphi, "bound": bound}


def child(way: str, path: Path) -> None:
    """Do one way's work, and say what it took."""
    job = json.loads(path.read_text())
    work = WAYS[way](job)
    start, before = time.perf_counter(), time.process_time()
    work()
    took = time.perf_counter() - start, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = sum(file.stat().st_size for file in Path(job["output"]).rglob("*") if file.is_file())
    print(json.dumps({"seconds": took[0], "processor": took[1], "peak": peak, "bytes": size}))


def run(way: str, job: Job, packages: Path | None) -> dict[str, float]:
    """One way in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "job.json"
        (Path(scratch) / "out").mkdir()
        path.write_text(json.dumps(job | {"output": f"{scratch}/out"}))
        paths = [str(packages)] if packages and way == "delphi" else []
        done = subprocess.run(
            [sys.executable, __file__, "--child", way, path],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--delphi", type=Path, help="a folder with eai-delphi; without it, ours")
    parser.add_argument("--reviews", type=Path, default=ROOT / "data/sample")
    parser.add_argument("--latents", type=int, default=16384)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--layer", type=int, default=5)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--keep", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child[0], Path(arguments.child[1]))
        return
    texts = reviews(arguments.reviews)
    ways = ["descry", "bound", *(["delphi"] if arguments.delphi else [])]
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(arguments, texts, ways, Path(scratch))
    report("positions", rows, arguments.json, latents=arguments.latents, k=arguments.k)


def measure(
    arguments: argparse.Namespace, texts: list[str], ways: list[str], scratch: Path
) -> list[dict[str, Any]]:
    """A row a way and number of texts; then ratios."""
    from descry.models.dictionaries.dictionary import dictionary_sha256

    made = dictionary(scratch / "sae", arguments.latents, arguments.k, 384, arguments.layer)
    folder = str(Checkpoint(MINILM, MINILM_COMMIT).folder)
    changes = {
        "unit": "token", "position": "tokens", "store": "exemplars", "site": "residual",
        "layers": [arguments.layer], "sample": 2000, "keep": arguments.keep, "block": 1024,
        "dictionary": {"path": str(made), "revision": dictionary_sha256(made)},
    }  # fmt: skip
    section = section_of(None, **changes) | {"target": target_of(None)}
    rows, found = [], {}
    for number in (len(texts) // 2, len(texts)):
        job = {"texts": texts[:number], "folder": folder, "dictionary": str(made)}
        job |= {name: getattr(arguments, name) for name in ("k", "layer", "context")}
        job |= {"section": section, "batch": 8}
        job |= {"corpus": str(write_corpus(scratch / f"{number}.parquet", texts[:number]))}
        for _ in range(arguments.rounds):
            for way in ways:
                said = run(way, job, arguments.delphi)
                found.setdefault((way, number), []).append(said)
                print(way, number, said, file=sys.stderr, flush=True)
        for way in ways:
            of = found[way, number]
            rows.append(
                {"way": way, "texts": number}
                | {name: median(of, name) for name in ("seconds", "processor")}
                | {"peak MB": median(of, "peak") / 1e6, "MB written": median(of, "bytes") / 1e6}
            )
    return rows


if __name__ == "__main__":
    main()
