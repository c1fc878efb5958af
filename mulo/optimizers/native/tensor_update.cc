// One step of a learned optimizer on one tensor, for CPUs: accumulators, features, normalisers and the per-parameter
// MLP in three passes over the tensor. The same function in JAX: mulo/optimizers/tensor_update.py, which says what the
// arguments mean. Work is cut into chunks whose size depends on the tensor's shape alone, and chunks are added up in
// order: results do not depend on the number of threads, nor on what else is in the batch.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;
using Buffer = ffi::Buffer<ffi::F32>;
using Result = ffi::ResultBuffer<ffi::F32>;

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kWide = 8;
#elif defined(__AVX__)
constexpr int kLanes = 8, kWide = 4;
#else
constexpr int kLanes = 4, kWide = 4;
#endif
typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef float LooseVec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

constexpr int kTile = 128;                // entries whose planes and hidden units stay in the first-level cache
constexpr int64_t kChunk = 4096;          // entries of a chunk, at least
constexpr int64_t kChunks = 64;           // chunks of a tensor, at most
constexpr int64_t kThreadedWork = 8192;   // entries below which threads cost more than they bring
constexpr int64_t kLongLine = 32;         // a matrix with at least this many columns is walked line by line
constexpr float kSquareFloor = 1e-30f, kFloor = 1e-9f, kRowMeanEps = 1e-9f, kFactorEps = 1e-8f, kSmallClip = 0.1f,
                kUnitFloor = 1e-36f;

// Planes that vary along all dimensions, then those of rows and columns.
enum Plane { kG = 0, kP = 1, kM = 2, kV = 5, kMRoot = 6, kRoot = 9, kGFactor = 10, kMFactor = 13, kSmall = 16, kGRoot = 17 };
constexpr int kSmallFCFull = 16, kVeLOFull = 18, kReduced = 12;  // row 3, col 3, rsqrt(row) 3, rsqrt(col) 3
constexpr int kSmallFCRows[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 25, 26, 27,
                                13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24};
constexpr int kVeLORows[] = {0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 27, 28, 29, 1, 14,
                             15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26};

struct Spec {
  std::vector<int64_t> dims;
  int64_t d1, d0;  // axes of the second largest and the largest dimension; -1 for rank < 2
  bool velo, last_two, zero_non_finite, scale_free;
  float moment_eps, vector_eps, normalizer_eps, clip, exp_mult;
  int64_t hidden, outputs;
  // Derived.
  int64_t size, last, slab, chunk, chunks_per_slab, slabs, rows = 0, cols = 0;
  std::vector<int64_t> row_stride, col_stride;
  bool by_line;
  int full, planes;
  const int* weight_row;

  void Derive() {
    size = 1;
    for (int64_t n : dims) size *= n;
    last = dims.empty() ? 1 : dims.back();
    full = velo ? kVeLOFull : kSmallFCFull;
    planes = full + kReduced;
    weight_row = velo ? kVeLORows : kSmallFCRows;
    by_line = dims.size() == 2 && last >= kLongLine;
    slab = last_two && dims.size() >= 2 ? last * dims[dims.size() - 2] : size;
    slabs = size / slab;
    int64_t per = std::max(kChunk, (slab + kChunks - 1) / kChunks);
    chunk = std::min(slab, by_line ? (per + last - 1) / last * last : per);
    chunks_per_slab = (slab + chunk - 1) / chunk;
    if (d0 >= 0) {
      row_stride = Strides(d0, &rows);
      col_stride = Strides(d1, &cols);
    }
  }
  std::vector<int64_t> Strides(int64_t reduced, int64_t* count) const {
    std::vector<int64_t> strides(dims.size(), 0);
    *count = 1;
    for (int a = int(dims.size()) - 1; a >= 0; --a) {
      if (a == reduced) continue;
      strides[a] = *count;
      *count *= dims[a];
    }
    return strides;
  }
  int64_t Chunks() const { return slabs * chunks_per_slab; }
  void Range(int64_t c, int64_t* begin, int64_t* end) const {
    int64_t s = c / chunks_per_slab, i = c % chunks_per_slab;
    *begin = s * slab + i * chunk;
    *end = s * slab + std::min(slab, (i + 1) * chunk);
  }
};

struct Tensor {  // one entry of the batch
  const float *g, *p, *m_in, *v_in, *row_in, *col_in, *decays, *w0, *b0, *w1, *b1, *w2, *b2;
  float *m, *v, *row, *col, *step;
};

using Executor = std::function<void(int64_t, const std::function<void(int64_t)>&)>;

inline float Rsqrt(float x) { return 1.0f / std::sqrt(x); }
inline float SafeRsqrt(float x) { return 1.0f / std::sqrt(x < kFloor ? kFloor : x); }

inline float Read(const Spec& spec, float g) {
  if (spec.zero_non_finite) {
    uint32_t bits;
    std::memcpy(&bits, &g, 4);
    g = (bits & 0x7f800000u) == 0x7f800000u ? 0.0f : g;
  }
  g = g > spec.clip ? spec.clip : g;
  return g < -spec.clip ? -spec.clip : g;
}

inline Vec Exp(Vec x) {
  // Range reduction by ln 2 and a polynomial of degree 6: two units in the last place.
  const Vec lo = Vec{} - 87.0f, hi = Vec{} + 88.0f;
  const Vec original = x;
  x = x < lo ? lo : x;
  x = x > hi ? hi : x;
  typedef int32_t Int __attribute__((vector_size(kLanes * 4)));
  Vec t = x * 1.44269504f;
  Int n = __builtin_convertvector(t + (t > 0 ? Vec{} + 0.5f : Vec{} - 0.5f), Int);
  Vec k = __builtin_convertvector(n, Vec);
  Vec r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  Vec y = Vec{} + 1.0f / 720;
  y = y * r + 1.0f / 120;
  y = y * r + 1.0f / 24;
  y = y * r + 1.0f / 6;
  y = y * r + 0.5f;
  y = y * r + 1.0f;
  y = y * r + 1.0f;
  Int bits = (n + 127) << 23;
  Vec power;
  std::memcpy(&power, &bits, sizeof power);
  Vec out = y * power;
  out = original > hi ? Vec{} + std::numeric_limits<float>::infinity() : out;
  return original != original ? original : out;
}

// A run of entries within one line: where its row and column statistics begin, and whether they move along.
struct Run {
  int64_t length, row, col, row_step, col_step;
};

Run RunAt(const Spec& spec, int64_t entry, int64_t end) {
  int64_t line = entry / spec.last, j = entry % spec.last;
  int axis = int(spec.dims.size()) - 1;
  Run run{std::min(spec.last - j, end - entry), 0, 0, spec.d0 == axis ? 0 : 1, spec.d1 == axis ? 0 : 1};
  run.row = j * run.row_step;
  run.col = j * run.col_step;
  for (int a = axis - 1; a >= 0; --a) {
    int64_t i = line % spec.dims[a];
    line /= spec.dims[a];
    run.row += i * spec.row_stride[a];
    run.col += i * spec.col_stride[a];
  }
  return run;
}

void AddLine(const Spec& spec, const float* g, int64_t n, float* sums, int64_t step) {
  if (step) {
    for (int64_t j = 0; j < n; ++j) {
      float x = Read(spec, g[j]);
      sums[j] += x * x + kSquareFloor;
    }
    return;
  }
  float lanes[kLanes] = {};
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes)
    for (int l = 0; l < kLanes; ++l) {
      float x = Read(spec, g[j + l]);
      lanes[l] += x * x + kSquareFloor;
    }
  for (int l = 0; j < n; ++j, ++l) {
    float x = Read(spec, g[j]);
    lanes[l] += x * x + kSquareFloor;
  }
  double total = 0;
  for (float lane : lanes) total += lane;
  sums[0] += float(total);
}

// Statistics of rows or columns after the step, three copies each: moment, its rsqrt, Adafactor's factor.
struct Reduced {
  std::vector<float> moment, root, factor;
  double MeanSquare(const std::vector<float>& x, int copy, int64_t n) const {
    double total = 0;
    for (int64_t i = 0; i < n; ++i) total += double(x[copy * n + i]) * x[copy * n + i];
    return total / n;
  }
};

template <int kUnits>
class Step {
 public:
  Step(const Spec& spec, const Tensor& t, const Executor& each) : s_(spec), t_(t), each_(each) {}

  void Run() {
    if (s_.d0 >= 0) Moments();
    else if (s_.scale_free) SetUnit(VectorMeanSquare());
    sums_.assign(s_.Chunks() * s_.planes, 0.0);
    each_(s_.Chunks(), [this](int64_t c) { Accumulate(c); });
    Normalize();
    if (s_.by_line) LaneContributions();
    each_(s_.Chunks(), [this](int64_t c) { Apply(c); });
  }

 private:
  // First pass: row and column means of the squared gradient, and what is read off them.
  void Moments() {
    int64_t n = s_.Chunks(), width = s_.rows + s_.cols;
    std::vector<float> sums(n * width, 0.0f);
    each_(n, [&](int64_t c) {
      int64_t e, end;
      for (s_.Range(c, &e, &end); e < end;) {
        struct Run run = RunAt(s_, e, end);
        AddLine(s_, t_.g + e, run.length, &sums[c * width + run.row], run.row_step);
        AddLine(s_, t_.g + e, run.length, &sums[c * width + s_.rows + run.col], run.col_step);
        e += run.length;
      }
    });
    for (int64_t c = 1; c < n; ++c)
      for (int64_t i = 0; i < width; ++i) sums[i] += sums[c * width + i];
    Move(&sums[0], s_.rows, s_.dims[s_.d0], t_.row_in, t_.row, &row_);
    Move(&sums[s_.rows], s_.cols, s_.dims[s_.d1], t_.col_in, t_.col, &col_);
    if (s_.scale_free) SetUnit(RowMeanSquare());
    Roots(s_.rows, &row_);
    Roots(s_.cols, &col_);
    RowFactors();
    for (int64_t i = 0; i < 3 * s_.cols; ++i) col_.factor[i] = SafeRsqrt(col_.moment[i]);
  }

  void Move(const float* sums, int64_t n, int64_t count, const float* old, float* out, Reduced* r) {
    r->moment.resize(3 * n);
    r->root.resize(3 * n);
    r->factor.resize(3 * n);
    for (int k = 0; k < 3; ++k) {
      float beta = t_.decays[4 + k];
      for (int64_t i = 0; i < n; ++i) {
        float x = beta * old[k * n + i] + (1 - beta) * (sums[i] / count);
        out[k * n + i] = r->moment[k * n + i] = x;
      }
    }
  }

  void Roots(int64_t n, Reduced* r) const {
    for (int64_t i = 0; i < 3 * n; ++i) {
      r->moment[i] *= per_unit_ * per_unit_;
      r->root[i] = Rsqrt(r->moment[i] + kFactorEps);
    }
  }

  // The slowest factored moment's mean over the tensor; its root is the unit of scale-free features.
  double RowMeanSquare() const {
    double total = 0;
    for (int64_t i = 2 * s_.rows; i < 3 * s_.rows; ++i) total += row_.moment[i];
    return total / s_.rows;
  }

  double VectorMeanSquare() const {
    double total = 0;
    for (int64_t i = 0; i < s_.size; ++i) {
      float x = Read(s_, t_.g[i]);
      total += t_.decays[6] * t_.row_in[2 * s_.size + i] + (1 - t_.decays[6]) * (x * x + kSquareFloor);
    }
    return total / s_.size;
  }

  void SetUnit(double mean_square) { per_unit_ = Rsqrt(float(mean_square) + kUnitFloor); }

  // Gradient and moments in units of the gradient: `per_unit_` is 1 unless features are scale-free.
  void Rescale(int n, float* x) const {
    if (per_unit_ == 1.0f) return;
    const float once = per_unit_, twice = per_unit_ * per_unit_;
    Multiply(x + kG * kTile, n, once);
    for (int k = 0; k < 3; ++k) Multiply(x + (kM + k) * kTile, n, once);
    Multiply(x + kV * kTile, n, twice);
    for (int k = 0; s_.d0 < 0 && k < 3; ++k) Multiply(x + (s_.full + k) * kTile, n, twice);
  }

  static inline void Multiply(float* __restrict x, int n, float factor) {
    for (int j = 0; j < n; ++j) x[j] *= factor;
  }

  void RowFactors() {
    // The mean over d1: rows that differ only there share a group.
    int64_t n = s_.rows, inner = s_.row_stride[s_.d1], count = s_.dims[s_.d1];
    for (int k = 0; k < 3; ++k)
      for (int64_t outer = 0; outer < n / (inner * count); ++outer)
        for (int64_t i = 0; i < inner; ++i) {
          const float* x = &row_.moment[k * n + outer * inner * count + i];
          double mean = 0;
          for (int64_t j = 0; j < count; ++j) mean += x[j * inner];
          float base = float(mean / count) + kRowMeanEps;
          for (int64_t j = 0; j < count; ++j)
            row_.factor[k * n + outer * inner * count + i + j * inner] = SafeRsqrt(x[j * inner] / base);
        }
  }

  // Second pass: moments of every entry, and sums of the squares of all planes.
  void Accumulate(int64_t c) {
    alignas(64) float x[(kVeLOFull + kReduced) * kTile];
    alignas(64) float lanes[(kVeLOFull + kReduced) * kLanes] = {};
    int planes = Varying();
    int64_t e, end;
    for (s_.Range(c, &e, &end); e < end;) {
      int n = TileLength(e, end);
      Gradient(e, n, x);
      MoveMoments(e, n, x);
      Rescale(n, x);
      Derive(e, n, x, planes);
      for (int f = 0; f < planes; ++f) AddSquares(x + f * kTile, n, lanes + f * kLanes);
      e += n;
    }
    for (int f = 0; f < planes; ++f)
      for (int l = 0; l < kLanes; ++l) sums_[c * s_.planes + f] += lanes[f * kLanes + l];
  }

  static inline void AddSquares(const float* __restrict x, int n, float* __restrict lanes) {
    Vec total = *reinterpret_cast<Vec*>(lanes);
    for (int j = 0; j < n; j += kLanes) {
      Vec part = *reinterpret_cast<const Vec*>(x + j);
      total += part * part;
    }
    *reinterpret_cast<Vec*>(lanes) = total;
  }

  // By line, a tile ends with its line.
  int TileLength(int64_t e, int64_t end) const {
    if (s_.by_line) end = std::min(end, (e / s_.last + 1) * s_.last);
    return int(std::min<int64_t>(kTile, end - e));
  }

  // Planes of the n entries from e on, zero beyond them up to a whole number of vectors.
  static int Padded(int n) { return (n + 2 * kLanes - 1) / (2 * kLanes) * (2 * kLanes); }

  void Gradient(int64_t e, int n, float* x) const {
    const float* __restrict g = t_.g + e;
    const float* __restrict p = t_.p + e;
    float* __restrict gradient = x + kG * kTile;
    float* __restrict parameter = x + kP * kTile;
    const float clip = s_.clip;
    if (s_.zero_non_finite)
      for (int j = 0; j < n; ++j) gradient[j] = std::fabs(g[j]) <= std::numeric_limits<float>::max() ? g[j] : 0.0f;
    else
      for (int j = 0; j < n; ++j) gradient[j] = g[j];
    if (clip < std::numeric_limits<float>::infinity())
      for (int j = 0; j < n; ++j) {
        float low = gradient[j] > clip ? clip : gradient[j];
        gradient[j] = low < -clip ? -clip : low;
      }
    for (int j = 0; j < n; ++j) parameter[j] = p[j];
  }

  static inline void Ema(const float* old, const float* __restrict x, float* out, float* __restrict plane, int n,
                         float beta) {
    const float rest = 1 - beta;
    for (int j = 0; j < n; ++j) plane[j] = beta * old[j] + rest * x[j];
    std::memcpy(out, plane, n * sizeof(float));
  }

  void MoveMoments(int64_t e, int n, float* x) const {
    alignas(64) float square[kTile];
    const float *d = t_.decays, *g = x + kG * kTile;
    for (int k = 0; k < 3; ++k) {
      int64_t at = k * s_.size + e;
      Ema(t_.m_in + at, g, t_.m + at, x + (kM + k) * kTile, n, d[k]);
    }
    for (int j = 0; j < n; ++j) square[j] = g[j] * g[j];
    Ema(t_.v_in + e, square, t_.v + e, x + kV * kTile, n, d[3]);
    if (s_.d0 >= 0) return;
    for (int j = 0; j < n; ++j) square[j] += kSquareFloor;
    for (int k = 0; k < 3; ++k) {
      int64_t at = k * s_.size + e;
      Ema(t_.row_in + at, square, t_.row + at, x + (s_.full + k) * kTile, n, d[4 + k]);
    }
  }

  void LoadMoments(int64_t e, int n, float* x) const {
    for (int k = 0; k < 3; ++k) std::memcpy(x + (kM + k) * kTile, t_.m + k * s_.size + e, n * sizeof(float));
    std::memcpy(x + kV * kTile, t_.v + e, n * sizeof(float));
    if (s_.d0 >= 0) return;
    for (int k = 0; k < 3; ++k) std::memcpy(x + (s_.full + k) * kTile, t_.row + k * s_.size + e, n * sizeof(float));
  }

  // Planes whose squares are added up entry by entry: those of rows and columns have fewer entries of their own.
  int Varying() const { return s_.d0 >= 0 && s_.slabs == 1 ? s_.full : s_.planes; }

  // All other planes, up to `planes` of them, from gradient and moments.
  void Derive(int64_t e, int n, float* x, int planes) const {
    const float* __restrict v = x + kV * kTile;
    float* __restrict root = x + kRoot * kTile;
    const float eps = s_.moment_eps;
    for (int j = 0; j < n; ++j) root[j] = Rsqrt(v[j] + eps);
    for (int k = 0; k < 3; ++k) Product(x + (kM + k) * kTile, root, n, x + (kMRoot + k) * kTile);
    if (s_.velo) {
      const float* __restrict g = x + kG * kTile;
      float* __restrict small = x + kSmall * kTile;
      const float clip = kSmallClip * per_unit_;
      for (int j = 0; j < n; ++j) {
        float low = g[j] > clip ? clip : g[j];
        small[j] = low < -clip ? -clip : low;
      }
      Product(g, root, n, x + kGRoot * kTile);
    }
    s_.d0 >= 0 ? FillFactored(e, n, x, planes > s_.full) : FillVector(n, x);
    int padded = Padded(n);
    if (padded > n)
      for (int f = 0; f < planes; ++f) std::fill(x + f * kTile + n, x + f * kTile + padded, 0.0f);
  }

  static inline void Product(const float* __restrict a, const float* __restrict b, int n, float* __restrict out) {
    for (int j = 0; j < n; ++j) out[j] = a[j] * b[j];
  }

  void FillVector(int n, float* x) const {
    for (int k = 0; k < 3; ++k) {
      const float* __restrict full = x + (s_.full + k) * kTile;
      float *col = x + (s_.full + 3 + k) * kTile, *row_root = x + (s_.full + 6 + k) * kTile;
      float *gf = x + (kGFactor + k) * kTile, *mf = x + (kMFactor + k) * kTile;
      const float *g = x + kG * kTile, *m = x + (kM + k) * kTile;
      for (int j = 0; j < n; ++j) {
        gf[j] = g[j] * SafeRsqrt(full[j] + kFloor);
        mf[j] = m[j] * Rsqrt(full[j] + s_.vector_eps);
        col[j] = full[j];
        row_root[j] = Rsqrt(full[j] + kFactorEps);
      }
      std::memcpy(x + (s_.full + 9 + k) * kTile, row_root, n * sizeof(float));
    }
  }

  // Short lines: a loop per line would be over before it pays, so statistics are gathered over the whole tile.
  void FillGathered(int64_t e, int n, float* x, bool reduced) const {
    alignas(64) int32_t row[kTile], col[kTile];
    for (int done = 0; done < n;) {
      struct Run run = RunAt(s_, e + done, e + n);
      for (int j = 0; j < run.length; ++j) row[done + j] = int32_t(run.row + j * run.row_step);
      for (int j = 0; j < run.length; ++j) col[done + j] = int32_t(run.col + j * run.col_step);
      done += int(run.length);
    }
    const float *g = x + kG * kTile;
    for (int k = 0; k < 3; ++k) {
      const float *rf = &row_.factor[k * s_.rows], *cf = &col_.factor[k * s_.cols], *m = x + (kM + k) * kTile;
      float* __restrict gf = x + (kGFactor + k) * kTile;
      float* __restrict mf = x + (kMFactor + k) * kTile;
      for (int j = 0; j < n; ++j) {
        float f = rf[row[j]] * cf[col[j]];
        gf[j] = g[j] * f;
        mf[j] = m[j] * f;
      }
      if (!reduced) continue;
      Gather(&row_.moment[k * s_.rows], row, n, x + (s_.full + k) * kTile);
      Gather(&col_.moment[k * s_.cols], col, n, x + (s_.full + 3 + k) * kTile);
      Gather(&row_.root[k * s_.rows], row, n, x + (s_.full + 6 + k) * kTile);
      Gather(&col_.root[k * s_.cols], col, n, x + (s_.full + 9 + k) * kTile);
    }
  }

  static void Gather(const float* from, const int32_t* index, int n, float* __restrict to) {
    for (int j = 0; j < n; ++j) to[j] = from[index[j]];
  }

  void FillFactored(int64_t e, int n, float* x, bool reduced) const {
    if (s_.last < kLongLine && s_.size < std::numeric_limits<int32_t>::max()) return FillGathered(e, n, x, reduced);
    for (int done = 0; done < n;) {
      struct Run run = RunAt(s_, e + done, e + n);
      for (int k = 0; k < 3; ++k) {
        const float *rf = &row_.factor[k * s_.rows + run.row], *cf = &col_.factor[k * s_.cols + run.col];
        float *gf = x + (kGFactor + k) * kTile + done, *mf = x + (kMFactor + k) * kTile + done;
        const float *g = x + kG * kTile + done, *m = x + (kM + k) * kTile + done;
        if (run.row_step && run.col_step)
          Scale(run.length, [&](int64_t j) { return rf[j] * cf[j]; }, g, m, gf, mf);
        else if (run.row_step)
          Scale(run.length, [&, c = cf[0]](int64_t j) { return rf[j] * c; }, g, m, gf, mf);
        else
          Scale(run.length, [&, r = rf[0]](int64_t j) { return r * cf[j]; }, g, m, gf, mf);
        if (!reduced) continue;
        Copy(&row_.moment[k * s_.rows + run.row], run.row_step, run.length, x + (s_.full + k) * kTile + done);
        Copy(&col_.moment[k * s_.cols + run.col], run.col_step, run.length, x + (s_.full + 3 + k) * kTile + done);
        Copy(&row_.root[k * s_.rows + run.row], run.row_step, run.length, x + (s_.full + 6 + k) * kTile + done);
        Copy(&col_.root[k * s_.cols + run.col], run.col_step, run.length, x + (s_.full + 9 + k) * kTile + done);
      }
      done += int(run.length);
    }
  }

  template <typename F>
  static inline void Scale(int64_t n, F factor, const float* __restrict g, const float* __restrict m,
                           float* __restrict gf, float* __restrict mf) {
    for (int64_t j = 0; j < n; ++j) {
      float f = factor(j);
      gf[j] = g[j] * f;
      mf[j] = m[j] * f;
    }
  }

  static void Copy(const float* from, int64_t step, int64_t n, float* to) {
    for (int64_t j = 0; j < n; ++j) to[j] = from[j * step];
  }

  // Normalisers of every slab and plane.
  void Normalize() {
    scale_.assign(s_.slabs * s_.planes, 0.0f);
    for (int64_t slab = 0; slab < s_.slabs; ++slab)
      for (int f = 0; f < s_.planes; ++f) {
        double total = 0;
        for (int64_t c = 0; c < s_.chunks_per_slab; ++c)
          total += sums_[(slab * s_.chunks_per_slab + c) * s_.planes + f];
        scale_[slab * s_.planes + f] = Normalizer(total / s_.slab);
      }
    if (Varying() == s_.planes) return;
    for (int k = 0; k < 3; ++k) {
      scale_[s_.full + k] = Normalizer(row_.MeanSquare(row_.moment, k, s_.rows));
      scale_[s_.full + 3 + k] = Normalizer(col_.MeanSquare(col_.moment, k, s_.cols));
      scale_[s_.full + 6 + k] = Normalizer(row_.MeanSquare(row_.root, k, s_.rows));
      scale_[s_.full + 9 + k] = Normalizer(col_.MeanSquare(col_.root, k, s_.cols));
    }
  }

  float Normalizer(double mean_square) const { return Rsqrt(float(mean_square) + s_.normalizer_eps); }

  float Weight(int64_t slab, int f, int64_t unit) const {
    return scale_[slab * s_.planes + f] * t_.w0[s_.weight_row[f] * s_.hidden + unit];
  }

  // By line: what the statistics that move along a line add to each hidden unit, [hidden, last].
  void LaneContributions() {
    bool rows = s_.d0 != 1;
    const Reduced& r = rows ? row_ : col_;
    int first = s_.full + (rows ? 0 : 3);
    int64_t n = s_.last;
    lanes_.assign(s_.hidden * n + 2 * kTile, 0.0f);
    for (int64_t u = 0; u < s_.hidden; ++u)
      for (int k = 0; k < 3; ++k) {
        float a = Weight(0, first + k, u), b = Weight(0, first + 6 + k, u);
        for (int64_t j = 0; j < n; ++j) lanes_[u * n + j] += a * r.moment[k * n + j] + b * r.root[k * n + j];
      }
  }

  // By line: the bias of the first layer with what the line's own statistics add to it.
  void LineBias(int64_t line, float* bias) const {
    bool cols = s_.d0 != 1;
    const Reduced& r = cols ? col_ : row_;
    int first = s_.full + (cols ? 3 : 0);
    int64_t n = s_.dims[0];
    for (int64_t u = 0; u < s_.hidden; ++u) {
      float total = t_.b0[u];
      for (int k = 0; k < 3; ++k)
        total += Weight(0, first + k, u) * r.moment[k * n + line] + Weight(0, first + 6 + k, u) * r.root[k * n + line];
      bias[u] = total;
    }
  }

  // Third pass: the MLP. Weights are packed as [block of units][input][unit], so that a block reads them in order.
  void Apply(int64_t c) {
    int64_t e, end, blocks = (s_.hidden + kUnits - 1) / kUnits, hidden = blocks * kUnits;
    int inputs = s_.by_line ? s_.full : s_.planes;
    s_.Range(c, &e, &end);
    int64_t slab = e / s_.slab;
    std::vector<float> w0(hidden * inputs, 0.0f), w1(hidden * hidden, 0.0f), bias(hidden, 0.0f), b1(hidden, 0.0f),
        w2(2 * hidden, 0.0f);
    for (int64_t u = 0; u < s_.hidden; ++u) {
      int64_t block = u / kUnits, lane = u % kUnits;
      for (int f = 0; f < inputs; ++f) w0[(block * inputs + f) * kUnits + lane] = Weight(slab, f, u);
      for (int64_t k = 0; k < s_.hidden; ++k) w1[(block * hidden + k) * kUnits + lane] = t_.w1[k * s_.hidden + u];
      b1[u] = t_.b1[u];
      bias[u] = t_.b0[u];
      for (int o = 0; o < 2; ++o) w2[o * hidden + u] = t_.w2[u * s_.outputs + o];
    }
    std::vector<float> memory((s_.planes + hidden) * kTile + kLanes);
    float* x = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) / 64 * 64);
    float* units = x + s_.planes * kTile;
    for (int64_t line = -1; e < end;) {
      int n = TileLength(e, end);
      Gradient(e, n, x);
      LoadMoments(e, n, x);
      Rescale(n, x);
      Derive(e, n, x, inputs);
      const float* lanes = nullptr;
      if (s_.by_line) {
        if (e / s_.last != line) LineBias(line = e / s_.last, bias.data());
        lanes = &lanes_[e % s_.last];
      }
      for (int j = 0; j < n; j += 2 * kLanes) {
        Hidden(x + j, inputs, blocks, w0.data(), bias.data(), lanes ? lanes + j : nullptr, units + j);
        Output(units + j, hidden, blocks, w1.data(), b1.data(), w2.data(), t_.step + e + j, n - j);
      }
      e += n;
    }
  }

  void Hidden(const float* x, int inputs, int64_t blocks, const float* w, const float* bias, const float* lanes,
              float* units) const {
    for (int64_t b = 0; b < blocks; ++b, w += inputs * kUnits) {
      Vec a[kUnits][2];
      for (int u = 0; u < kUnits; ++u)
        for (int h = 0; h < 2; ++h) {
          a[u][h] = Vec{} + bias[b * kUnits + u];
          if (lanes && b * kUnits + u < s_.hidden)
            a[u][h] += *reinterpret_cast<const LooseVec*>(lanes + (b * kUnits + u) * s_.last + h * kLanes);
        }
      Multiply(x, inputs, w, a);
      for (int u = 0; u < kUnits; ++u)
        for (int h = 0; h < 2; ++h)
          *reinterpret_cast<Vec*>(units + (b * kUnits + u) * kTile + h * kLanes) = Relu(a[u][h]);
    }
  }

  void Output(const float* units, int64_t hidden, int64_t blocks, const float* w, const float* b1, const float* w2,
              float* step, int n) const {
    Vec direction[2], magnitude[2];
    for (int h = 0; h < 2; ++h) direction[h] = Vec{} + t_.b2[0], magnitude[h] = Vec{} + t_.b2[1];
    for (int64_t b = 0; b < blocks; ++b, w += hidden * kUnits) {
      Vec a[kUnits][2];
      for (int u = 0; u < kUnits; ++u) a[u][0] = a[u][1] = Vec{} + b1[b * kUnits + u];
      Multiply(units, int(hidden), w, a);
      for (int u = 0; u < kUnits; ++u)
        for (int h = 0; h < 2; ++h) {
          Vec unit = Relu(a[u][h]);
          direction[h] += unit * w2[b * kUnits + u];
          magnitude[h] += unit * w2[hidden + b * kUnits + u];
        }
    }
    for (int h = 0; h < 2; ++h) {
      Vec out = s_.exp_mult == 0.0f ? direction[h] : direction[h] * Exp(magnitude[h] * s_.exp_mult);
      int count = std::min(kLanes, n - h * kLanes);
      if (count > 0) std::memcpy(step + h * kLanes, &out, count * sizeof(float));
    }
  }

  static inline void Multiply(const float* x, int inputs, const float* w, Vec (*a)[2]) {
    Vec t[kUnits][2];
    std::memcpy(t, a, sizeof t);
    for (int k = 0; k < inputs; ++k) {
      Vec x0 = *reinterpret_cast<const Vec*>(x + k * kTile), x1 = *reinterpret_cast<const Vec*>(x + k * kTile + kLanes);
#pragma GCC unroll 8
      for (int u = 0; u < kUnits; ++u) {
        Vec weight = Vec{} + w[k * kUnits + u];
        t[u][0] += x0 * weight;
        t[u][1] += x1 * weight;
      }
    }
    std::memcpy(a, t, sizeof t);
  }

  // As max(x, 0), which keeps NaN.
  static inline Vec Relu(Vec x) { return x < 0.0f ? Vec{} : x; }

  const Spec& s_;
  const Tensor& t_;
  const Executor& each_;
  Reduced row_, col_;
  std::vector<double> sums_;
  std::vector<float> scale_, lanes_;
  float per_unit_ = 1.0f;
};

// Runs tasks on the caller and on idle threads of XLA's pool. Helpers that start late find nothing left to do.
class Pool {
 public:
  explicit Pool(ffi::ThreadPool* pool) : pool_(pool), helpers_(pool->num_threads() - 1) {}
  void operator()(int64_t count, const std::function<void(int64_t)>& task) const {
    struct State {
      std::atomic<int64_t> next{0}, done{0};
      int64_t count;
      const std::function<void(int64_t)>* task;
      void Work() {
        for (int64_t i; (i = next.fetch_add(1)) < count;) {
          (*task)(i);
          done.fetch_add(1, std::memory_order_release);
        }
      }
    };
    auto state = std::make_shared<State>();
    state->count = count;
    state->task = &task;
    for (int64_t i = 0; i < std::min(helpers_, count - 1); ++i) pool_->Schedule([state] { state->Work(); });
    state->Work();
    while (state->done.load(std::memory_order_acquire) < count) std::this_thread::yield();
  }

 private:
  ffi::ThreadPool* pool_;
  int64_t helpers_;
};

void Serial(int64_t count, const std::function<void(int64_t)>& task) {
  for (int64_t i = 0; i < count; ++i) task(i);
}

// One entry of a batch uses all threads; several are shared out among them, each on one.
void Each(ffi::ThreadPool* pool, int64_t batch, int64_t size, const std::function<void(int64_t, const Executor&)>& one) {
  bool threaded = batch * size >= kThreadedWork && pool->num_threads() > 1;
  Executor outer = threaded ? Executor(Pool(pool)) : Executor(Serial);
  if (batch == 1)
    one(0, outer);
  else
    outer(batch, [&](int64_t b) { one(b, Serial); });
}

void RunStep(const Spec& spec, const Tensor& t, const Executor& each) {
  if (spec.hidden % kWide == 0)
    Step<kWide>(spec, t, each).Run();
  else
    Step<4>(spec, t, each).Run();
}

ffi::Error TensorUpdate(ffi::ThreadPool pool, Buffer g, Buffer p, Buffer m, Buffer v, Buffer row, Buffer col,
                        Buffer decays, Buffer w0, Buffer b0, Buffer w1, Buffer b1, Buffer w2, Buffer b2, Result m_out,
                        Result v_out, Result row_out, Result col_out, Result step, ffi::Span<const int64_t> dims,
                        int64_t d1, int64_t d0, int64_t velo, int64_t last_two, int64_t zero_non_finite,
                        int64_t scale_free, float moment_eps, float vector_eps, float normalizer_eps, float clip, float exp_mult) {
  Spec spec{{dims.begin(), dims.end()}, d1, d0, velo != 0, last_two != 0, zero_non_finite != 0, scale_free != 0,
            moment_eps, vector_eps, normalizer_eps, clip, exp_mult,
            b0.dimensions().back(), b2.dimensions().back()};
  spec.Derive();
  int64_t batch = int64_t(g.element_count()) / spec.size;
  auto at = [batch](auto& buffer, int64_t b) { return buffer.typed_data() + b * (int64_t(buffer.element_count()) / batch); };
  Each(&pool, batch, spec.size, [&](int64_t b, const Executor& each) {
    Tensor t{at(g, b), at(p, b), at(m, b), at(v, b), at(row, b), at(col, b), at(decays, b), at(w0, b), at(b0, b),
             at(w1, b), at(b1, b), at(w2, b), at(b2, b), at(*m_out, b), at(*v_out, b), at(*row_out, b),
             at(*col_out, b), at(*step, b)};
    RunStep(spec, t, each);
  });
  return ffi::Error::Success();
}

// Means over a tensor of p², m (3), v, (m - mean m)² (3) and (v - mean m)² (3), in this order.
class Statistics {
 public:
  static constexpr int kFirst = 5, kSecond = 6, kCount = kFirst + kSecond;

  Statistics(const float* p, const float* m, const float* v, int64_t size) : p_(p), m_(m), v_(v), size_(size) {
    chunk_ = std::max(kChunk, (size + kChunks - 1) / kChunks);
    chunks_ = (size + chunk_ - 1) / chunk_;
  }

  void Run(const Executor& each, float* out) const {
    Mean<kFirst>(each, out, [this](int64_t e, int n, float (*lanes)[kLanes]) {
      for (int l = 0; l < n; ++l) lanes[0][l] += p_[e + l] * p_[e + l];
      for (int k = 0; k < 3; ++k)
        for (int l = 0; l < n; ++l) lanes[1 + k][l] += m_[k * size_ + e + l];
      for (int l = 0; l < n; ++l) lanes[4][l] += v_[e + l];
    });
    Mean<kSecond>(each, out + kFirst, [this, mean = out + 1](int64_t e, int n, float (*lanes)[kLanes]) {
      for (int k = 0; k < 3; ++k)
        for (int l = 0; l < n; ++l) {
          float m = m_[k * size_ + e + l] - mean[k], v = v_[e + l] - mean[k];
          lanes[k][l] += m * m;
          lanes[3 + k][l] += v * v;
        }
    });
  }

 private:
  template <int N, typename F>
  void Mean(const Executor& each, float* out, F add) const {
    std::vector<double> sums(chunks_ * N, 0.0);
    each(chunks_, [&](int64_t c) {
      alignas(64) float lanes[N][kLanes] = {};
      int64_t e = c * chunk_, end = std::min(size_, e + chunk_);
      for (; e + kLanes <= end; e += kLanes) add(e, kLanes, lanes);
      add(e, int(end - e), lanes);
      for (int i = 0; i < N; ++i)
        for (float lane : lanes[i]) sums[c * N + i] += lane;
    });
    for (int i = 0; i < N; ++i) {
      double total = 0;
      for (int64_t c = 0; c < chunks_; ++c) total += sums[c * N + i];
      out[i] = float(total / size_);
    }
  }

  const float *p_, *m_, *v_;
  int64_t size_, chunk_, chunks_;
};

ffi::Error TensorStatistics(ffi::ThreadPool pool, Buffer p, Buffer m, Buffer v, Result out) {
  int64_t batch = int64_t(out->element_count()) / Statistics::kCount, size = int64_t(p.element_count()) / batch;
  Each(&pool, batch, size, [&](int64_t b, const Executor& each) {
    Statistics(p.typed_data() + b * size, m.typed_data() + 3 * b * size, v.typed_data() + b * size, size)
        .Run(each, out->typed_data() + b * Statistics::kCount);
  });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(mulo_tensor_update, TensorUpdate,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Buffer>().Arg<Buffer>().Arg<Buffer>().Arg<Buffer>().Arg<Buffer>().Arg<Buffer>()
                                  .Arg<Buffer>().Arg<Buffer>().Arg<Buffer>().Arg<Buffer>().Arg<Buffer>().Arg<Buffer>()
                                  .Arg<Buffer>()
                                  .Ret<Buffer>().Ret<Buffer>().Ret<Buffer>().Ret<Buffer>().Ret<Buffer>()
                                  .Attr<ffi::Span<const int64_t>>("dims")
                                  .Attr<int64_t>("d1").Attr<int64_t>("d0").Attr<int64_t>("velo")
                                  .Attr<int64_t>("last_two").Attr<int64_t>("zero_non_finite").Attr<int64_t>("scale_free")
                                  .Attr<float>("moment_eps").Attr<float>("vector_eps")
                                  .Attr<float>("normalizer_eps").Attr<float>("clip").Attr<float>("exp_mult"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(mulo_tensor_statistics, TensorStatistics,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Buffer>().Arg<Buffer>().Arg<Buffer>()
                                  .Ret<Buffer>());
