// Local response normalization across channels, and its gradient.
//
// Tensors are `rows` x `channels`, channels innermost; operands may have more channels (`wide_x`,
// `wide_dy`) than the result, whose first is at `at_x` and `at_dy` of theirs. The macro SIZE is the
// number of channels in a window: those from i - SIZE / 2 to i + (SIZE - 1) / 2, cut at the ends.
// Block (packs of channels, rows), grid (tiles of rows, tiles of channels): a thread makes one pack
// and reads its neighbours too, from the cache. THREE_QUARTERS is 1 where beta is 3/4: that power is
// two square roots.

#include "vector.cuh"

#ifndef SIZE
#define SIZE 5
#endif
#ifndef THREE_QUARTERS
#define THREE_QUARTERS 1
#endif

constexpr int BEFORE = SIZE / 2, AFTER = (SIZE - 1) / 2;

// Packs on each side that hold `reach` more channels.
__device__ constexpr int packs(int reach) { return (reach + LANES - 1) / LANES; }

// Read a pack and `SIDE` packs before and behind it; zeros where there are no channels.
template <int SIDE>
__device__ inline void read(float (&v)[(2 * SIDE + 1) * LANES], const T* row, int c,
                            int channels) {
    Pack<T, LANES> some[2 * SIDE + 1] = {};
#pragma unroll
    for (int k = 0; k <= 2 * SIDE; ++k) {
        const int at = c + (k - SIDE) * LANES;
        if (at >= 0 && at < channels) some[k] = load<T, LANES>(row + at);
    }
#pragma unroll
    for (int k = 0; k <= 2 * SIDE; ++k) {
#pragma unroll
        for (int i = 0; i < LANES; ++i) v[k * LANES + i] = some[k][i];
    }
}

// scale ** -beta.
__device__ inline float power(float scale, float beta) {
#if THREE_QUARTERS
    const float root = rsqrtf(scale);
    return root * root * rsqrtf(root);
#else
    return powf(scale, -beta);
#endif
}

// x / (k + alpha * sum of x ** 2) ** beta.
extern "C" __global__ void lrn(T* __restrict__ out, const T* __restrict__ x, long long rows,
                               int channels, int wide_x, int at_x, float alpha, float beta,
                               float k) {
    constexpr int SIDE = packs(BEFORE), OWN = SIDE * LANES;
    const long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    const int c = (blockIdx.y * blockDim.x + threadIdx.x) * LANES;
    if (row >= rows || c >= channels) return;
    float v[(2 * SIDE + 1) * LANES], result[LANES];
    read<SIDE>(v, x + row * wide_x, c + at_x, wide_x);
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        float sum = 0.0f;
#pragma unroll
        for (int d = -BEFORE; d <= AFTER; ++d) sum += v[OWN + i + d] * v[OWN + i + d];
        result[i] = v[OWN + i] * power(k + alpha * sum, beta);
    }
    store<T, LANES>(out + row * channels + c, result);
}

// dy * scale ** -beta - 2 alpha beta x * sum of (dy * scale ** -beta * x / scale) over the windows
// that the channel is in; then 0 where x <= 0 if `relu`. `out` may be dy where the grid has one
// tile of channels.
extern "C" __global__ void lrn_dx(T* out, const T* __restrict__ x, const T* dy, long long rows,
                                  int channels, int wide_x, int at_x, int wide_dy, int at_dy,
                                  float alpha, float beta, float k, int relu) {
    // Window j reaches channel i for j from i - AFTER to i + BEFORE; BEFORE >= AFTER.
    constexpr int SIDE = packs(BEFORE), FAR = packs(SIZE - 1);
    constexpr int OWN = SIDE * LANES, OWN_X = FAR * LANES;
    const long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    const int c = (blockIdx.y * blockDim.x + threadIdx.x) * LANES;
    const bool real = row < rows && c < channels;
    float v[(2 * FAR + 1) * LANES], d[(2 * SIDE + 1) * LANES], result[LANES];
    if (real) {
        read<FAR>(v, x + row * wide_x, c + at_x, wide_x);
        read<SIDE>(d, dy + row * wide_dy, c + at_dy, wide_dy);
    }
    __syncthreads();  // all of dy is read before any of it is overwritten
    if (!real) return;
    float shares[LANES + SIZE - 1];
#pragma unroll
    for (int j = 0; j < LANES + SIZE - 1; ++j) {
        const int at = OWN_X + j - AFTER;
        float sum = 0.0f;
#pragma unroll
        for (int e = -BEFORE; e <= AFTER; ++e) sum += v[at + e] * v[at + e];
        const float scale = k + alpha * sum;
        const float direct = d[OWN + j - AFTER] * power(scale, beta);
        shares[j] = __fdividef(direct * v[at], scale);
        if (j >= AFTER && j < AFTER + LANES) result[j - AFTER] = direct;
    }
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        float others = 0.0f;
#pragma unroll
        for (int e = 0; e < SIZE; ++e) others += shares[i + e];
        result[i] -= 2.0f * alpha * beta * v[OWN_X + i] * others;
        if (relu && !(v[OWN_X + i] > 0.0f)) result[i] = 0.0f;
    }
    store<T, LANES>(out + row * channels + c, result);
}
