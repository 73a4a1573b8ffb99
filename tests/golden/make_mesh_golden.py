"""Write mesh-torch-<version>.txt: the chunks that torch computes for DTensors on meshes.

    python tests/golden/make_mesh_golden.py tests/golden

Needs torch only, and no process group. Each line is one case, numbers with spaces between:

    ndim, the global sizes, mesh_ndim, the sizes of the mesh,
    for each mesh dimension: kind (0 replicate, 1 shard, 2 strided shard), dim, split factor,
    for each coordinate of the mesh in row-major order: the local sizes, the global offsets

`tests/cpp/plan/mesh_layout_test.cc` reads it.
"""

import itertools
import pathlib
import random
import sys

import torch
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor._utils import _compute_local_shape_and_global_offset
from torch.distributed.tensor.placement_types import _StridedShard

CASES = 400


def placement_of(kind, dim, factor):
    if kind == 0:
        return Replicate()
    return Shard(dim) if kind == 1 else _StridedShard(dim, split_factor=factor)


def random_placement(rng, ndim):
    kind = rng.choice([0, 1, 1, 2]) if ndim else 0
    dim = rng.randrange(ndim) if kind else 0
    factor = rng.choice([1, 2, 2, 3, 4, 7]) if kind == 2 else 1
    return kind, dim, factor


def random_case(rng):
    ndim = rng.choice([0, 1, 1, 2, 2, 3])
    sizes = [rng.choice([0, 1, 2, 3, 5, 7, 8, 12, 16, 17, 24, 31, 60]) for _ in range(ndim)]
    mesh = [rng.choice([1, 2, 2, 3, 4, 5]) for _ in range(rng.choice([1, 2, 2, 3]))]
    rules = [random_placement(rng, ndim) for _ in mesh]
    if ndim and len(mesh) > 1 and rng.random() < 0.3:
        # FSDP2 over tensor parallelism, as torch makes it.
        dim = rng.randrange(ndim)
        rules[-2:] = [(2, dim, mesh[-1]), (1, dim, 1)]
    return sizes, mesh, rules


def line_of(sizes, mesh, rules):
    numbers = [len(sizes), *sizes, len(mesh), *mesh, *itertools.chain(*rules)]
    placements = [placement_of(*rule) for rule in rules]
    for coordinate in itertools.product(*(range(size) for size in mesh)):
        local, offsets = _compute_local_shape_and_global_offset(
            tuple(sizes), tuple(mesh), list(coordinate), placements
        )
        numbers += [*local, *offsets]
    return " ".join(str(int(number)) for number in numbers)


def main():
    rng = random.Random(1)
    version = torch.__version__.split("+")[0]
    path = pathlib.Path(sys.argv[1]) / f"mesh-torch-{version}.txt"
    path.write_text("".join(line_of(*random_case(rng)) + "\n" for _ in range(CASES)))


if __name__ == "__main__":
    main()
