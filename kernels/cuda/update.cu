// Stochastic gradient descent with momentum and decay, element by element.
//
// v = momentum * v - lr * (g + decay * w), w = w + v. Velocities and weights are float, gradients of
// type T. Results may be the operands of the same name. Block (256), grid (packs / 512): a thread
// takes PACKS packs, a block apart.

#include "vector.cuh"

#define PACKS 2

// Without `weight` only the velocity is written; `shadow`, if any, gets the weight as bf16.
template <bool APPLY>
__device__ inline void update(float* velocity, float* weight, bf16* shadow, const T* g,
                              const float* v, const float* w, const float* lr, long long packs,
                              float momentum, float decay) {
    const float rate = *lr;
    const long long first = (long long)blockIdx.x * PACKS * blockDim.x + threadIdx.x;
    Pack<T, LANES> slope[PACKS];
    Pack<float, LANES> speed[PACKS], place[PACKS];
#pragma unroll
    for (int k = 0; k < PACKS; ++k) {
        const long long at = first + k * (int)blockDim.x;
        if (at >= packs) continue;
        slope[k] = load<T, LANES>(g + at * LANES);
        speed[k] = load<float, LANES>(v + at * LANES);
        place[k] = load<float, LANES>(w + at * LANES);
    }
#pragma unroll
    for (int k = 0; k < PACKS; ++k) {
        const long long at = first + k * (int)blockDim.x;
        if (at >= packs) continue;
        float moved[LANES], result[LANES];
#pragma unroll
        for (int i = 0; i < LANES; ++i) {
            moved[i] = momentum * speed[k][i] - (decay * place[k][i] + slope[k][i]) * rate;
            result[i] = place[k][i] + moved[i];
        }
        store<float, LANES>(velocity + at * LANES, moved);
        if constexpr (APPLY) {
            store<float, LANES>(weight + at * LANES, result);
            if (shadow) store<bf16, LANES>(shadow + at * LANES, result);
        }
    }
}

extern "C" __global__ void sgd_velocity(float* out, const T* g, const float* v, const float* w,
                                        const float* lr, long long packs, float momentum,
                                        float decay) {
    update<false>(out, (float*)0, (bf16*)0, g, v, w, lr, packs, momentum, decay);
}

extern "C" __global__ void sgd(float* velocity, float* weight, bf16* shadow, const T* g,
                               const float* v, const float* w, const float* lr, long long packs,
                               float momentum, float decay) {
    update<true>(velocity, weight, shadow, g, v, w, lr, packs, momentum, decay);
}
