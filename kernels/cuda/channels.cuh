// Rows of channels: how threads go over them, write them, and sum over them. See `channels.cu` for
// tensors, blocks, grids and groups.

#pragma once

#include "vector.cuh"

#define THREADS 256
#define ROWS 8  // that a thread reads before it uses the first; half with two operands, in sums
#define TURNS 4  // with two operands: what is made per channel should serve many rows

typedef Pack<T, LANES> Some;

__device__ inline int first_channel() {
    return (blockIdx.y * blockDim.x + threadIdx.x) * LANES;
}

struct Rows {
    long long begin, end;
};

// The rows of this block's group.
__device__ inline Rows of_group(long long rows, long long period, long long skip) {
    const long long begin = (long long)blockIdx.z * period - skip, end = begin + period;
    return {begin > 0 ? begin : 0, end < rows ? (end > 0 ? end : 0) : rows};
}

// Write f(x, y, lane) for every element; without y, f(x, 0, lane).
template <bool TWO, class F>
__device__ inline void map_rows(T* out, const T* x, const T* y, Rows own, int channels, F f) {
    constexpr int AT_ONCE = TWO ? ROWS / 2 : ROWS, TIMES = TWO ? TURNS : 1;
    const int c = first_channel();
#pragma unroll 1
    for (int turn = 0; turn < TIMES; ++turn) {
        const long long tile = ((long long)blockIdx.x * TIMES + turn) * AT_ONCE;
        const long long first = own.begin + tile * blockDim.y + threadIdx.y;
        Some a[AT_ONCE], b[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; ++k) {
            const long long row = first + k * (int)blockDim.y;
            if (row >= own.end) continue;
            a[k] = load<T, LANES>(x + row * channels + c);
            if constexpr (TWO) b[k] = load<T, LANES>(y + row * channels + c);
        }
#pragma unroll
        for (int k = 0; k < AT_ONCE; ++k) {
            const long long row = first + k * (int)blockDim.y;
            if (row >= own.end) continue;
            float v[LANES];
#pragma unroll
            for (int i = 0; i < LANES; ++i) {
                float other = 0.0f;
                if constexpr (TWO) other = b[k][i];
                v[i] = f(a[k][i], other, i);
            }
            store<T, LANES>(out + row * channels + c, v);
        }
    }
}

// Add up what a block's threads have, into `partial`.
template <int SUMS>
__device__ inline void sum_threads(float* partial, const float (&sums)[SUMS][LANES],
                                   int channels) {
    __shared__ float shared[SUMS * LANES][THREADS];
    const int c = first_channel(), thread = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int s = 0; s < SUMS; ++s) {
#pragma unroll
        for (int i = 0; i < LANES; ++i) shared[s * LANES + i][thread] = sums[s][i];
    }
    for (int left = blockDim.y; left > 1;) {
        const int half = (left + 1) / 2;
        __syncthreads();
        if ((int)threadIdx.y + half < left) {
#pragma unroll
            for (int n = 0; n < SUMS * LANES; ++n) {
                shared[n][thread] += shared[n][thread + half * (int)blockDim.x];
            }
        }
        left = half;
    }
    if (threadIdx.y || c >= channels) return;
#pragma unroll
    for (int s = 0; s < SUMS; ++s) {
        const long long block = ((long long)s * gridDim.z + blockIdx.z) * gridDim.x + blockIdx.x;
        float* to = partial + block * channels + c;
#pragma unroll
        for (int i = 0; i < LANES; ++i) to[i] = shared[s * LANES + i][thread];
    }
}

// Sum terms(x, y, lane, sums) over this block's rows of its group. With `kept`, a term's rewritten
// x is kept.
template <int SUMS, bool TWO, bool KEPT, class Terms>
__device__ inline void sum_rows(float* partial, T* kept, const T* x, const T* y, Rows group,
                                int channels, long long share, Terms terms) {
    constexpr int AT_ONCE = ROWS / 2;
    const int c = first_channel();
    const long long begin = group.begin + blockIdx.x * share;
    const long long end = begin + share < group.end ? begin + share : group.end;
    float sums[SUMS][LANES] = {};
    if (c < channels) {
        for (long long row = begin + threadIdx.y; row < end; row += AT_ONCE * (int)blockDim.y) {
            Some a[AT_ONCE], b[AT_ONCE];
#pragma unroll
            for (int k = 0; k < AT_ONCE; ++k) {
                const long long at = row + k * (int)blockDim.y;
                if (at >= end) continue;
                a[k] = load<T, LANES>(x + at * channels + c);
                if constexpr (TWO) b[k] = load<T, LANES>(y + at * channels + c);
            }
#pragma unroll
            for (int k = 0; k < AT_ONCE; ++k) {
                const long long at = row + k * (int)blockDim.y;
                if (at >= end) continue;
                float v[LANES];
#pragma unroll
                for (int i = 0; i < LANES; ++i) {
                    float other = 0.0f;
                    if constexpr (TWO) other = b[k][i];
                    v[i] = terms(a[k][i], other, i, sums);
                }
                if constexpr (KEPT) store<T, LANES>(kept + at * channels + c, v);
            }
        }
    }
    sum_threads<SUMS>(partial, sums, channels);
}
