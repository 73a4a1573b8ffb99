// What mpi_trainer and nccl_trainer train: a network of 32 hidden units, whose
// places and optimizer are shared out between ranks.

#ifndef EXAMPLES_CLOCK_NETWORK_H_
#define EXAMPLES_CLOCK_NETWORK_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "dcp/dims.h"
#include "dcp/status.h"
#include "time_zones.h"

namespace examples {

constexpr int kHidden = 32;

/// This process among those of the job, and the one collective that training
/// takes.
class Ranks {
 public:
  virtual ~Ranks() = default;
  virtual int rank() const = 0;
  virtual int world_size() const = 0;
  /// Makes each value the sum of those of all ranks.
  virtual dcp::Status Sum(std::vector<double>* values) = 0;
};

/// A weight, whole, and this rank's rows of its moments.
struct Parameter {
  std::string name;
  dcp::Dims shape;
  int64_t first_row = 0;
  int64_t row_count = 0;
  std::vector<float> value;
  std::vector<float> exp_avg;
  std::vector<float> exp_avg_sq;

  int64_t row_size() const { return shape.size() > 1 ? shape[1] : 1; }
  dcp::Dims own_shape() const {
    dcp::Dims own = shape;
    own[0] = row_count;
    return own;
  }
  dcp::Dims own_offsets() const {
    dcp::Dims offsets = dcp::Dims::Filled(shape.size(), 0);
    offsets[0] = first_row;
    return offsets;
  }
};

struct Trainer {
  int rank = 0;
  int world_size = 1;
  std::vector<Place> places;
  std::array<Parameter, 4> parameters;  // w1 [32, 2], b1 [32], w2 [32], b2 [1]
  int64_t step = 0;
};

inline Parameter MakeParameter(const Trainer& trainer, std::string name,
                               dcp::Dims shape, float scale) {
  Parameter made{.name = std::move(name), .shape = shape};
  made.first_row = shape[0] * trainer.rank / trainer.world_size;
  made.row_count =
      shape[0] * (trainer.rank + 1) / trainer.world_size - made.first_row;
  std::minstd_rand random(static_cast<unsigned>(shape[0] + shape.size()));
  std::uniform_real_distribution<float> uniform(-scale, scale);
  made.value.resize(static_cast<size_t>(shape[0] * made.row_size()));
  for (float& value : made.value) value = uniform(random);
  made.exp_avg.resize(static_cast<size_t>(made.row_count * made.row_size()));
  made.exp_avg_sq = made.exp_avg;
  return made;
}

inline Trainer MakeTrainer(const Ranks& ranks) {
  Trainer trainer{.rank = ranks.rank(), .world_size = ranks.world_size()};
  trainer.places = ReadTimeZones();
  trainer.parameters = {MakeParameter(trainer, "w1", {kHidden, 2}, 2),
                        MakeParameter(trainer, "b1", {kHidden}, 1),
                        MakeParameter(trainer, "w2", {kHidden}, 0.5F),
                        MakeParameter(trainer, "b2", {1}, 0)};
  return trainer;
}

/// What the network says of a place, and its hidden units.
inline double Predict(const Trainer& trainer, const Place& place,
                      std::array<double, kHidden>* hidden) {
  const auto& [w1, b1, w2, b2] = trainer.parameters;
  double sum = b2.value[0];
  for (size_t i = 0; i < kHidden; ++i) {
    (*hidden)[i] =
        std::tanh(w1.value[2 * i] * place.latitude / 90 +
                  w1.value[2 * i + 1] * place.longitude / 180 + b1.value[i]);
    sum += w2.value[i] * (*hidden)[i];
  }
  return sum;
}

/// The gradient of the mean square error of all places, parameter after
/// parameter, and last the error itself.
inline dcp::StatusOr<std::vector<double>> ComputeGradient(
    const Trainer& trainer, Ranks& ranks) {
  std::vector<double> sums(2 * kHidden + kHidden + kHidden + 1 + 1);
  double* const b1 = sums.data() + size_t{2} * kHidden;
  double* const w2 = b1 + kHidden;
  double* const b2 = w2 + kHidden;
  std::array<double, kHidden> hidden{};
  const auto stride = static_cast<size_t>(trainer.world_size);
  for (auto at = static_cast<size_t>(trainer.rank); at < trainer.places.size();
       at += stride) {
    const Place& place = trainer.places[at];
    const double error = Predict(trainer, place, &hidden) - place.offset;
    for (size_t i = 0; i < kHidden; ++i) {
      const double inner = 2 * error * trainer.parameters[2].value[i] *
                           (1 - hidden[i] * hidden[i]);
      sums[2 * i] += inner * place.latitude / 90;
      sums[2 * i + 1] += inner * place.longitude / 180;
      b1[i] += inner;
      w2[i] += 2 * error * hidden[i];
    }
    b2[0] += 2 * error;
    b2[1] += error * error;
  }
  DCP_RETURN_IF_ERROR(ranks.Sum(&sums));
  for (double& sum : sums) sum /= static_cast<double>(trainer.places.size());
  return sums;
}

/// Adam on this rank's rows of `p`.
inline void UpdateRows(const Trainer& trainer, const double* gradient,
                       Parameter* p) {
  constexpr double kBeta1 = 0.9;
  constexpr double kBeta2 = 0.999;
  const auto step = static_cast<double>(trainer.step);
  const auto begin = static_cast<size_t>(p->first_row * p->row_size());
  for (size_t i = 0; i < p->exp_avg.size(); ++i) {
    const double slope = gradient[begin + i];
    const double mean = kBeta1 * p->exp_avg[i] + (1 - kBeta1) * slope;
    const double square =
        kBeta2 * p->exp_avg_sq[i] + (1 - kBeta2) * slope * slope;
    p->exp_avg[i] = static_cast<float>(mean);
    p->exp_avg_sq[i] = static_cast<float>(square);
    p->value[begin + i] -= static_cast<float>(
        0.02 * mean / (1 - std::pow(kBeta1, step)) /
        (std::sqrt(square / (1 - std::pow(kBeta2, step))) + 1e-8));
  }
}

/// Each rank updates its rows, which all ranks then share.
inline dcp::Status Update(const std::vector<double>& gradient, Ranks& ranks,
                          Trainer* trainer) {
  std::vector<double> weights(gradient.size());
  size_t at = 0;
  for (Parameter& p : trainer->parameters) {
    UpdateRows(*trainer, gradient.data() + at, &p);
    const auto begin = static_cast<size_t>(p.first_row * p.row_size());
    for (size_t i = 0; i < p.exp_avg.size(); ++i) {
      weights[at + begin + i] = p.value[begin + i];
    }
    at += p.value.size();
  }
  // To a row of one rank the others add zeros.
  DCP_RETURN_IF_ERROR(ranks.Sum(&weights));
  at = 0;
  for (Parameter& p : trainer->parameters) {
    for (float& value : p.value) value = static_cast<float>(weights[at++]);
  }
  return {};
}

}  // namespace examples

#endif  // EXAMPLES_CLOCK_NETWORK_H_
