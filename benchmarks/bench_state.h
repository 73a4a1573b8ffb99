// bench_state: the state of a Llama-like model that benchmarks save and load.

#ifndef DCP_BENCHMARKS_BENCH_STATE_H_
#define DCP_BENCHMARKS_BENCH_STATE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "dcp/checkpoint.h"

namespace dcp::benchmarks {

/// Parameters and AdamW moments in float32; every page is touched.
class BenchState {
 public:
  /// At least `nbytes` in whole layers, at most twice that. The width is 2048,
  /// or the largest power of two of which a layer fits.
  explicit BenchState(int64_t nbytes);

  int64_t nbytes() const { return nbytes_; }
  size_t count() const { return tensors_.size(); }

  /// Pseudo-random numbers, which no file system compresses.
  void Fill();
  /// Other bytes than Fill's everywhere.
  void Poison();
  bool operator==(const BenchState& other) const;

  /// Views of this state, which must stay where it is.
  std::vector<SaveEntry> SaveEntries();
  std::vector<LoadEntry> LoadEntries();

 private:
  struct Tensor {
    std::string fqn;
    Dims sizes;
    std::vector<float> values;
  };
  void AddLayer(int64_t layer, int64_t width);
  static TensorView ViewOf(Tensor& tensor);

  std::vector<Tensor> tensors_;
  int64_t nbytes_ = 0;
};

}  // namespace dcp::benchmarks

#endif  // DCP_BENCHMARKS_BENCH_STATE_H_
