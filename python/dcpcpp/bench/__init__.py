"""The benchmark harness: dcpcpp, stock DCP, torch.save, safetensors and the raw device.

Question: how fast are durable saves and verified loads, beside what torch does and what
the device can do? All contestants run in one process, interleaved, on the same state;
a save counts until data and names are durable; bytes are compared after every load.
"""
