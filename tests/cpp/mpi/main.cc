// Catch2's main between MPI_Init and MPI_Finalize. Only rank 0's report of what
// passed is shown; every rank shows what failed.

#define CATCH_CONFIG_RUNNER
#include <mpi.h>

#include <catch2/catch.hpp>
#include <cstdlib>

int main(int argc, char** argv) {
  const bool one_thread = std::getenv("DCP_TEST_MPI_ONE_THREAD") != nullptr;
  int level = MPI_THREAD_SINGLE;
  MPI_Init_thread(&argc, &argv,
                  one_thread ? MPI_THREAD_FUNNELED : MPI_THREAD_MULTIPLE,
                  &level);
  const int failed = Catch::Session().run(argc, argv);
  MPI_Finalize();
  return failed;
}
