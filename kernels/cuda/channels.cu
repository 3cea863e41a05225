// What is done per channel: bias, batch normalization, and sums over all elements of a channel.
//
// Tensors are `rows` x `channels`, channels innermost: images stored N H W C, or matrices. Numbers
// per channel are float. Block (packs of channels, rows), at most 256 threads, so that a thread
// keeps its channels; grid (tiles of rows, tiles of channels). `out` may be any operand.
//
// Numbers per channel may be those of groups of rows, (groups, channels): group g is `period` rows
// from g * period - skip up, as far as they are here. A grid has groups along its last side; where
// all rows are one group that is 1, and skip 0.
//
// Sums are made in two launches, in an order that follows from the shape only: every block of the
// first sums `share` rows into `partial` (sums, groups, blocks, channels); `finish` adds the blocks
// up.

#include "channels.cuh"

#define SLICES 16

// x + b, then relu if asked.
extern "C" __global__ void bias(T* out, const T* x, const float* b, long long rows, int channels,
                                int relu) {
    const int c = first_channel();
    if (c >= channels) return;
    const float low = relu ? 0.0f : -infinity();
    float shift[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) shift[i] = b[c + i];
    map_rows<false>(out, x, x, {0, rows}, channels,
                    [&](float a, float, int i) { return at_least(a + shift[i], low); });
}

// gamma * (x - mean) / sqrt(var + eps) + beta, with TWO plus y; then relu if asked.
template <bool TWO>
__device__ inline void normalize(T* out, const T* x, const T* y, const float* mean,
                                 const float* var, const float* gamma, const float* beta,
                                 long long rows, int channels, long long period, long long skip,
                                 float eps, int relu) {
    const int c = first_channel(), own = blockIdx.z * channels + c;
    if (c >= channels) return;
    const float low = relu ? 0.0f : -infinity();
    float centre[LANES], slope[LANES], shift[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        centre[i] = mean[own + i];
        slope[i] = gamma[c + i] * rsqrtf(var[own + i] + eps);
        shift[i] = beta[c + i];
    }
    const Rows group = of_group(rows, period, skip);
    map_rows<TWO>(out, x, y, group, channels, [&](float a, float other, int i) {
        return at_least((a - centre[i]) * slope[i] + shift[i] + other, low);
    });
}

extern "C" __global__ void bn_norm(T* out, const T* x, const float* mean, const float* var,
                                   const float* gamma, const float* beta, long long rows,
                                   int channels, long long period, long long skip, float eps,
                                   int relu) {
    normalize<false>(out, x, x, mean, var, gamma, beta, rows, channels, period, skip, eps, relu);
}

extern "C" __global__ void bn_norm_add(T* out, const T* x, const T* y, const float* mean,
                                       const float* var, const float* gamma, const float* beta,
                                       long long rows, int channels, long long period,
                                       long long skip, float eps, int relu) {
    normalize<true>(out, x, y, mean, var, gamma, beta, rows, channels, period, skip, eps, relu);
}

// The sum of two batch normalizations, then relu.
extern "C" __global__ void bn_norms_add_relu(T* out, const T* x, const float* mean,
                                             const float* var, const float* gamma,
                                             const float* beta, const T* y, const float* y_mean,
                                             const float* y_var, const float* y_gamma,
                                             const float* y_beta, long long rows, int channels,
                                             float eps) {
    const int c = first_channel();
    if (c >= channels) return;
    float centre[LANES], slope[LANES], y_centre[LANES], y_slope[LANES], shift[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        centre[i] = mean[c + i];
        slope[i] = gamma[c + i] * rsqrtf(var[c + i] + eps);
        y_centre[i] = y_mean[c + i];
        y_slope[i] = y_gamma[c + i] * rsqrtf(y_var[c + i] + eps);
        shift[i] = beta[c + i] + y_beta[c + i];
    }
    map_rows<true>(out, x, y, {0, rows}, channels, [&](float a, float b, int i) {
        const float far = (a - centre[i]) * slope[i], y_far = (b - y_centre[i]) * y_slope[i];
        return at_least(far + y_far + shift[i], 0.0f);
    });
}

// (dy - (dgamma * normalized x + dbeta) * share) * gamma / sqrt(var + eps), share = 1 / count.
extern "C" __global__ void bn_dx(T* out, const T* x, const float* mean, const float* var,
                                 const float* gamma, const float* dgamma, const float* dbeta,
                                 const T* dy, long long rows, int channels, long long period,
                                 long long skip, float eps, float share) {
    const int c = first_channel(), own = blockIdx.z * channels + c;
    if (c >= channels) return;
    float centre[LANES], slope[LANES], through_var[LANES], through_mean[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        const float scale = rsqrtf(var[own + i] + eps);
        centre[i] = mean[own + i];
        slope[i] = gamma[c + i] * scale;
        through_var[i] = dgamma[own + i] * scale * share;
        through_mean[i] = dbeta[own + i] * share;
    }
    const Rows group = of_group(rows, period, skip);
    map_rows<true>(out, x, dy, group, channels, [&](float a, float d, int i) {
        return (d - ((a - centre[i]) * through_var[i] + through_mean[i])) * slope[i];
    });
}

// Of x.
extern "C" __global__ void sum(float* partial, const T* x, long long rows, int channels,
                               long long period, long long skip, long long share) {
    const Rows group = of_group(rows, period, skip);
    sum_rows<1, false, false>(partial, (T*)0, x, x, group, channels, share,
                              [](float a, float, int i, float(&sums)[1][LANES]) {
                                  sums[0][i] += a;
                                  return a;
                              });
}

// Of (x - mean) ** 2.
extern "C" __global__ void sum_squares(float* partial, const T* x, const float* mean,
                                       long long rows, int channels, long long period,
                                       long long skip, long long share) {
    const int c = first_channel(), own = blockIdx.z * channels + c;
    const Rows group = of_group(rows, period, skip);
    float centre[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) centre[i] = c < channels ? mean[own + i] : 0.0f;
    sum_rows<1, false, false>(partial, (T*)0, x, x, group, channels, share,
                              [&](float a, float, int i, float(&sums)[1][LANES]) {
                                  const float far = a - centre[i];
                                  sums[0][i] += far * far;
                                  return a;
                              });
}

// Of x - f and (x - f) ** 2, where f is the group's first row here: far from zero, no digits are
// lost.
extern "C" __global__ void sum_moments(float* partial, const T* x, long long rows, int channels,
                                       long long period, long long skip, long long share) {
    const int c = first_channel();
    const Rows group = of_group(rows, period, skip);
    const T* first = x + group.begin * channels;
    float centre[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        centre[i] = c < channels && group.begin < group.end ? number(first[c + i]) : 0.0f;
    }
    sum_rows<2, false, false>(partial, (T*)0, x, x, group, channels, share,
                              [&](float a, float, int i, float(&sums)[2][LANES]) {
                                  const float far = a - centre[i];
                                  sums[0][i] += far;
                                  sums[1][i] += far * far;
                                  return a;
                              });
}

// Of dy * normalized x; and of dy.
extern "C" __global__ void sum_slopes(float* partial, const T* x, const float* mean,
                                      const float* var, const T* dy, long long rows, int channels,
                                      long long period, long long skip, long long share,
                                      float eps) {
    const int c = first_channel(), own = blockIdx.z * channels + c;
    const Rows group = of_group(rows, period, skip);
    float centre[LANES], scale[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        centre[i] = c < channels ? mean[own + i] : 0.0f;
        scale[i] = c < channels ? rsqrtf(var[own + i] + eps) : 0.0f;
    }
    sum_rows<2, true, false>(partial, (T*)0, x, dy, group, channels, share,
                             [&](float a, float d, int i, float(&sums)[2][LANES]) {
                                 sums[0][i] += (a - centre[i]) * scale[i] * d;
                                 sums[1][i] += d;
                                 return d;
                             });
}

// Of dx, which is dy where y > 0 and 0 elsewhere, and is written too.
extern "C" __global__ void sum_relu_dx(float* partial, T* dx, const T* dy, const T* y,
                                       long long rows, int channels, long long period,
                                       long long skip, long long share) {
    const Rows group = of_group(rows, period, skip);
    sum_rows<1, true, true>(partial, dx, dy, y, group, channels, share,
                            [](float d, float a, int i, float(&sums)[1][LANES]) {
                                const float slope = a > 0.0f ? d : 0.0f;
                                sums[0][i] += slope;
                                return slope;
                            });
}

// Where numbers of one batch normalization are.
struct Norm {
    const T* x;
    const float *mean, *var;
};

// Of d * normalized x, of d, and of d * normalized x of the other ones: d is a, with TWO a + b, where
// y > 0 and 0 elsewhere, and is written too. It counts as it is stored, and rows are added in the
// order of `sum_slopes`, so that sums are the same to the bit as if that read d. From one row of a to
// the next it is `pitch` elements.
template <int NORMS, bool TWO>
__device__ inline void sum_relu(float* partial, T* kept, const T* a, long long pitch, const T* b,
                                const T* y, const Norm (&norms)[NORMS], Rows group, int channels,
                                long long share, float eps) {
    constexpr int AT_ONCE = ROWS / 4;
    const int c = first_channel(), own = blockIdx.z * channels + c;
    const long long begin = group.begin + blockIdx.x * share;
    const long long end = begin + share < group.end ? begin + share : group.end;
    float centre[NORMS][LANES], scale[NORMS][LANES], sums[NORMS + 1][LANES] = {};
#pragma unroll
    for (int n = 0; n < NORMS; ++n) {
#pragma unroll
        for (int i = 0; i < LANES; ++i) {
            centre[n][i] = c < channels ? norms[n].mean[own + i] : 0.0f;
            scale[n][i] = c < channels ? rsqrtf(norms[n].var[own + i] + eps) : 0.0f;
        }
    }
    if (c < channels) {
#pragma unroll 1
        for (long long row = begin + threadIdx.y; row < end; row += AT_ONCE * (int)blockDim.y) {
            Some first[AT_ONCE], second[AT_ONCE], positive[AT_ONCE], x[NORMS][AT_ONCE];
#pragma unroll
            for (int k = 0; k < AT_ONCE; ++k) {
                const long long own_row = row + k * (int)blockDim.y, at = own_row * channels + c;
                if (own_row >= end) continue;
                first[k] = load<T, LANES>(a + own_row * pitch + c);
                if constexpr (TWO) second[k] = load<T, LANES>(b + at);
                positive[k] = load<T, LANES>(y + at);
#pragma unroll
                for (int n = 0; n < NORMS; ++n) x[n][k] = load<T, LANES>(norms[n].x + at);
            }
#pragma unroll
            for (int k = 0; k < AT_ONCE; ++k) {
                const long long own_row = row + k * (int)blockDim.y, at = own_row * channels + c;
                if (own_row >= end) continue;
                float v[LANES];
#pragma unroll
                for (int i = 0; i < LANES; ++i) {
                    float slope = first[k][i];
                    if constexpr (TWO) slope += second[k][i];
                    v[i] = positive[k][i] > 0.0f ? slope : 0.0f;
                }
                const Some made = packed<T, LANES>(v);
                put(kept + at, made);
#pragma unroll
                for (int i = 0; i < LANES; ++i) {
                    const float d = made[i];
#pragma unroll
                    for (int n = 0; n < NORMS; ++n) {
                        sums[n ? n + 1 : 0][i] += (x[n][k][i] - centre[n][i]) * scale[n][i] * d;
                    }
                    sums[1][i] += d;
                }
            }
        }
    }
    sum_threads<NORMS + 1>(partial, sums, channels);
}

extern "C" __global__ void sum_add_relu_slopes(float* partial, T* d, const T* a, const T* b,
                                               const T* y, const T* x, const float* mean,
                                               const float* var, long long rows, int channels,
                                               long long period, long long skip,
                                               long long share, float eps) {
    const Norm norms[1] = {{x, mean, var}};
    sum_relu<1, true>(partial, d, a, channels, b, y, norms, of_group(rows, period, skip), channels,
                      share, eps);
}

extern "C" __global__ void sum_add_relu_two_slopes(
    float* partial, T* d, const T* a, const T* b, const T* y, const T* x, const float* mean,
    const float* var, const T* other, const float* other_mean, const float* other_var,
    long long rows, int channels, long long period, long long skip, long long share, float eps) {
    const Norm norms[2] = {{x, mean, var}, {other, other_mean, other_var}};
    sum_relu<2, true>(partial, d, a, channels, b, y, norms, of_group(rows, period, skip), channels,
                      share, eps);
}

extern "C" __global__ void sum_slice_relu_slopes(float* partial, T* d, const T* a, long long pitch,
                                                 const T* y, const T* x, const float* mean,
                                                 const float* var, long long rows, int channels,
                                                 long long period, long long skip,
                                                 long long share, float eps) {
    const Norm norms[1] = {{x, mean, var}};
    sum_relu<1, false>(partial, d, a, pitch, a, y, norms, of_group(rows, period, skip), channels,
                       share, eps);
}

// The total of sum `s` of one channel in the threads with y 0. Block (32, SLICES), grid
// (channels / 32, 1, groups).
__device__ inline float total(const float* partial, int s, int blocks, int channels) {
    __shared__ float shared[SLICES][32];
    const int c = blockIdx.x * 32 + threadIdx.x;
    partial += ((long long)s * gridDim.z + blockIdx.z) * blocks * channels;
    float sum = 0.0f;
    if (c < channels) {
#pragma unroll 4
        for (int b = threadIdx.y; b < blocks; b += SLICES) {
            sum += partial[(long long)b * channels + c];
        }
    }
    __syncthreads();
    shared[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    sum = 0.0f;
    for (int s = 0; s < SLICES; ++s) sum += shared[s][threadIdx.x];
    return sum;
}

// out = scale * total.
extern "C" __global__ void finish(float* out, const float* partial, int blocks, int channels,
                                  float scale) {
    const int c = blockIdx.x * 32 + threadIdx.x;
    const float sum = total(partial, 0, blocks, channels);
    if (threadIdx.y == 0 && c < channels) out[blockIdx.z * channels + c] = sum * scale;
}

// The totals of both sums.
extern "C" __global__ void finish_two(float* first, float* second, const float* partial,
                                      int blocks, int channels) {
    const int c = blockIdx.x * 32 + threadIdx.x;
    const float a = total(partial, 0, blocks, channels);
    const float b = total(partial, 1, blocks, channels);
    if (threadIdx.y || c >= channels) return;
    first[blockIdx.z * channels + c] = a;
    second[blockIdx.z * channels + c] = b;
}

// The totals of three sums, of which the second is two results.
extern "C" __global__ void finish_slopes(float* first, float* shift, float* second,
                                         float* second_shift, const float* partial, int blocks,
                                         int channels) {
    const int c = blockIdx.x * 32 + threadIdx.x;
    const float a = total(partial, 0, blocks, channels);
    const float d = total(partial, 1, blocks, channels);
    const float b = total(partial, 2, blocks, channels);
    if (threadIdx.y || c >= channels) return;
    const int own = blockIdx.z * channels + c;
    first[own] = a;
    second[own] = b;
    shift[own] = second_shift[own] = d;
}

// Mean and variance of `rows` numbers per channel and group from `sum_moments`; x has the first
// rows.
extern "C" __global__ void finish_moments(float* mean, float* var, const float* partial,
                                          const T* x, int blocks, int channels, long long rows) {
    const int c = blockIdx.x * 32 + threadIdx.x, own = blockIdx.z * channels + c;
    const float a = total(partial, 0, blocks, channels) / rows;
    const float b = total(partial, 1, blocks, channels) / rows;
    if (threadIdx.y || c >= channels) return;
    mean[own] = number(x[blockIdx.z * rows * channels + c]) + a;
    var[own] = b > a * a ? b - a * a : 0.0f;
}

// The means of x and of x ** 2 over `1 / share` rows, of which this device has some, in pairs of
// double, from `sum_moments`. What the first rows, from which it counted, stand for is added in
// double: others may have had other ones.
extern "C" __global__ void finish_sums(double* out, const float* partial, const T* x, int blocks,
                                       int channels, long long rows, long long period,
                                       long long skip, double share) {
    const int c = blockIdx.x * 32 + threadIdx.x;
    const double a = total(partial, 0, blocks, channels);
    const double b = total(partial, 1, blocks, channels);
    if (threadIdx.y || c >= channels) return;
    const Rows group = of_group(rows, period, skip);
    const bool some = group.begin < group.end;
    const double f = some ? number(x[group.begin * channels + c]) : 0.0f;
    const double whole = some ? (group.end - group.begin) * f : 0.0;
    double* pair = out + 2 * ((long long)blockIdx.z * channels + c);
    pair[0] = (a + whole) * share;
    pair[1] = (b + f * (2 * a + whole)) * share;
}

// The mean and the variance that a pair stands for; a NaN stays.
__device__ inline float mean_of(const double* sums, int i) { return (float)sums[2 * i]; }

__device__ inline float var_of(const double* sums, int i) {
    const double var = sums[2 * i + 1] - sums[2 * i] * sums[2 * i];
    return var < 0 ? 0.0f : (float)var;
}

// Block (256), grid (count / 256); so are the next ones.
extern "C" __global__ void sums_mean(float* out, const double* sums, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) out[i] = mean_of(sums, i);
}

extern "C" __global__ void sums_var(float* out, const double* sums, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) out[i] = var_of(sums, i);
}

extern "C" __global__ void sums_moments(float* mean, float* var, const double* sums, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    mean[i] = mean_of(sums, i);
    var[i] = var_of(sums, i);
}

// (1 - momentum) * running + momentum * correction * value. Block (256), grid (channels / 256).
extern "C" __global__ void bn_running(float* out, const float* running, const float* value,
                                      int channels, float keep, float take) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c < channels) out[c] = keep * running[c] + take * value[c];
}

// Mean and variance of `rows` numbers per channel from their sums and those of their squares, as
// conv/pointwise.cu makes them.
extern "C" __global__ void finish_squares(float* mean, float* var, const float* partial, int blocks,
                                          int channels, long long rows) {
    const int c = blockIdx.x * 32 + threadIdx.x;
    const double a = (double)total(partial, 0, blocks, channels) / rows;
    const double b = (double)total(partial, 1, blocks, channels) / rows;
    if (threadIdx.y || c >= channels) return;
    mean[c] = (float)a;
    var[c] = b < a * a ? 0.0f : (float)(b - a * a);
}

// Such sums times `share`, in pairs of double.
extern "C" __global__ void finish_square_sums(double* out, const float* partial, int blocks,
                                              int channels, double share) {
    const int c = blockIdx.x * 32 + threadIdx.x;
    const double a = total(partial, 0, blocks, channels);
    const double b = total(partial, 1, blocks, channels);
    if (threadIdx.y || c >= channels) return;
    out[2 * c] = a * share;
    out[2 * c + 1] = b * share;
}
