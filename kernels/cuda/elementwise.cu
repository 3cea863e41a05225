// Activations and their slopes, sums of tensors, and changes of type, element by element.
//
// Operands are dense and of one memory order; `packs` packs each. Results may be any of the
// operands: a thread reads all it needs before it writes. Block (256), grid (packs / 1024): a
// thread takes PACKS packs, a block apart.

#include "vector.cuh"

#define PACKS 4

__device__ inline long long place(int k) {
    return ((long long)blockIdx.x * PACKS + k) * blockDim.x + threadIdx.x;
}

// Write f(x) for every element. Types may differ.
template <class To, class From, class F>
__device__ inline void map_one(To* out, const From* x, long long packs, F f) {
    Pack<From, LANES> a[PACKS];
#pragma unroll
    for (int k = 0; k < PACKS; ++k) {
        if (place(k) < packs) a[k] = load<From, LANES>(x + place(k) * LANES);
    }
#pragma unroll
    for (int k = 0; k < PACKS; ++k) {
        if (place(k) >= packs) continue;
        float v[LANES];
#pragma unroll
        for (int i = 0; i < LANES; ++i) v[i] = f(a[k][i]);
        store<To, LANES>(out + place(k) * LANES, v);
    }
}

// Write f(x, y) for every element.
template <class F>
__device__ inline void map_two(T* out, const T* x, const T* y, long long packs, F f) {
    Pack<T, LANES> a[PACKS], b[PACKS];
#pragma unroll
    for (int k = 0; k < PACKS; ++k) {
        if (place(k) >= packs) continue;
        a[k] = load<T, LANES>(x + place(k) * LANES);
        b[k] = load<T, LANES>(y + place(k) * LANES);
    }
#pragma unroll
    for (int k = 0; k < PACKS; ++k) {
        if (place(k) >= packs) continue;
        float v[LANES];
#pragma unroll
        for (int i = 0; i < LANES; ++i) v[i] = f(a[k][i], b[k][i]);
        store<T, LANES>(out + place(k) * LANES, v);
    }
}

extern "C" __global__ void relu_y(T* out, const T* x, long long packs) {
    map_one(out, x, packs, [](float a) { return at_least(a, 0.0f); });
}

extern "C" __global__ void sigmoid_y(T* out, const T* x, long long packs) {
    map_one(out, x, packs, [](float a) { return 1.0f / (1.0f + expf(-a)); });
}

extern "C" __global__ void tanh_y(T* out, const T* x, long long packs) {
    map_one(out, x, packs, [](float a) { return tanhf(a); });
}

extern "C" __global__ void relu_dx(T* out, const T* y, const T* dy, long long packs) {
    map_two(out, y, dy, packs, [](float a, float d) { return a > 0.0f ? d : 0.0f; });
}

extern "C" __global__ void sigmoid_dx(T* out, const T* y, const T* dy, long long packs) {
    map_two(out, y, dy, packs, [](float a, float d) { return d * a * (1.0f - a); });
}

extern "C" __global__ void tanh_dx(T* out, const T* y, const T* dy, long long packs) {
    map_two(out, y, dy, packs, [](float a, float d) { return d * (1.0f - a * a); });
}

// tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)), the heart of gelu: Hendrycks and Gimpel 2016, section 2.
__device__ inline float gelu_tanh(float x) {
    return tanhf(0.79788456f * (x + 0.044715f * x * x * x));
}

extern "C" __global__ void gelu_y(T* out, const T* x, long long packs) {
    map_one(out, x, packs, [](float a) { return 0.5f * a * (1.0f + gelu_tanh(a)); });
}

// From the operand: a result does not tell the slope, since two operands share it.
extern "C" __global__ void gelu_dx(T* out, const T* x, const T* dy, long long packs) {
    map_two(out, x, dy, packs, [](float a, float d) {
        const float t = gelu_tanh(a), inner = 0.79788456f * (1.0f + 0.134145f * a * a);
        return d * 0.5f * ((1.0f + t) + a * (1.0f - t * t) * inner);
    });
}

extern "C" __global__ void widen(float* out, const bf16* x, long long packs) {
    map_one(out, x, packs, [](float a) { return a; });
}

extern "C" __global__ void narrow(bf16* out, const float* x, long long packs) {
    map_one(out, x, packs, [](float a) { return a; });
}

// Add `count` tensors, from left to right, 1 to 8; then relu if asked, or zeros where `positive`,
// if it is not null, is not.
extern "C" __global__ void add_up(T* out, const T* x0, const T* x1, const T* x2, const T* x3,
                                  const T* x4, const T* x5, const T* x6, const T* x7,
                                  const T* positive, int count, int relu, long long packs) {
    const T* operands[8] = {x0, x1, x2, x3, x4, x5, x6, x7};
    const float low = relu ? 0.0f : -infinity();
    float sum[PACKS][LANES];
#pragma unroll
    for (int n = 0; n < 8; ++n) {
        if (n >= count) break;
        Pack<T, LANES> a[PACKS];
#pragma unroll
        for (int k = 0; k < PACKS; ++k) {
            if (place(k) < packs) a[k] = load<T, LANES>(operands[n] + place(k) * LANES);
        }
#pragma unroll
        for (int k = 0; k < PACKS; ++k) {
#pragma unroll
            for (int i = 0; i < LANES; ++i) sum[k][i] = n ? sum[k][i] + a[k][i] : a[k][i];
        }
    }
#pragma unroll
    for (int k = 0; k < PACKS; ++k) {
        if (place(k) >= packs) continue;
#pragma unroll
        for (int i = 0; i < LANES; ++i) sum[k][i] = at_least(sum[k][i], low);
        if (positive) {
            const Pack<T, LANES> y = load<T, LANES>(positive + place(k) * LANES);
#pragma unroll
            for (int i = 0; i < LANES; ++i) sum[k][i] = y[i] > 0.0f ? sum[k][i] : 0.0f;
        }
        store<T, LANES>(out + place(k) * LANES, sum[k]);
    }
}

// Add a number per channel, b (channels), to images stored N C H W; `plane` is H * W. LANES is 1.
extern "C" __global__ void bias_planes(T* out, const T* x, const float* b, long long packs,
                                       long long plane, int channels, int relu) {
    const float low = relu ? 0.0f : -infinity();
#pragma unroll
    for (int k = 0; k < PACKS; ++k) {
        long long i = place(k);
        if (i < packs) set(out[i], at_least(number(x[i]) + b[i / plane % channels], low));
    }
}
