"""TorchTitan's own trainer, its checkpoints saved and loaded by dcpcpp.

    torchrun --nproc_per_node=8 examples/torchtitan/train.py \
        --module llama3 --config llama3_8b --checkpoint.enable --checkpoint.async_mode async

All options are TorchTitan's; see README.md beside this file.
"""

import dcpcpp

# Before TorchTitan is imported: it takes the names out of torch's modules then.
dcpcpp.patch_torch()

from torchtitan.train import main  # noqa: E402

# PROCESS mode imports this file once more.
if __name__ == "__main__":
    main()
