"""TorchTitan's trainer on CPUs, with stock DCP or with dcpcpp in its place.

`DCPCPP_TITAN_WITH` is "stock", "dcpcpp", or "manager"; the arguments are TorchTitan's. What
comes after patch_torch() is what examples/torchtitan/train.py does on GPUs.
"""

import os

import on_cpu  # first: it makes torch look as if it had a device

if os.environ["DCPCPP_TITAN_WITH"] == "dcpcpp":
    import dcpcpp

    dcpcpp.patch_torch()

if __name__ == "__main__":  # PROCESS mode imports this file once more
    on_cpu.adapt_torchtitan()
    from torchtitan.train import main

    main()
