"""vLLM's CPU engine on the sampling workloads: ``vllm_cpu_generate.py MODEL DTYPE [--eager]``.

Without --eager the model is compiled. The whole workload is handed over at once: vLLM batches
continuously, so mixed lengths need no batches of their own.
"""

import os
import sys

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", f"0-{os.cpu_count() - 1}")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")

from protocol import serve
from vllm import LLM, SamplingParams
from workloads import NEW_TOKENS, PROMPT, as_chat, mixed_lengths

engine = LLM(
    model=sys.argv[1], dtype=sys.argv[2], max_model_len=1024, enforce_eager="--eager" in sys.argv, max_num_seqs=256
)
prompt = engine.get_tokenizer().apply_chat_template(as_chat(PROMPT), add_generation_prompt=True, tokenize=False)


def work(workload: str) -> int:
    """Returns the tokens that were asked for."""
    lengths = mixed_lengths() if workload == "mixed" else [NEW_TOKENS] * int(workload)
    options = [SamplingParams(max_tokens=length, min_tokens=length, temperature=1.0) for length in lengths]
    engine.generate([prompt] * len(lengths), options, use_tqdm=False)
    return sum(lengths)


serve(work)
