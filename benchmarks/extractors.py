"""One way of getting activations, in a process of its own: what `activations.py` times.

    python benchmarks/extractors.py NAME JOB.json

It imports, starts the clock, works, stops it, and prints {seconds, peak_mb, ...} as its last line.
The other tools run in environments of their own: outside of functions there is only the standard
library. Activations are float32 [sentences, layers, neurons]: the output of the second feed-forward
matrix of every BERT layer at [CLS].
"""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

Job = dict[str, Any]  # texts, folder, batch, max_tokens, output and what a way needs besides
Work = Callable[[], Any]  # the array, or None where the way writes its file itself


def batches(job: Job) -> Iterator[list[str]]:
    """The sentences, so many at a time, in the order of the corpus."""
    texts, size = job["texts"], job["batch"]
    return (texts[start : start + size] for start in range(0, len(texts), size))


def limits(job: Job) -> dict[str, Any]:
    """How every tool is to cut and pad."""
    return {"padding": True, "truncation": True, "max_length": job["max_tokens"]}


def plain(job: Job) -> Work:
    """Forward hooks, batches in the order of the corpus."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    def work() -> Any:
        tokenizer = AutoTokenizer.from_pretrained(job["folder"])
        model = AutoModel.from_pretrained(job["folder"], dtype=torch.float32).eval()
        found, kept = [], []
        for layer in model.encoder.layer:
            layer.output.dense.register_forward_hook(lambda _, __, out: kept.append(out[:, 0]))
        with torch.no_grad():
            for texts in batches(job):
                model(**tokenizer(texts, return_tensors="pt", **limits(job)))
                found.append(torch.stack(kept, dim=1))
                kept.clear()
        return torch.cat(found).numpy()

    return work


def by_length(job: Job) -> Work:
    """The same over sentences sorted by their number of tokens."""
    import numpy as np
    from transformers import AutoTokenizer

    in_order = plain(job)  # reads the texts when it works

    def work() -> Any:
        tokenizer = AutoTokenizer.from_pretrained(job["folder"])
        cut = {"truncation": True, "max_length": job["max_tokens"]}
        order = np.argsort([len(ids) for ids in tokenizer(job["texts"], **cut)["input_ids"]])
        job["texts"] = [job["texts"][row] for row in order]
        found = in_order()
        result = np.empty_like(found)
        result[order] = found
        return result

    return work


def with_nnsight(job: Job) -> Work:
    """nnsight: one trace a batch for all layers, ended at the last of them."""
    import nnsight
    import torch
    from nnsight import TransformersModel

    def work() -> Any:
        model = TransformersModel(job["folder"], task="feature-extraction", dispatch=True)
        found = []
        with torch.no_grad():
            for texts in batches(job):
                encoded = model.tokenizer(texts, return_tensors="pt", **limits(job))
                with model.trace(encoded) as tracer:
                    # E_output: the submodule `output`, whose name nnsight has taken.
                    kept = nnsight.save(
                        [layer.E_output.dense.output[:, 0] for layer in model.encoder.layer]
                    )
                    tracer.stop()
                found.append(torch.stack(kept, dim=1))
        return torch.cat(found).numpy()

    return work


def with_transformer_lens(job: Job) -> Work:
    """TransformerLens' bridge, caching the feed-forward outputs at the first position alone.

    With the head for the next sentence: without a word, it takes the one that scores the vocabulary
    at every token, which costs as much as the model.
    """
    import torch
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import BertForNextSentencePrediction

    def work() -> Any:
        model = TransformerBridge.boot_transformers(
            job["folder"], model_class=BertForNextSentencePrediction, device="cpu"
        )
        names = [f"blocks.{layer}.hook_mlp_out" for layer in range(model.cfg.n_layers)]
        found = []
        with torch.no_grad():
            for texts in batches(job):
                encoded = model.tokenizer(texts, return_tensors="pt", **limits(job))
                _, cache = model.run_with_cache(
                    encoded["input_ids"],
                    attention_mask=encoded["attention_mask"],
                    names_filter=names,
                    pos_slice=0,
                    return_type=None,
                )
                found.append(torch.cat([cache[name] for name in names], dim=1))
        return torch.cat(found).numpy()

    return work


def with_interpreto(job: Job) -> Work:
    """Interpreto, which splits a model at one point: a pass for every layer."""
    import torch
    from interpreto import ModelWithSplitPoints
    from transformers import AutoModel

    def work() -> Any:
        model = ModelWithSplitPoints(
            job["folder"],
            split_point="encoder.layer.0.output.dense",
            automodel=AutoModel,
            batch_size=job["batch"],
            device_map="cpu",
        )
        model.tokenizer.model_max_length = job["max_tokens"]
        found = []
        for layer in range(job["layers"]):
            model.split_point = f"encoder.layer.{layer}.output.dense"
            kept, _ = model.get_activations(
                job["texts"],
                activation_granularity=model.activation_granularities.CLS_TOKEN,
                pad_side="right",
            )
            found.append(kept)
        return torch.stack(found, dim=1).numpy()

    return work


def activations(job: Job) -> Work:
    """Descry's stage: corpus to HDF5."""
    import torch  # noqa: F401
    from transformers import AutoModel, AutoTokenizer  # noqa: F401

    from descry.stages.activations import Activations, extract_activations

    params = Activations.model_validate(job["section"])
    files = {"corpus": Path(job["corpus"]), "activations": Path(job["output"])}
    return lambda: extract_activations(params, **files, progress=lambda *_: None)


def exemplars(job: Job) -> Work:
    """Descry's stage: HDF5 to exemplar sets."""
    import h5py  # noqa: F401

    from descry.stages.exemplars import Exemplars, select_exemplars

    params = Exemplars.model_validate(job["section"])
    files = {name: Path(job[name]) for name in ("corpus", "activations")}
    return lambda: select_exemplars(params, None, **files, exemplars=Path(job["output"]))


def argsort(job: Job) -> Work:
    """The plain way to exemplar sets, for some layers: load, sort all, take the first."""
    import h5py
    import numpy as np

    def work() -> Any:
        with h5py.File(job["activations"]) as file:
            matrix = file["activations"][:, : job["layers"]].reshape(file["id"].shape[0], -1)
        return np.argsort(-matrix, axis=0)[: job["size"]].astype(np.int32)

    return work


def rate(job: Job) -> Work:
    """What products of square matrices reach on this device: operations a second."""
    import torch

    device, size, times = job["device"], job["size"], job["times"]
    matrix = torch.randn(size, size, device=device).to(getattr(torch, job["dtype"]))

    def wait() -> float:
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()

    def work() -> None:
        rates = []
        for _ in range(7):
            start = wait()
            for _ in range(times):
                matrix @ matrix
            rates.append(times * 2 * size**3 / (wait() - start))
        job["said"] = {"rate": sorted(rates)[len(rates) // 2]}
        if device != "cpu":
            job["said"]["gpu"] = f"GPU-{torch.cuda.get_device_properties(device).uuid}"

    return work


WAYS: dict[str, tuple[Callable[[Job], Work], list[str]]] = {  # and the packages that do it
    "plain": (plain, ["transformers"]),
    "by length": (by_length, ["transformers"]),
    "nnsight": (with_nnsight, ["nnsight"]),
    "transformer-lens": (with_transformer_lens, ["transformer-lens"]),
    "interpreto": (with_interpreto, ["interpreto", "nnsight"]),
    "activations": (activations, ["descry"]),
    "exemplars": (exemplars, ["descry"]),
    "argsort": (argsort, ["numpy"]),
    "rate": (rate, ["torch"]),
}


def peak_mb() -> float:
    """Peak memory of this process (a child's rusage on Linux has its parent's in it)."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


@contextmanager
def watched(job: Job, said: dict[str, Any]) -> Iterator[None]:
    """Ask nvidia-smi again and again how busy the GPU job["watch"] is, where one is named."""
    if not job.get("watch") or not shutil.which("nvidia-smi"):
        yield
        return
    asked = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    samples: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            told = subprocess.run([*asked, "-i", job["watch"]], capture_output=True, text=True)
            samples.extend(int(line) for line in told.stdout.split() if line.isdigit())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        if samples:
            said["busy"] = sum(samples) / len(samples) / 100


def main() -> None:
    way, packages = WAYS[sys.argv[1]]
    job = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    said = {"versions": {name: version(name) for name in packages}}
    work = way(job)
    with watched(job, said):
        start = time.perf_counter()
        found = work()
        said["seconds"] = time.perf_counter() - start
    said |= {"peak_mb": peak_mb()} | job.get("said", {})
    if hasattr(found, "shape"):
        import numpy as np

        np.save(job["output"], found)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
